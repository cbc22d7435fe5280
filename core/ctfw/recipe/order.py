"""References between stages, and the order that they imply."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Reference:
    """What a stage takes from another: `tune/best` is stage `tune`, what `best`.

    A reference to a folder on disk has a `path` instead of a stage. `product` is the kind of
    thing that is needed: "checkpoint" or "predictions".
    """

    text: str
    product: str
    stage: str = ""
    what: str = ""
    path: Path | None = None


def parse_reference(text: str, product: str, stages: Sequence[str]) -> Reference:
    """A stage's name wins over a folder of that name; other text with a folder is a path."""
    stage, _, what = text.partition("/")
    if stage not in stages and _is_path(text):
        return Reference(text, product, path=Path(text).expanduser())
    return Reference(text, product, stage, what)


def _is_path(text: str) -> bool:
    if text.startswith(("./", "../", "/", "~")):
        return True
    return os.sep in text and Path(text).exists()


def execution_order(graph: Mapping[str, Sequence[str]]) -> list[str]:
    """Stages after those they refer to; among those that could run, the first written one.

    `graph` maps a stage, in written order, to the stages it refers to. Raises
    graphlib.CycleError, whose second argument is the circle.
    """
    written = {name: index for index, name in enumerate(graph)}
    sorter = TopologicalSorter(graph)
    sorter.prepare()
    ready: list[str] = []
    order: list[str] = []
    while sorter.is_active():
        ready = sorted([*ready, *sorter.get_ready()], key=written.__getitem__)
        name = ready.pop(0)
        order.append(name)
        sorter.done(name)
    return order


def circle(error: CycleError) -> list[str]:
    """The stages of a cycle in the order of reference: each one refers to the next."""
    return list(reversed(error.args[1]))
