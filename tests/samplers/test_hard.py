"""`hard` draws scans that look alike and conflict; `match_burden` draws patients who are as ill."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ctfw.errors import BadData
from ctfw.types import Case, CaseTable
from ctfw_plugins.samplers.configs import HardConfig, HeterConfig
from ctfw_plugins.samplers.hard import Hard
from ctfw_plugins.samplers.heter import Heter


def table(labels: np.ndarray, patients: list[int]) -> CaseTable:
    cases = tuple(
        Case(f"case-{i}", f"patient-{p}", Path(f"{i}.nii.gz"), "A report.", labels=row)
        for i, (row, p) in enumerate(zip(labels.astype(np.int8), patients, strict=True))
    )
    return CaseTable(cases, tuple("abcdef"[: labels.shape[1]]))


@st.composite
def pools(draw: st.DrawFn) -> CaseTable:
    count = draw(st.integers(2, 16))
    bits = draw(st.lists(st.integers(0, 63), min_size=count, max_size=count))
    patients = draw(st.lists(st.integers(0, 6), min_size=count, max_size=count))
    labels = (np.array(bits)[:, None] >> np.arange(6)) & 1
    cases = table(labels, patients)
    other = np.array(patients)[:, None] != np.array(patients)
    apart = (labels[:, None] != labels).sum(2) * other
    assume(apart.max(1).min() > 0)  # everybody has somebody who conflicts
    return cases


def features(cases: CaseTable, seed: int = 0) -> Mapping[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {case.id: rng.standard_normal(5).astype(np.float32) for case in cases}


def partners(sampler: Hard | Heter, cases: CaseTable, order: list[int] | None = None) -> list[str]:
    found = {}
    for i in order if order is not None else range(len(cases)):
        negative = sampler.draw(cases[i], np.random.default_rng(i))
        assert negative.case is not None
        found[i] = negative.case.id
    return [found[i] for i in range(len(cases))]


@settings(max_examples=60, deadline=None)
@given(
    pools(),
    st.sampled_from(["image", "labels"]),
    st.integers(1, 6),
    st.sampled_from([None, 1, 3]),
    st.sampled_from([None, 0, 2]),
    st.integers(0, 99),
    st.randoms(use_true_random=False),
)
def test_rules_hold_for_any_pool_and_order_of_drawing(
    cases: CaseTable,
    alike: str,
    conflicts: int,
    cap: int | None,
    gap: int | None,
    seed: int,
    shuffler: object,
) -> None:
    def made() -> Hard:
        sampler = Hard(
            HardConfig.model_validate(
                {
                    "alike": alike,
                    "min_conflicts": conflicts,
                    "max_uses": cap,
                    "match_burden": gap,
                    "candidates": 3,
                }
            )
        )
        sampler.fit(cases)
        if sampler.wants_features:
            sampler.mine(1, features(cases))
        return sampler

    one, two = made(), made()
    one.refresh(1, seed)
    two.refresh(0, seed)  # another epoch before leaves no trace
    two.refresh(1, seed)
    order = list(range(len(cases)))
    shuffler.shuffle(order)  # type: ignore[attr-defined]
    drawn = partners(one, cases)
    assert drawn == partners(two, cases, order)
    for anchor, name in zip(cases, drawn, strict=True):
        partner = cases.by_id[name]
        assert partner.patient != anchor.patient
        assert (np.asarray(partner.labels) != np.asarray(anchor.labels)).any()
    over = sum(max(0, uses - (cap or 2)) for uses in Counter(drawn).values())
    told = one.summary()
    assert told["over_cap"] == over
    assert told["draws"] == len(cases) == sum(told["partner_use"].values())
    assert told["relaxed"] <= sum(told["relaxed_because"].values())


def two_kinds() -> tuple[CaseTable, Mapping[str, np.ndarray]]:
    """40 patients in four groups that look alike; labels are 1 for half of each group."""
    labels = np.array([[i % 2, 0, 0] for i in range(40)])
    cases = table(labels, list(range(40)))
    rng = np.random.default_rng(0)
    centres = np.eye(4, dtype=np.float32) * 5
    seen = {f"case-{i}": centres[i // 10] + 0.1 * rng.standard_normal(4) for i in range(40)}
    return cases, seen


def test_mined_partners_look_alike_and_differ_in_the_diagnosis() -> None:
    cases, seen = two_kinds()
    sampler = Hard(HardConfig(candidates=64, max_uses=4))
    sampler.fit(cases)
    sampler.mine(0, seen)
    sampler.refresh(0, 3)
    groups = [int(name.split("-")[1]) // 10 for name in partners(sampler, cases)]
    own = [i // 10 for i in range(40)]
    assert np.mean(np.equal(groups, own)) > 0.9
    assert sampler.summary()["similarity"] > 0.9
    blind = Hard(HardConfig(candidates=1, max_uses=4))
    blind.fit(cases)
    blind.mine(0, seen)
    blind.refresh(0, 3)
    partners(blind, cases)
    assert blind.summary()["similarity"] < 0.4  # one candidate is a random one


def test_new_features_give_new_partners() -> None:
    cases, seen = two_kinds()
    sampler = Hard(HardConfig(candidates=64))
    sampler.fit(cases)
    found = []
    for shift in (0, 10):
        names = [f"case-{i}" for i in range(40)]
        moved = {name: seen[f"case-{(i * 7 + shift) % 40}"] for i, name in enumerate(names)}
        sampler.mine(0, moved)
        sampler.refresh(0, 3)
        found.append(partners(sampler, cases))
    assert found[0] != found[1]


def test_alike_in_labels_means_few_labels_differ() -> None:
    rng = np.random.default_rng(1)
    cases = table(rng.random((80, 6)) < 0.4, list(range(80)))
    means = []
    for candidates in (1, 40):
        sampler = Hard(HardConfig(alike="labels", min_conflicts=1, candidates=candidates))
        assert not sampler.wants_features
        sampler.fit(cases)
        sampler.refresh(0, 0)
        partners(sampler, cases)
        told = sampler.summary()["distance"]
        means.append(sum(int(d) * n for d, n in told.items()) / 80)
    assert means[1] < 0.6 * means[0]


def test_features_of_every_case_are_needed() -> None:
    cases, seen = two_kinds()
    sampler = Hard(HardConfig())
    sampler.fit(cases)
    with pytest.raises(BadData, match="no features of 39 cases, the first is case-1"):
        sampler.mine(0, {"case-0": seen["case-0"]})


def test_more_conflicts_than_labels_are_refused() -> None:
    with pytest.raises(BadData, match="min_conflicts is 9, but the data set has only 3 labels"):
        Hard(HardConfig(min_conflicts=9)).fit(two_kinds()[0])


@pytest.mark.parametrize("names", [(), ("a", "b")])
def test_missing_labels_are_told_before_what_is_asked_of_them(names: tuple[str, ...]) -> None:
    cases = tuple(Case(f"c{i}", f"p{i}", Path(f"{i}"), "A report.") for i in range(3))
    with pytest.raises(BadData, match=r"^hard needs the labels of every training case.*none has"):
        Hard(HardConfig(min_conflicts=9)).fit(CaseTable(cases, names))


def sick_and_well() -> CaseTable:
    """Half of 100 patients have no or one finding of six, half have four to six."""
    rng = np.random.default_rng(4)
    share = np.where(np.arange(100) < 50, 0.1, 0.8)
    return table(rng.random((100, 6)) < share[:, None], list(range(100)))


def test_matched_partners_are_as_ill_as_the_anchor() -> None:
    cases = sick_and_well()
    told = {}
    for gap in (None, 1):
        sampler = Heter(HeterConfig(min_label_distance=3, match_burden=gap, max_uses=4))
        sampler.fit(cases)
        sampler.refresh(0, 0)
        names = partners(sampler, cases)
        burden = {case.id: int(np.sum(np.asarray(case.labels))) for case in cases}
        told[gap] = sampler.summary()
        gaps = np.array([burden[n] - burden[c.id] for c, n in zip(cases, names, strict=True)])
        assert told[gap]["burden_gap"] == pytest.approx(gaps.mean())
        outside = (np.abs(gaps) > 1).sum()
        if gap is not None:
            words = "no free partner has a burden within 1 of the anchor's"
            assert told[gap]["relaxed_because"].get(words, 0) == outside
            assert outside < 10
        else:
            assert outside > 80
    spread = {
        gap: sum(abs(int(g)) * n for g, n in t["burden_gaps"].items()) for gap, t in told.items()
    }
    assert spread[1] < 0.4 * spread[None]


def test_burden_gives_way_in_words_where_nobody_is_as_ill() -> None:
    cases = table(np.array([[0] * 6, [0] * 6, [1] * 6, [1] * 6]), [0, 1, 2, 3])
    sampler = Heter(HeterConfig(min_label_distance=2, match_burden=1))
    sampler.fit(cases)
    sampler.refresh(0, 0)
    partners(sampler, cases)
    told = sampler.summary()
    assert told["relaxed"] == 4
    assert told["relaxed_because"] == {"no free partner has a burden within 1 of the anchor's": 4}
    assert told["over_cap"] == 0
