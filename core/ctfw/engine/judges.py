"""The labeler and the metrics that judge reports, and which of their numbers there will be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ctfw.component import Block
from ctfw.contracts import Labeler, Metric
from ctfw.engine.context import Context
from ctfw.errors import UserError
from ctfw.scoring.assess import HEADLINE_SCORE
from ctfw.scoring.conditions import Condition, check_names, value_names

if TYPE_CHECKING:
    from ctfw.recipe import ResolvedRecipe


@dataclass(frozen=True)
class Judges:
    """A labeler and metrics by name, built."""

    labeler: Labeler
    metrics: Mapping[str, Metric]

    @classmethod
    def build(cls, labeler: Block, metrics: Sequence[Block], context: Context) -> Judges:
        """A second metric of one component gets a number: `bleu`, `bleu-2`."""
        made: dict[str, Metric] = {}
        for block in metrics:
            name, number = block.name, 2
            while name in made:
                name, number = f"{block.name}-{number}", number + 1
            made[name] = context.build(block)
        return cls(context.build(labeler), made)

    def check(self, conditions: Sequence[Condition], where: str) -> None:
        """Raise UserError for a condition on a number that will not be there."""
        check_names(conditions, self.metrics.values(), len(self.labeler.names), where)

    def give_headline(self) -> bool:
        """Whether some metric gives macro-F1, or may: not all can tell beforehand."""
        names = [
            value_names(metric, len(self.labeler.names))
            for metric in self.metrics.values()
            if metric.needs_labels
        ]
        return any(each is None or HEADLINE_SCORE in each for each in names)


def judges_of(recipe: ResolvedRecipe, context: Context) -> Judges:
    """The judges of a recipe, those of a stage where the top level has none.

    Raises UserError when there is no labeler, no metric, or no macro-F1 among the metrics.
    """
    settings: list[Any] = [stage.block.settings for stage in recipe.stages.values()]
    labelers = [getattr(each, "labeler", None) for each in settings]
    lists = [list(getattr(each, "metrics", None) or ()) for each in settings]
    labeler = recipe.labeler or next((each for each in labelers if each is not None), None)
    metrics = list(recipe.metrics) or next((each for each in lists if each), [])
    if labeler is None:
        raise UserError(
            f"recipe '{recipe.name}' has no labeler, and an audit compares findings: add "
            "--set labeler.use=ct-rate-18"
        )
    found = Judges.build(labeler, metrics, context)
    if not found.give_headline():
        raise UserError(
            f"no metric of recipe '{recipe.name}' gives {HEADLINE_SCORE}, which the grounded gain "
            "is made of: add {use: accuracy} to its metrics"
        )
    return found
