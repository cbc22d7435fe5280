"""The metrics and the labeler of a run, built from its resolved recipe without the rest of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ctfw.component import Block
from ctfw.contracts import Dataset, Labeler, Metric
from ctfw.engine.context import Context
from ctfw.errors import RecipeInvalid, UserError
from ctfw.plugins import Plugins
from ctfw.recipe.blocks import Builder
from ctfw.recipe.load import read
from ctfw.recipe.node import Node, Problems
from ctfw.types import CaseTable


@dataclass(frozen=True)
class Scorer:
    """Metrics and a labeler for predictions that come without their own."""

    metrics: Mapping[str, Metric]
    labeler: Labeler
    problems: tuple[str, ...] = ()


def run_scorer(stage: Path, plugins: Plugins) -> Scorer:
    """The metrics and the labeler of a report stage, at the revisions that are installed."""
    metrics, problems = run_metrics(stage, plugins, pinned=False)
    return Scorer(metrics, run_labeler(stage, plugins, pinned=False), problems)


def run_metrics(
    stage: Path, plugins: Plugins, pinned: bool = True
) -> tuple[dict[str, Metric], tuple[str, ...]]:
    """(the metrics of a report stage that need no model, why others cannot be used).

    pinned  at the revision that the run had, or not at all

    Nothing else of the recipe is built: its data and plugins may be gone.
    """
    metrics: dict[str, Metric] = {}
    left: list[str] = []
    for node in _nodes(stage, "metrics", pinned):
        try:
            block = _block(node, "metric", plugins)
            if needs_model(block):
                continue
            name = block.name if block.name not in metrics else f"{block.name}-{len(metrics) + 1}"
            metrics[name] = Context().build(block)
        except UserError as error:
            left.append(words_of(error))
    return metrics, tuple(left)


def needs_model(block: Block) -> bool:
    """Whether a metric says that it runs a model: then it is not run again here."""
    return bool(getattr(block.component.load(), "needs_model", False))


def words_of(error: UserError) -> str:
    """The message without its place in a resolved recipe, which is the same for every run."""
    problems = error.problems if isinstance(error, RecipeInvalid) else [error]
    return "; ".join(getattr(problem, "message", str(problem)) for problem in problems)


def run_labeler(stage: Path, plugins: Plugins, pinned: bool = True) -> Labeler:
    """The labeler of a report stage, built. Raises UserError."""
    nodes = _nodes(stage, "labeler", pinned)
    if not nodes:
        raise UserError(f"{stage}: its recipe names no labeler")
    labeler: Labeler = Context().build(_block(nodes[0], "labeler", plugins))
    return labeler


def run_cases(stage: Path, plugins: Plugins) -> CaseTable:
    """The cases of the split that a report stage wrote about. Raises UserError."""
    nodes = _nodes(stage, "data", pinned=True)
    if not nodes:
        raise UserError(f"{stage.parent.parent}: its recipe names no data set")
    dataset: Dataset = Context().build(_block(nodes[0], "dataset", plugins))
    split = read(stage.parent.parent / "resolved.yaml")[0].get("stages", stage.name, "split")
    return dataset.cases(str(split.value) if split is not None else "test")


def _nodes(stage: Path, key: str, pinned: bool) -> list[Node]:
    """The block or blocks of a setting of a stage, from the run's resolved recipe."""
    root = read(stage.parent.parent / "resolved.yaml")[0]
    node = root.get("stages", stage.name, key) or root.get(key)
    if node is None or node.value is None:
        return []
    nodes = list(node.value) if isinstance(node.value, list) else [node]
    return nodes if pinned else [_unpinned(each) for each in nodes]


def _unpinned(node: Node) -> Node:
    use = node.get("use")
    if use is None or not isinstance(use.value, str):
        return node
    free = replace(use, value=use.value.partition("@")[0])
    return replace(node, value={**node.value, "use": free})


def _block(node: Node, kind: str, plugins: Plugins) -> Block:
    problems = Problems()
    block = Builder(plugins.catalog, problems).block(node, kind, kind)
    if block is None:
        raise RecipeInvalid(problems.found)
    return block
