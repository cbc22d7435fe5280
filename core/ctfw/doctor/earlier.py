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

    runs = find_runs(scene.runs, scene.recipe.hash)
    if not runs:
        return
    told = tuple(f"{run.path}: {run.status.get('state', 'unknown')}" for run in runs)
    open_ended = [run.path for run in runs if run.status.get("state") in ("stopped", "failed")]
    advice = f"to go on: ctfw resume {open_ended[0]}" if open_ended else ""
    text = f"{count(len(runs), 'run')} of this recipe in {scene.runs}"
    yield Finding("note", text, told, advice)
