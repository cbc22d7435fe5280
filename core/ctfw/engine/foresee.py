"""Whether a recipe's `fail_if` names numbers that there will be: told before anything runs."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ctfw.component import Block
from ctfw.errors import Problem, UserError

if TYPE_CHECKING:
    from ctfw.recipe import ResolvedRecipe

_LIGHT = {"numpy", "rapidfuzz"}
"""Packages that may be loaded for this; what needs others is asked when the run starts."""


def unknown_numbers(recipe: ResolvedRecipe) -> list[Problem]:
    """Conditions on a number that no metric of the stage gives.

    Only what is told by built-in metrics and labelers without heavy packages is judged: code of a
    third party is not imported for it.
    """
    return [
        problem
        for name, stage in recipe.stages.items()
        if (problem := _wrong(f"stages.{name}.fail_if", stage.block.settings, recipe)) is not None
    ]


def _wrong(where: str, settings: Any, recipe: ResolvedRecipe) -> Problem | None:
    labeler, metrics = getattr(settings, "labeler", None), getattr(settings, "metrics", ())
    conditions = getattr(settings, "fail_if", None)
    if not conditions or labeler is None or not all(map(_is_light, (labeler, *metrics))):
        return None
    from ctfw.engine.context import Context
    from ctfw.engine.judges import Judges
    from ctfw.scoring.conditions import parse_all

    try:
        judges = Judges.build(labeler, metrics, Context(seed=recipe.seed))
        judges.check(parse_all(conditions, where), where)
    except UserError as error:
        return Problem(str(error), recipe.marks.get(where))
    return None


def _is_light(block: Block) -> bool:
    component = block.component
    needs = {re.split(r"[^\w.-]", need)[0] for need in component.needs}
    return component.provider == "ctfw" and needs <= _LIGHT and not component.missing()
