"""Runs that were made of this very recipe before."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctfw.doctor.finding import Finding, count

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene


def check(scene: Scene) -> Iterator[Finding]:
    """Runs of the same hash below the folder of runs, and what became of them."""
    from ctfw.engine.launch import find_runs
    from ctfw.runs.begun import begun_with, resume_command

    runs = find_runs(scene.runs, scene.recipe.hash)
    if not runs:
        return
    told = tuple(f"{run.path}: {run.status.get('state', 'unknown')}" for run in runs)
    open_ended = [run for run in runs if run.status.get("state") in ("stopped", "failed")]
    advice = ""
    if open_ended:
        command = resume_command(open_ended[0], begun_with(open_ended[0]) or 1)
        advice = f"to go on: {command}"
    text = f"{count(len(runs), 'run')} of this recipe in {scene.runs}"
    yield Finding("note", text, told, advice)
