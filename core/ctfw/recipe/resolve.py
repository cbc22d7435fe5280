"""From a recipe file to a `ResolvedRecipe`, or to all of its faults at once.

Nothing heavy is imported and nothing is written: the order is read and merge, check the shape,
look up each `use`, validate each block, then references, order and cycles.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from graphlib import CycleError
from pathlib import Path
from typing import Any

from pydantic import Field

from ctfw.component import Block
from ctfw.config import Strict
from ctfw.errors import Mark, RecipeInvalid, did_you_mean
from ctfw.plugins import Plugins, load_plugins
from ctfw.recipe.blocks import Builder
from ctfw.recipe.find import find_recipe, shipped_dirs
from ctfw.recipe.layers import Layers, collect
from ctfw.recipe.merge import assign, parse_overrides
from ctfw.recipe.node import Node, Problems
from ctfw.recipe.order import Reference, circle, execution_order, parse_reference
from ctfw.recipe.resolved import ResolvedRecipe, ResolvedStage
from ctfw.settings import Generation, Training

Patch = tuple[list[str], Node]

TOP_LEVEL = (
    "ctfw", "name", "summary", "profile", "extends", "seed", "synthetic", "data", "backbone",
    "labeler", "training", "generation", "metrics", "stages", "matrix",
)  # fmt: skip
LONGEST_NAME = 100  # characters; it becomes part of the path of every file of a run
LARGEST_SEED = 2**31 - 1  # what every generator that a run seeds can take
_STAGE_NAME = re.compile(r"[a-z][a-z0-9_-]*\Z")


class Header(Strict):
    """The scalars at the top of a recipe."""

    ctfw: Any = Field(description="version of the recipe format; 1")
    name: str = Field(
        "",
        pattern=r"^[a-z0-9][a-z0-9._+=-]*$",
        max_length=LONGEST_NAME,
        description="folder name of its runs",
    )
    summary: str = Field("", description="one line on what the recipe is for")
    profile: str | None = Field(None, description="where and at what scale: a name or a path")
    extends: str | None = Field(None, description="the recipe that this one changes")
    seed: int = Field(0, ge=0, le=LARGEST_SEED, description="seed of every random stream of a run")
    synthetic: bool = Field(False, description="mark every output as made from synthetic data")


def resolve(
    path: str | Path,
    overrides: Iterable[str] = (),
    profile: str | None = None,
    plugins: Plugins | None = None,
    *,
    patches: Sequence[Patch] | None = None,
    environ: Mapping[str, str] | None = None,
) -> ResolvedRecipe:
    """Read, merge and validate a recipe. Raises RecipeInvalid with everything that is wrong.

    path       a file, or the name of a shipped recipe
    overrides  `KEY=VALUE` texts of `--set`, the highest layer
    profile    replaces the recipe's own profile
    patches    the choices of one variant of a matrix, below the overrides
    environ    where `${env:NAME}` is looked up; the process's environment by default
    """
    plugins = plugins or load_plugins()
    dirs = (*shipped_dirs(), *plugins.recipe_dirs)
    problems = Problems()
    file = path if isinstance(path, Path) and path.is_file() else find_recipe(str(path), dirs)
    layers = collect(file, profile, dirs, problems)
    tree = layers.tree()
    for keys, value in (*(patches or ()), *parse_overrides(overrides)):
        tree = assign(tree, keys, value)
    builder = Builder(plugins.catalog, problems, environ)
    recipe = _Resolver(layers, tree, problems, builder).result(file)
    matrix = layers.recipe.get("matrix")
    is_sweep = patches is None and matrix is not None and matrix.value is not None
    return replace(recipe, is_sweep=is_sweep)


class _Resolver:
    """One resolution; the methods are its steps."""

    def __init__(self, layers: Layers, tree: Node, problems: Problems, build: Builder) -> None:
        self.layers = layers
        self.tree = tree
        self.problems = problems
        self.build = build
        self.stages: dict[str, Block | None] = {}
        self.needs: dict[str, dict[str, Reference]] = {}

    def result(self, file: Path) -> ResolvedRecipe:
        header = self._header()
        shared = self._shared()
        self._outside_stages()
        self._all_stages()
        order = self._order()
        if self.problems.found or header is None:
            raise RecipeInvalid(self.problems.found)
        stages = {
            stage: ResolvedStage(stage, block, self.needs[stage])
            for stage in order
            if (block := self.stages[stage]) is not None
        }
        return ResolvedRecipe(
            name=header.name or _name_of(file),
            summary=header.summary,
            seed=header.seed,
            synthetic=header.synthetic,
            profile=self.layers.profile_name,
            stages=stages,
            sources=self.layers.sources,
            marks=dict(self.build.marks),
            **shared,
        )

    def _header(self) -> Header | None:
        """The scalars; `name` and `summary` are not inherited from a parent."""
        top = {k: v for k, v in self.tree.value.items() if k in Header.model_fields}
        for key in ("name", "summary"):
            inherited, own = self.layers.recipe.get(key), self.layers.own.get(key)
            if own is None and inherited is not None and top.get(key) is inherited:
                del top[key]
        for key, child in self.tree.value.items():
            if key not in TOP_LEVEL:
                takes = ", ".join(TOP_LEVEL)
                detail = f"a recipe has no '{key}'; it takes {takes}"
                self.problems.add("", detail, child.place, did_you_mean(key, TOP_LEVEL))
        if "ctfw" not in top:
            start = self.layers.own.mark
            self.problems.add("", "'ctfw' is required: write `ctfw: 1` at the top", start)
            top["ctfw"] = Node(1, start)
        header: Header | None = self.build.settings(
            Header, Node(top, self.tree.mark), "", "a recipe"
        )
        return header

    def _shared(self) -> dict[str, Any]:
        """The blocks at the top level, as arguments of `ResolvedRecipe`."""
        labeler, metrics = self.tree.get("labeler"), self.tree.get("metrics")
        labeler = None if labeler is None or labeler.value is None else labeler
        listed: Any = ()
        if metrics is not None and metrics.value is not None:
            if isinstance(metrics.value, list):
                listed = self.build.blocks(metrics, "metric", "metrics")
            else:
                self.problems.add("metrics", "must be a list", metrics.place)
        return {
            "data": self._required("data", "dataset"),
            "backbone": self._required("backbone", "backbone"),
            "labeler": self.build.block(labeler, "labeler", "labeler") if labeler else None,
            "training": self._settings("training", Training),
            "generation": self._settings("generation", Generation),
            "metrics": tuple(listed),
        }

    def _required(self, name: str, kind: str) -> Block | None:
        node = self.tree.get(name)
        if node is None or node.value is None:
            place = node.place if node else self.layers.own.mark
            hint = "profiles have one" if not self.layers.profile_name else ""
            self.problems.add("", f"the recipe has no `{name}`: {{use: NAME}}", place, hint)
            return None
        return self.build.block(node, kind, name)

    def _settings(self, name: str, model: type[Strict]) -> Any:
        node = self.tree.get(name) or Node({}, self.tree.mark)
        if not node.is_mapping:
            self.problems.add(name, "must be a mapping of settings", node.place)
            return None
        return self.build.settings(model, node, name, name)

    def _outside_stages(self) -> None:
        """Blocks that the whole run shares exist before its first stage."""
        for at, (text, product) in self.build.references.items():
            if parse_reference(text, product, []).path is None:
                detail = f"'{text}' is not a folder; only a stage can refer to a stage"
                self.problems.add(at, detail, self._mark(at), "a folder starts with ./ or /")

    def _all_stages(self) -> None:
        """Build the recipe's own stages, then those of the profile that something refers to."""
        node = self.tree.get("stages")
        if node is None or not node.is_mapping:
            place = node.place if node else self.layers.own.mark
            self.problems.add("stages", "a recipe has a mapping of stages", place)
            return
        waiting = [name for name in self._written(node) if name not in self.layers.spare]
        if not waiting:
            self.problems.add("stages", "a recipe has at least one stage", node.place)
        while waiting:
            name = waiting.pop(0)
            if name in self.stages:
                continue
            self.stages[name] = self._stage(name, node)
            self.needs[name] = dict(self._references(name, list(node.value)))
            waiting += [r.stage for r in self.needs[name].values() if r.stage in self.layers.spare]

    def _written(self, stages: Node) -> list[str]:
        """Stage names in the order of the recipe; what other layers add comes after."""
        own = self.layers.recipe.get("stages")
        first = list(own.value) if own is not None and own.is_mapping else []
        return [*first, *(name for name in stages.value if name not in first)]

    def _stage(self, name: str, stages: Node) -> Block | None:
        node: Node = stages.value[name]
        path = f"stages.{name}"
        if not _STAGE_NAME.match(name):
            detail = f"'{name}': a stage's name is lower case letters, digits, - and _"
            self.problems.add("stages", detail, node.place)
        if node.is_mapping and "use" not in node.value:
            others = [other for other, each in stages.value.items() if each.get("use")]
            hint = did_you_mean(name, others)
            if hint:
                self.problems.add(
                    "", f"no stage '{name}' to change: it has no `use`", node.place, hint
                )
                return None
        return self.build.block(node, "stage", path, shared=self.tree)

    def _references(self, name: str, known: list[str]) -> Iterable[tuple[str, Reference]]:
        start = f"stages.{name}."
        for at, (text, product) in self.build.references.items():
            if not at.startswith(start):
                continue
            reference = parse_reference(text, product, known)
            if reference.path is None and reference.stage not in known:
                there = ", ".join(known)
                detail = f"no stage '{reference.stage}'; there are: {there}"
                hint = did_you_mean(reference.stage, known)
                self.problems.add(
                    at, detail, self._mark(at), hint or "a folder starts with ./ or /"
                )
                continue
            yield at.removeprefix(start), reference

    def _order(self) -> list[str]:
        """Execution order, after checking what each reference asks for."""
        graph: dict[str, list[str]] = {}
        node = self.tree.get("stages")
        for name in self._written(node) if node is not None and node.is_mapping else ():
            if name not in self.stages:
                continue
            graph[name] = []
            for field, reference in self.needs[name].items():
                if reference.stage:
                    graph[name].append(reference.stage)
                    self._check_product(f"stages.{name}.{field}", reference)
        try:
            return execution_order(graph)
        except CycleError as error:
            names = circle(error)
            at = next(
                f"stages.{names[0]}.{field}"
                for field, reference in self.needs[names[0]].items()
                if reference.stage == names[1]
            )
            detail = f"stages refer to each other in a circle: {' -> '.join(names)}"
            self.problems.add("", detail, self._mark(at))
            return []

    def _check_product(self, at: str, reference: Reference) -> None:
        target = self.stages.get(reference.stage)
        if target is None or reference.product in target.component.gives:
            return
        gives = " and ".join(target.component.gives) or "nothing that can be referred to"
        able = [
            name
            for name, block in self.stages.items()
            if block is not None and reference.product in block.component.gives
        ]
        detail = (
            f"needs {reference.product}, and stage '{reference.stage}' "
            f"({target.component.name}) gives {gives}"
        )
        hint = f"these give {reference.product}: {', '.join(able)}" if able else ""
        self.problems.add(at, detail, self._mark(at), hint)

    def _mark(self, at: str) -> Mark | None:
        marks: Mapping[str, Mark] = self.build.marks
        while at and at not in marks:
            at = at.rpartition(".")[0]
        return marks.get(at)


def _name_of(file: Path) -> str:
    """`ours-heter` of `ours_heter.yaml`."""
    name = re.sub(r"[^a-z0-9.+=-]+", "-", file.stem.lower().replace("_", "-")).strip("-.")
    return name[:LONGEST_NAME].rstrip("-.") or "recipe"
