"""Steps: how many a training takes in so many processes, and what each reads."""

from __future__ import annotations

from typing import Any

import pytest

from ctfw.doctor.steps import check


@pytest.mark.parametrize(
    ("processes", "settings", "steps", "text"),
    [
        (1, (), 20, "tune: 20 steps of 2 cases (batch_size 2 x gradient_accumulation 1 x 1 "),
        (2, (), 10, "tune: 10 steps of 4 cases (batch_size 2 x gradient_accumulation 1 x 2 "),
        (3, ("training.gradient_accumulation=2",), 4, "tune: 4 steps of 12 cases (batch_size 2 x "),
        (2, ("training.max_steps=5",), 5, "processes), 1 times the training split"),
    ],
)
def test_steps_are_told_for_the_processes_that_will_train(
    processes: int, settings: tuple[str, ...], steps: int, text: str,
    look: Any, make_scene: Any, make_case: Any,
) -> None:  # fmt: skip
    cases = [make_case(f"c{i}") for i in range(20)]
    once = ("training.batch_size=2", "training.epochs=2", "training.max_steps=null")
    (found,) = look(check, make_scene(cases, *once, *settings, processes=processes))
    assert found.level == "note"
    assert text in found.text
    assert found.values["steps"] == steps


def test_step_that_reads_more_than_all_cases_is_a_warning(
    look: Any, make_scene: Any, make_case: Any
) -> None:
    cases = [make_case(f"c{i}") for i in range(5)]
    overrides = ("training.batch_size=2", "training.gradient_accumulation=1")
    assert not look(check, make_scene(cases, *overrides, processes=2)).bad
    found = look(check, make_scene(cases, *overrides, processes=3))
    assert [each.level for each in found] == ["warning", "note"]
    assert "a step reads 6 cases" in found[0].text


def test_nothing_is_said_without_training_cases(look: Any, make_scene: Any, make_case: Any) -> None:
    assert not look(check, make_scene([make_case("a", split="test")]))
