"""`in-batch` pairs the anchors of a forward pass with each other, never within a patient."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from ctfw.errors import BadData, UserError
from ctfw.types import Case, CaseTable
from ctfw_plugins.samplers.configs import InBatchConfig
from ctfw_plugins.samplers.in_batch import InBatch

NAMES = ("a", "b", "c")


def table(labels: list[int] | None, patients: list[int]) -> CaseTable:
    rows = [None] * len(patients) if labels is None else [(n >> np.arange(3)) & 1 for n in labels]
    cases = tuple(
        Case(f"case-{i}", f"patient-{p}", Path(f"{i}.nii.gz"), "A report.", labels=row)
        for i, (row, p) in enumerate(zip(rows, patients, strict=True))
    )
    return CaseTable(cases, NAMES)


def fitted(cases: CaseTable, **settings: object) -> InBatch:
    sampler = InBatch(InBatchConfig.model_validate(settings))
    sampler.fit(cases)
    return sampler


def drawn(sampler: InBatch, batch: list[Case], seed: int = 0) -> list[Case]:
    sampler.meet(batch)
    found = []
    for i, case in enumerate(batch):
        negative = sampler.draw(case, np.random.default_rng([seed, i]))
        assert negative.case is not None
        found.append(negative.case)
    return found


@st.composite
def pools(draw: st.DrawFn) -> CaseTable:
    count = draw(st.integers(4, 12))
    labels = draw(st.lists(st.integers(0, 7), min_size=count, max_size=count))
    patients = draw(st.lists(st.integers(0, 5), min_size=count, max_size=count))
    assume(len(set(patients)) > 1)
    return table(labels, patients)


def distance(one: Case, other: Case) -> int:
    return int((one.labels != other.labels).sum())  # type: ignore[union-attr]


@given(pools(), st.integers(2, 4), st.integers(1, 3), st.sampled_from(["prefer", "require"]))
def test_partner_is_the_best_that_the_rules_allow(
    cases: CaseTable, size: int, conflicts: int, rule: str
) -> None:
    batch = list(cases)[:size]
    sampler = fitted(cases, conflict=rule, min_conflicts=conflicts)
    for anchor, partner in zip(batch, drawn(sampler, batch), strict=True):
        assert partner.patient != anchor.patient
        others = [case for case in batch if case.patient != anchor.patient]
        fit = [case for case in others if distance(anchor, case) >= conflicts]
        anywhere = [
            case
            for case in cases
            if case.patient != anchor.patient and distance(anchor, case) >= conflicts
        ]
        if fit:
            assert partner in fit
        elif rule == "prefer" and others:
            assert partner in others
        elif anywhere:
            assert partner in anywhere


def test_images_of_a_batch_serve_in_turn() -> None:
    cases = table([0, 1, 2, 4], [0, 1, 2, 3])
    uses: Counter[str] = Counter()
    for seed in range(50):
        made = Counter(case.id for case in drawn(fitted(cases), list(cases), seed))
        assert max(made.values()) <= 2
        uses += made
    assert min(uses.values()) > 30


def test_same_generators_draw_the_same() -> None:
    cases = table([0, 1, 2, 3, 4, 5], list(range(6)))
    first = [c.id for c in drawn(fitted(cases), list(cases), 3)]
    assert [c.id for c in drawn(fitted(cases), list(cases), 3)] == first
    assert any([c.id for c in drawn(fitted(cases), list(cases), s)] != first for s in range(5))


def test_every_batch_starts_with_fresh_counts() -> None:
    cases = table([0, 1], [0, 1])
    sampler = fitted(cases)
    for _ in range(3):
        assert [case.id for case in drawn(sampler, list(cases))] == ["case-1", "case-0"]
    assert sampler.summary()["partner_use"] == {"case-1": 3, "case-0": 3}
    assert sampler.summary()["relaxed"] == 0


def test_rules_that_gave_way_are_counted_and_told() -> None:
    cases = table([0, 0, 1], [0, 1, 2])
    sampler = fitted(cases, min_conflicts=1)
    sampler.meet(list(cases)[:2])
    negative = sampler.draw(cases[0], np.random.default_rng(0))
    assert negative.note == {"in batch": 1.0, "distance": 0}
    assert sampler.summary()["relaxed_because"] == {"nobody conflicts in 1 labels": 1}
    sampler = fitted(cases, conflict="require")
    sampler.meet(list(cases)[:2])
    negative = sampler.draw(cases[0], np.random.default_rng(0))
    assert negative.case is cases[2]
    assert negative.note == {"in batch": 0.0, "distance": 1}
    assert sampler.summary()["relaxed_because"] == {"nobody in the batch may serve": 1}


def test_labels_are_needed_only_where_a_conflict_is_required() -> None:
    cases = table(None, [0, 1, 2])
    batch = list(cases)
    for anchor, partner in zip(batch, drawn(fitted(cases), batch), strict=True):
        assert partner.patient != anchor.patient
    with pytest.raises(BadData, match="conflict: require needs the labels of every training case"):
        fitted(cases, conflict="require")


def test_batch_of_one_and_split_of_one_patient_are_refused() -> None:
    with pytest.raises(UserError, match=r"set training\.batch_size to 2 or more"):
        fitted(table([0, 1], [0, 1])).meet([table([0], [0])[0]])
    with pytest.raises(BadData, match="at least two patients"):
        fitted(table([0, 1], [4, 4]))


def test_what_is_not_known_without_labels_is_not_told() -> None:
    cases = table(None, [0, 1, 2, 3])
    sampler = fitted(cases)
    drawn(sampler, list(cases))
    told = sampler.summary()
    assert (told["draws"], told["without_labels"]) == (4, 4)
    assert (told["distance"], told["burden_gaps"], told["burden_gap"]) == ({}, {}, None)
