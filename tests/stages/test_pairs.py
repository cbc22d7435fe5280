"""Anchors meet the negatives of the plan, whether the run was broken or not."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ctfw.contracts import NegativeSampler
from ctfw.engine.images import TokenBank
from ctfw.settings import Training
from ctfw.types import Case, CaseTable, Negative
from ctfw_plugins.samplers.configs import GaussConfig, HeterConfig, InBatchConfig
from ctfw_plugins.samplers.gauss import Gauss
from ctfw_plugins.samplers.heter import Heter
from ctfw_plugins.samplers.in_batch import InBatch
from ctfw_plugins.stages.pairs import Pairs, PairSource
from ctfw_plugins.stages.plan import TrainingPlan

STEPS = 7


def sampler_of(kind: str) -> NegativeSampler | None:
    if kind == "none":
        return None
    return Heter(HeterConfig(min_label_distance=4)) if kind == "heter" else Gauss(GaussConfig())


def source(
    cases: CaseTable, bank: TokenBank, kind: str = "heter", threads: int = 0, seed: int = 5
) -> PairSource:
    settings = Training(batch_size=3, gradient_accumulation=2, max_steps=STEPS)
    plan = TrainingPlan(len(cases), settings, seed, "tune")
    return PairSource(cases, bank, plan, sampler_of(kind), threads)


def as_told(pairs: Pairs) -> tuple[Any, ...]:
    return pairs.step, [a.id for a in pairs.anchors], pairs.images, pairs.negatives


@pytest.mark.parametrize("kind", ["none", "gauss", "heter"])
@pytest.mark.parametrize("first", [1, 4, STEPS])
def test_resumed_training_reads_the_same_and_counts_the_same(
    kind: str, first: int, cases: CaseTable, bank: TokenBank
) -> None:
    unbroken, resumed = source(cases, bank, kind), source(cases, bank, kind)
    whole = [as_told(pairs) for pairs in unbroken(0)]
    assert [as_told(pairs) for pairs in resumed(first)] == whole[2 * first :]
    if kind != "none":
        assert unbroken.sampler is not None
        assert resumed.sampler is not None
        assert resumed.sampler.summary() == unbroken.sampler.summary()
    assert [(a.id, n.note) for a, n in resumed.examples] == [
        (a.id, n.note) for a, n in unbroken.examples
    ]


@pytest.mark.parametrize("threads", [1, 3])
def test_threads_change_nothing(threads: int, cases: CaseTable, bank: TokenBank) -> None:
    alone, many = source(cases, bank), source(cases, bank, threads=threads)
    assert [as_told(p) for p in many(0)] == [as_told(p) for p in alone(0)]


def test_images_are_those_of_anchor_and_partner(cases: CaseTable, bank: TokenBank) -> None:
    made = source(cases, bank)
    number = {case.id: i / 100 for i, case in enumerate(cases)}
    drawn: list[tuple[str, float]] = []
    for pairs in made(0):
        np.testing.assert_allclose(pairs.images, [number[a.id] for a in pairs.anchors], atol=1e-6)
        assert pairs.negatives is not None
        for anchor, seen in zip(pairs.anchors, pairs.negatives, strict=True):
            assert cases[round(seen * 100)].patient != anchor.patient
            drawn.append((anchor.id, seen))
    told = [(anchor.id, number[n.case.id]) for anchor, n in made.examples if n.case is not None]
    assert len(told) == 12
    assert told == [(anchor, pytest.approx(seen)) for anchor, seen in drawn[:12]]


def test_without_a_sampler_there_are_no_negatives(cases: CaseTable, bank: TokenBank) -> None:
    made = source(cases, bank, "none")
    assert all(pairs.negatives is None for pairs in made(0))
    assert made.examples == []


def test_sampler_is_refreshed_once_per_epoch_before_its_first_draw(
    cases: CaseTable, bank: TokenBank
) -> None:
    told: list[str] = []

    class Spy(Gauss):
        def fit(self, cases: CaseTable) -> None:
            told.append(f"fit {len(cases)}")

        def refresh(self, epoch: int, seed: int) -> None:
            told.append(f"refresh {epoch} {seed}")

        def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
            told.append("draw")
            return super().draw(anchor, rng)

    plan = TrainingPlan(12, Training(batch_size=5, epochs=2), 3, "tune")
    list(PairSource(cases, bank, plan, Spy(GaussConfig()))())
    draws = ["draw"] * 12
    assert told == ["fit 12", "refresh 0 3", *draws, "refresh 1 3", *draws, "refresh 2 3", "draw"]


def test_images_of_a_batch_serve_each_other_and_are_read_once(
    cases: CaseTable, bank: TokenBank, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    original = bank.case

    def once(case: Case) -> list[Any]:
        read.append(case.id)
        return [original(case)]

    monkeypatch.setattr(bank, "case", once)
    settings = Training(batch_size=3, max_steps=4)
    plan = TrainingPlan(len(cases), settings, 5, "tune")
    for pairs in PairSource(cases, bank, plan, InBatch(InBatchConfig()))():
        assert pairs.negatives is not None
        assert read == [anchor.id for anchor in pairs.anchors]
        for own, other in zip(pairs.images, pairs.negatives, strict=True):
            assert other is not own
            assert any(other is image for image in pairs.images)
        read.clear()


def test_each_process_meets_its_own_batch(cases: CaseTable, bank: TokenBank) -> None:
    met: list[list[str]] = []

    class Spy(InBatch):
        def meet(self, anchors: Sequence[Case]) -> None:
            met.append([anchor.id for anchor in anchors])
            super().meet(anchors)

    settings = Training(batch_size=2, max_steps=1)
    for rank in (0, 1):
        met.clear()
        plan = TrainingPlan(len(cases), settings, 5, "tune", processes=2, rank=rank)
        (pairs,) = PairSource(cases, bank, plan, Spy(InBatchConfig()))()
        assert len(met) == 2
        assert met[rank] == [anchor.id for anchor in pairs.anchors]
