"""A recipe with every default filled in and every component found."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from ctfw.component import Block
from ctfw.config import MustExist, Strict, fields_with
from ctfw.errors import Mark, Problem
from ctfw.recipe import pin
from ctfw.recipe.layers import Source
from ctfw.recipe.load import dump
from ctfw.recipe.order import Reference
from ctfw.settings import Generation, Training


@dataclass(frozen=True)
class ResolvedStage:
    """A stage; `needs` maps a dotted field of its settings to what it refers to."""

    name: str
    block: Block
    needs: Mapping[str, Reference]


@dataclass(frozen=True)
class ResolvedRecipe:
    """What a run is made from; `stages` are in the order of execution.

    sources  the files it was made of, lowest layer first; the recipe itself is the last
    marks    dotted path of a setting -> the place it was written at
    is_sweep whether it has a matrix, which `ctfw sweep` expands and this one recipe ignores
    """

    name: str
    summary: str
    seed: int
    synthetic: bool
    profile: str
    data: Block
    backbone: Block
    labeler: Block | None
    training: Training
    generation: Generation
    metrics: tuple[Block, ...]
    stages: Mapping[str, ResolvedStage]
    is_sweep: bool = field(default=False, compare=False)
    sources: tuple[Source, ...] = field(default=(), compare=False, repr=False)
    marks: Mapping[str, Mark] = field(default_factory=dict, compare=False, repr=False)

    @property
    def source(self) -> str:
        """The recipe as written."""
        return self.sources[-1].text if self.sources else dump(self.plain())

    def plain(self) -> dict[str, Any]:
        """Plain values that are themselves a recipe: no profile, no `extends`, every default."""
        return pin.plain(self)

    @cached_property
    def hash(self) -> str:
        """SHA-256 of what the run computes: without name, summary and facts of the machine."""
        return pin.fingerprint(self)

    @property
    def short_hash(self) -> str:
        """The six characters that stand in the name of a run's folder."""
        return self.hash[:6]

    def lock(self) -> dict[str, Any]:
        """Versions of everything the run depends on; see `ctfw.recipe.pin.lock`."""
        return pin.lock(self)

    def blocks(self) -> Iterator[tuple[str, Block]]:
        """(dotted path, block) of every component used, those inside others included."""
        named: list[tuple[str, Block | None]] = [
            ("data", self.data),
            ("backbone", self.backbone),
            ("labeler", self.labeler),
            *((f"metrics.{i}", block) for i, block in enumerate(self.metrics)),
            *((f"stages.{name}", stage.block) for name, stage in self.stages.items()),
        ]
        for path, block in named:
            if block is not None:
                yield path, block
                yield from _inner(block.settings, path)


def _inner(settings: Strict, path: str) -> Iterator[tuple[str, Block]]:
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        listed = isinstance(value, (list, tuple))
        for index, item in enumerate(value if listed else [value]):
            at = f"{path}.{name}.{index}" if listed else f"{path}.{name}"
            if isinstance(item, Block):
                yield at, item
                yield from _inner(item.settings, at)
            elif isinstance(item, Strict):
                yield from _inner(item, at)


def preflight(recipe: ResolvedRecipe, only: str = "") -> list[Problem]:
    """What this machine lacks for a valid recipe: packages, files, folders. Imports nothing.

    only  a part of the recipe, such as `data`, where the rest is not used
    """
    problems: list[Problem] = []
    told: set[str] = set()
    for path, block in recipe.blocks():
        if only and path.split(".")[0] != only:
            continue
        component = block.component
        for need in block.missing():
            if component.qualified + need not in told:
                told.add(component.qualified + need)
                text = f"{path}: '{component.name}' needs {need}"
                problems.append(Problem(text, recipe.marks.get(f"{path}.use")))
        problems += _absent_paths(recipe, block.settings, path)
    for stage in recipe.stages.values() if not only else ():
        for name, reference in stage.needs.items():
            if reference.path is not None and not reference.path.exists():
                at = f"stages.{stage.name}.{name}"
                text = f"{at}: there is no folder {reference.path}"
                problems.append(Problem(text, recipe.marks.get(at)))
    return problems


def _absent_paths(recipe: ResolvedRecipe, settings: Strict, path: str) -> Iterator[Problem]:
    from pathlib import Path

    marks = dict(fields_with(type(settings), MustExist))
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        if isinstance(value, Strict):
            yield from _absent_paths(recipe, value, f"{path}.{name}")
        if name not in marks or value is None:
            continue
        for item in value if isinstance(value, (list, tuple)) else [value]:
            found, what = Path(item).expanduser(), marks[name].what
            there = {"file": found.is_file(), "folder": found.is_dir()}.get(what, found.exists())
            if not there:
                at = f"{path}.{name}"
                yield Problem(f"{at}: there is no {what} {found}", recipe.marks.get(at))
