"""`heter` pairs an anchor with another patient whose labels conflict, fairly and repeatably."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import chisquare

from ctfw.errors import BadData
from ctfw.types import Case, CaseTable
from ctfw_plugins.samplers.configs import HeterConfig
from ctfw_plugins.samplers.heter import Heter

NAMES = ("a", "b", "c", "d", "e", "f")


def table(labels: np.ndarray, patients: list[int]) -> CaseTable:
    cases = tuple(
        Case(f"case-{i}", f"patient-{p}", Path(f"{i}.nii.gz"), "A report.", labels=row)
        for i, (row, p) in enumerate(zip(labels.astype(np.int8), patients, strict=True))
    )
    return CaseTable(cases, NAMES)


def fitted(cases: CaseTable, **settings_: int | None) -> Heter:
    sampler = Heter(HeterConfig.model_validate(settings_))
    sampler.fit(cases)
    return sampler


def drawn(sampler: Heter, cases: CaseTable, order: list[int] | None = None) -> dict[str, str]:
    """Anchor's id -> partner's id; the generators differ, because the plan alone must decide."""
    found = {}
    for i in order if order is not None else range(len(cases)):
        negative = sampler.draw(cases[i], np.random.default_rng(i))
        assert negative.case is not None
        found[cases[i].id] = negative.case.id
    return found


@st.composite
def pools(draw: st.DrawFn) -> CaseTable:
    count = draw(st.integers(2, 14))
    bits = draw(st.lists(st.integers(0, 63), min_size=count, max_size=count))
    patients = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    assume(len(set(patients)) > 1)
    labels = (np.array(bits)[:, None] >> np.arange(6)) & 1
    return table(labels, patients)


def farthest(cases: CaseTable, i: int) -> int:
    """The largest label distance from a case to another patient's."""
    other = np.array(cases.patients) != cases[i].patient
    return int((cases.labels[other] != cases.labels[i]).sum(1).max())


@settings(max_examples=60, deadline=None)
@given(pools(), st.integers(1, 6), st.integers(0, 99), st.sampled_from([None, 1, 3]))
def test_partner_is_another_patient_who_conflicts_enough(
    cases: CaseTable, distance: int, seed: int, cap: int | None
) -> None:
    reach = [farthest(cases, i) for i in range(len(cases))]
    assume(min(reach) > 0)
    sampler = fitted(cases, min_label_distance=distance, max_uses=cap)
    sampler.refresh(0, seed)
    relaxed = 0
    for i, anchor in enumerate(cases):
        negative = sampler.draw(anchor, np.random.default_rng(i))
        partner = negative.case
        assert partner is not None
        assert partner.patient != anchor.patient
        apart = int((np.asarray(partner.labels) != np.asarray(anchor.labels)).sum())
        assert negative.note["distance"] == apart > 0
        assert negative.note["relaxed_by"] == max(0, distance - apart)
        relaxed += apart < distance
    summary = sampler.summary()
    assert summary["relaxed"] == relaxed
    assert summary["draws"] == len(cases)


@settings(max_examples=40, deadline=None)
@given(pools(), st.integers(0, 99), st.integers(1, 3))
def test_cap_is_passed_only_where_it_is_counted(cases: CaseTable, seed: int, cap: int) -> None:
    assume(min(farthest(cases, i) for i in range(len(cases))) > 0)
    sampler = fitted(cases, min_label_distance=2, max_uses=cap)
    sampler.refresh(0, seed)
    uses = Counter(drawn(sampler, cases).values())
    above = sum(max(0, count - cap) for count in uses.values())
    assert above == sampler.summary()["over_cap"]


@pytest.mark.parametrize("cap", [None, 1, 4])
def test_no_partner_serves_more_often_than_the_cap(cap: int | None) -> None:
    rng = np.random.default_rng(0)
    cases = table(rng.random((60, 6)) < 0.5, list(range(60)))
    sampler = fitted(cases, min_label_distance=2, max_uses=cap)
    for epoch in range(5):
        sampler.refresh(epoch, 3)
        uses = Counter(drawn(sampler, cases).values())
        assert max(uses.values()) <= (cap or 2)
    assert sampler.summary()["over_cap"] == 0


@settings(max_examples=30, deadline=None)
@given(pools(), st.integers(0, 99), st.integers(0, 5), st.randoms(use_true_random=False))
def test_plan_depends_on_seed_and_epoch_alone(
    cases: CaseTable, seed: int, epoch: int, shuffler: object
) -> None:
    assume(min(farthest(cases, i) for i in range(len(cases))) > 0)
    straight, shuffled = fitted(cases, min_label_distance=3), fitted(cases, min_label_distance=3)
    straight.refresh(epoch, seed)
    shuffled.refresh(epoch + 1, seed)  # another epoch before leaves no trace
    shuffled.refresh(epoch, seed)
    order = list(range(len(cases)))
    shuffler.shuffle(order)  # type: ignore[attr-defined]
    assert drawn(straight, cases) == drawn(shuffled, cases, order)


PRINTS_A_PLAN = """
import numpy as np
from ctfw.testing import tiny_cases
from ctfw_plugins.samplers.configs import HeterConfig
from ctfw_plugins.samplers.heter import Heter

cases = tiny_cases(300, seed=1)
sampler = Heter(HeterConfig())
sampler.fit(cases)
sampler.refresh(2, 7)
rng = np.random.default_rng()  # of no account: the plan decides
print([sampler.draw(case, rng).case.id for case in cases])
"""


def test_plan_is_the_same_in_every_process() -> None:
    printed = {
        subprocess.run(
            [sys.executable, "-c", PRINTS_A_PLAN],
            env=os.environ | {"PYTHONHASHSEED": hashes},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashes in ("0", "1", "2")
    }
    assert len(printed) == 1
    assert printed.pop().count("'") == 600


def test_epochs_and_seeds_differ() -> None:
    cases = table(np.random.default_rng(1).random((40, 6)) < 0.5, list(range(40)))
    plans = []
    for epoch, seed in ((0, 0), (1, 0), (0, 1)):
        sampler = fitted(cases, min_label_distance=2)
        sampler.refresh(epoch, seed)
        plans.append(drawn(sampler, cases))
    assert plans[0] != plans[1]
    assert plans[0] != plans[2]


def test_partners_are_uniform_among_those_that_qualify() -> None:
    # Case 0 is healthy; 1-8 differ in 3 labels or more, 9-12 in 2, 13 is the same patient.
    sick = [[1, 1, 1, 0, 0, 0]] * 4 + [[1, 1, 1, 1, 1, 1]] * 4
    labels = np.array([[0] * 6, *sick, *([[1, 1, 0, 0, 0, 0]] * 4), [1] * 6])
    cases = table(labels, [0, *range(1, 13), 0])
    sampler = fitted(cases, min_label_distance=3, max_uses=1000)
    partners: Counter[str] = Counter()
    for epoch in range(1600):
        sampler.refresh(epoch, 11)
        negative = sampler.draw(cases[0], np.random.default_rng(0))
        assert negative.case is not None
        partners[negative.case.id] += 1
    assert set(partners) == {f"case-{i}" for i in range(1, 9)}
    assert chisquare(list(partners.values())).pvalue > 0.01


def test_relaxation_takes_the_farthest_there_is() -> None:
    labels = np.array([[0] * 6, [1, 1, 0, 0, 0, 0], [1, 0, 0, 0, 0, 0]])
    sampler = fitted(table(labels, [0, 1, 2]), min_label_distance=5)
    sampler.refresh(0, 0)
    negative = sampler.draw(table(labels, [0, 1, 2])[0], np.random.default_rng(0))
    assert negative.case is not None
    assert negative.case.id == "case-1"
    assert negative.note == {"distance": 2, "relaxed_by": 3}


def test_case_outside_the_plan_gets_a_partner_too() -> None:
    cases = table(np.random.default_rng(2).random((20, 6)) < 0.5, list(range(20)))
    sampler = fitted(cases, min_label_distance=3)
    stranger = Case("new", "patient-4", Path("x"), "A report.", labels=np.zeros(6, np.int8))
    negatives = [sampler.draw(stranger, np.random.default_rng(i)) for i in range(50)]
    found = {n.case.patient for n in negatives if n.case is not None}
    assert len(found) > 3
    assert "patient-4" not in found
    again = sampler.draw(stranger, np.random.default_rng(0))
    assert again.case == negatives[0].case


def test_default_distance_is_the_methods_share_of_occurring_labels() -> None:
    labels = np.zeros((6, 6), int)
    labels[1:, :5] = np.triu(np.ones((5, 5), int))
    sampler = fitted(table(labels, list(range(6))))
    assert sampler.min_distance == round(10 / 18 * 5)
    assert sampler.summary()["min_label_distance"] == sampler.min_distance


def test_summary_tells_use_distance_and_burden() -> None:
    labels = np.array([[0] * 6, [1] * 6])
    cases = table(labels, [0, 1])
    sampler = fitted(cases, min_label_distance=4)
    sampler.refresh(0, 0)
    drawn(sampler, cases)
    summary = sampler.summary()
    assert summary["partner_use"] == {"case-0": 1, "case-1": 1}
    assert summary["distance"] == {"6": 2}
    assert summary["burden_gap"] == 0.0  # healthy meets sick as often as sick meets healthy
    sampler.draw(cases[0], np.random.default_rng(0))
    assert sampler.summary()["burden_gap"] == pytest.approx(2.0)  # (6 - 6 + 6) / 3


def test_summary_counts_what_was_drawn_and_not_what_is_planned() -> None:
    cases = table(np.array([[0] * 6, [0] * 6, [0] * 6, [1] * 6]), [0, 1, 2, 3])
    sampler = fitted(cases, min_label_distance=6, max_uses=1)
    sampler.refresh(0, 0)  # three healthy cases share the one partner who differs
    assert sampler.summary()["over_cap"] == sampler.summary()["draws"] == 0
    drawn(sampler, cases)
    assert sampler.summary()["over_cap"] == 2
    assert sampler.summary()["draws"] == 4


ALIKE = np.ones((3, 6), int)


@pytest.mark.parametrize(
    ("cases", "settings_", "words"),
    [
        (
            CaseTable((Case("a", "p", Path("a"), "A report."),), NAMES),
            {},
            "heter needs the labels of every training case to tell which scans conflict; none has "
            "any. Give the data set labels, or take negatives that need none, such as {use: gauss}",
        ),
        (
            CaseTable((*table(np.eye(2, 6), [1, 2]), Case("a", "p", Path("a"), "A.")), NAMES),
            {"min_label_distance": 1},
            "heter needs the labels of every training case to tell which scans conflict; 1 of 3 "
            "have none, the first is a. Give the data set labels, or take negatives that need "
            "none, such as {use: gauss}",
        ),
        (
            table(np.eye(3, 6), [7, 7, 7]),
            {},
            "heter needs at least two patients in the training split",
        ),
        (
            table(np.eye(3, 6), [1, 2, 3]),
            {"min_label_distance": 7},
            "heter: min_label_distance is 7, but the data set has only 6 labels",
        ),
        (
            table(ALIKE, [1, 2, 3]),
            {"min_label_distance": 2},
            "heter: no other patient differs in any label, so no report conflicts",
        ),
    ],
)
def test_pool_that_cannot_serve_is_refused(
    cases: CaseTable, settings_: dict[str, int], words: str
) -> None:
    with pytest.raises(BadData) as caught:
        fitted(cases, **settings_).refresh(0, 0)
    assert str(caught.value) == words
