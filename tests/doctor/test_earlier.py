"""Earlier runs of the same recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ctfw.doctor.earlier import check
from ctfw.engine.launch import create


@pytest.fixture
def scene(make_scene: Any, tmp_path: Path) -> Any:
    """A scene whose folder of runs has runs of these states, and one of another recipe."""

    def make(*states: str) -> Any:
        made = make_scene()
        for state in states:
            create(made.recipe, made.runs).set_status(state=state)
        create(make_scene((), "seed=7").recipe, made.runs).set_status(state="failed")
        return made

    return make


def test_no_run_of_this_recipe_says_nothing(look: Any, scene: Any) -> None:
    assert look(check, scene()) == []


def test_runs_are_listed_with_their_state(look: Any, scene: Any) -> None:
    (found,) = look(check, scene("finished", "failed"))
    assert found.level == "note"
    assert "2 runs" in found.text
    assert {name.rsplit(": ", 1)[1] for name in found.names} == {"finished", "failed"}


def test_an_unfinished_run_comes_with_the_command_that_resumes_it(look: Any, scene: Any) -> None:
    (found,) = look(check, scene("stopped"))
    path = found.names[0].removesuffix(": stopped")
    assert found.advice == f"to go on: ctfw resume {path}"


def test_finished_runs_need_no_command(look: Any, scene: Any) -> None:
    (found,) = look(check, scene("finished"))
    assert found.advice == ""
