"""The recipe itself: what this machine lacks for it, and whether its stages can be built."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctfw.doctor.finding import Finding, note, ok, problem
from ctfw.errors import UserError

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene


def check(scene: Scene) -> Iterator[Finding]:
    """Missing packages, files and folders; stages whose parts do not fit together."""
    from ctfw.engine.launch import lacking

    recipe = scene.recipe
    if recipe.is_sweep:
        yield note(
            "the recipe has a matrix; this looks at the recipe without it",
            advice="ctfw validate checks every variant",
        )
    if not recipe.stages:
        yield problem("the recipe has no stages: nothing would run")
        return
    missing = lacking(recipe)
    yield from (problem(str(each)) for each in missing)
    if missing:
        return
    faults = list(_unbuildable(scene))
    yield from faults
    if not faults:
        yield ok(f"{' -> '.join(recipe.stages)}: every stage can be built")


def _unbuildable(scene: Scene) -> Iterator[Finding]:
    """Build each stage once and throw it away, as a run does before it starts."""
    from ctfw.engine.context import Context

    for name, stage in scene.recipe.stages.items():
        try:
            context = Context(**{**vars(scene.context), "stage": name})
            context.build(stage.block)
        except UserError as error:
            text = str(error)
            yield problem(text if text.startswith("stages.") else f"stages.{name}: {text}")
