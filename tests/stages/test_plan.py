"""Which case is read when depends on the seed and the position alone."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.errors import BadData
from ctfw.settings import Training
from ctfw_plugins.stages.plan import Place, TrainingPlan


def plan(
    cases: int, seed: int = 0, processes: int = 1, rank: int = 0, **settings: Any
) -> TrainingPlan:
    return TrainingPlan(cases, Training.model_validate(settings), seed, "tune", processes, rank)


def order(made: TrainingPlan, first: int = 0) -> list[Place]:
    return [place for _, places in made.microbatches(first) for place in places]


sizes = st.integers(1, 5)


@given(st.integers(1, 30), sizes, sizes, st.integers(0, 9))
def test_order_does_not_depend_on_how_it_is_cut(
    cases: int, batch: int, accumulation: int, seed: int
) -> None:
    whole = 3 * batch * accumulation
    one = plan(cases, seed, batch_size=1, max_steps=whole)
    cut = plan(cases, seed, batch_size=batch, gradient_accumulation=accumulation, max_steps=3)
    assert order(cut) == order(one)
    assert len(order(cut)) == whole


@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 9))
def test_every_case_stands_once_in_an_epoch(cases: int, batch: int, seed: int) -> None:
    places = order(plan(cases, seed, batch_size=batch, epochs=3))
    for epoch in range(3):
        counts = Counter(p.case for p in places if p.epoch == epoch)
        assert counts == Counter(range(cases))


@given(st.integers(1, 30), sizes, sizes, st.integers(0, 8))
def test_resumption_goes_on_in_the_same_order(
    cases: int, batch: int, accumulation: int, first: int
) -> None:
    made = plan(cases, batch_size=batch, gradient_accumulation=accumulation, max_steps=8)
    whole = list(made.microbatches())
    assert list(made.microbatches(first)) == whole[first * accumulation :]


@given(st.integers(1, 30), sizes, sizes, st.integers(1, 4))
def test_processes_share_every_global_batch(
    cases: int, batch: int, accumulation: int, processes: int
) -> None:
    shared: dict[str, Any] = {"batch_size": batch, "gradient_accumulation": accumulation}
    ranks = [
        list(plan(cases, 1, processes, rank, max_steps=2, **shared).microbatches())
        for rank in range(processes)
    ]
    alone = order(plan(cases, 1, batch_size=1, max_steps=2 * batch * accumulation * processes))
    together = []
    for passes in zip(*ranks, strict=True):
        assert len({step for step, _ in passes}) == 1
        together += [place for _, places in passes for place in places]
    assert together == alone


def test_epochs_and_stages_have_orders_of_their_own() -> None:
    places = order(plan(20, epochs=2))
    first, second = ([p.case for p in places if p.epoch == epoch] for epoch in (0, 1))
    assert first != second
    other = TrainingPlan(20, Training(epochs=1), 0, "see")
    assert [p.case for p in order(other)] != first
    assert [p.case for p in order(plan(20, seed=1))] != first


@pytest.mark.parametrize(
    ("settings", "steps"),
    [
        ({"epochs": 1, "batch_size": 4}, 5),
        ({"epochs": 1, "batch_size": 3}, 7),
        ({"epochs": 0.5, "batch_size": 4}, 3),
        ({"epochs": 0.001}, 1),
        ({"epochs": 9, "max_steps": 2}, 2),
        ({"epochs": 2, "batch_size": 2, "gradient_accumulation": 5}, 4),
    ],
)
def test_number_of_steps(settings: dict[str, Any], steps: int) -> None:
    assert plan(20, **settings).steps == steps


def test_epoch_is_counted_in_passes_over_the_split() -> None:
    made = plan(20, batch_size=2, gradient_accumulation=2, max_steps=10)
    assert [made.epoch_of(step) for step in (0, 5, 10)] == [0, 1, 2]


def test_empty_split_is_refused() -> None:
    with pytest.raises(BadData, match="the training split has no cases"):
        plan(0)
