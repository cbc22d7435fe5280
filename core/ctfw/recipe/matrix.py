"""A recipe with a `matrix`: every combination of its axes as a recipe of its own.

A matrix is a grid or a list of grids (their union). The key of an axis is a dotted path with a
list of values, or any name with named variants, each a mapping of dotted paths to values.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ctfw.errors import Problem, RecipeInvalid
from ctfw.plugins import Plugins, load_plugins
from ctfw.recipe.find import find_recipe, shipped_dirs
from ctfw.recipe.layers import collect
from ctfw.recipe.node import Node, Problems
from ctfw.recipe.resolve import LONGEST_NAME, Patch, resolve
from ctfw.recipe.resolved import ResolvedRecipe

LIMIT = 10_000


@dataclass(frozen=True)
class Variant:
    """One run of a sweep: its name, the label of each axis, and the resolved recipe."""

    name: str
    labels: dict[str, str]
    recipe: ResolvedRecipe


Choice = tuple[str, str, list[Patch]]  # axis, label, patches


def expand(
    path: str | Path,
    overrides: Iterable[str] = (),
    profile: str | None = None,
    plugins: Plugins | None = None,
    *,
    environ: Mapping[str, str] | None = None,
) -> list[Variant]:
    """All variants, validated; a recipe without a matrix is its own only variant.

    Raises RecipeInvalid with the faults of all variants, each once.
    """
    plugins = plugins or load_plugins()
    dirs = (*shipped_dirs(), *plugins.recipe_dirs)
    file = path if isinstance(path, Path) and path.is_file() else find_recipe(str(path), dirs)
    problems = Problems()
    matrix = collect(file, profile, dirs, Problems()).recipe.get("matrix")
    overrides = list(overrides)
    if matrix is None or matrix.value is None:
        recipe = resolve(file, overrides, profile, plugins, environ=environ)
        return [Variant(recipe.name, {}, recipe)]
    combinations = list(itertools.islice(_combinations(matrix, problems), LIMIT + 1))
    if len(combinations) > LIMIT:
        problems.add("matrix", f"has more than {LIMIT} variants", matrix.place)
    if problems.found:
        raise RecipeInvalid(problems.found)
    variants: list[Variant] = []
    for choices in combinations:
        patches = [patch for _, _, found in choices for patch in found]
        try:
            recipe = resolve(file, overrides, profile, plugins, patches=patches, environ=environ)
        except RecipeInvalid as error:
            problems.extend(error.problems)
            continue
        name = "-".join(
            [recipe.name, *(_part(axis, label, found) for axis, label, found in choices)]
        )
        labels = {axis: label for axis, label, _ in choices}
        variants.append(Variant(name, labels, replace(recipe, name=name)))
    problems.extend(list(_same(variants, matrix)))
    if problems.found:
        raise RecipeInvalid(problems.found)
    return variants


def _combinations(matrix: Node, problems: Problems) -> Iterator[tuple[Choice, ...]]:
    grids = matrix.value if isinstance(matrix.value, list) else [matrix]
    if not grids:
        problems.add("matrix", "has no grid", matrix.place)
    for grid in grids:
        if not grid.is_mapping or not grid.value:
            problems.add("matrix", "a grid maps an axis to its values", grid.place)
            continue
        axes = [list(_axis(name, node, problems)) for name, node in grid.value.items()]
        yield from itertools.product(*axes)


def _axis(name: str, node: Node, problems: Problems) -> Iterator[Choice]:
    """The choices of an axis."""
    if isinstance(node.value, list) and node.value:
        for value in node.value:
            yield name, _label(value), [(name.split("."), value)]
    elif node.is_mapping and node.value:
        for label, patch in node.value.items():
            if not patch.is_mapping:
                detail = "a variant maps dotted paths to values; {} changes nothing"
                problems.add(f"matrix.{name}.{label}", detail, patch.place)
                continue
            yield name, label, [(path.split("."), value) for path, value in patch.value.items()]
    else:
        detail = "an axis is a list of values, or a mapping of named variants"
        problems.add(f"matrix.{name}", detail, node.place)


def _label(value: Node) -> str:
    """A short text for a value: the component's name for a block."""
    use = value.get("use")
    if use is not None:
        return str(use.value)
    plain = value.plain()
    if isinstance(plain, bool) or plain is None:
        return str(plain).lower().replace("none", "null")
    if isinstance(plain, (list, dict)):
        return re.sub(r"[^\w.+-]+", "-", str(plain)).strip("-")
    return str(plain)


def _part(axis: str, label: str, patches: list[Patch]) -> str:
    """How a choice shows in the name of a run: `heter`, `beta0.1`, `seed2`."""
    values_axis = len(patches) == 1 and ".".join(patches[0][0]) == axis
    bare = values_axis and isinstance(patches[0][1].value, (int, float, type(None)))
    text = (axis.rpartition(".")[2] if bare else "") + label
    return re.sub(r"[^a-z0-9.+=_-]+", "-", text.lower()).strip("-") or "x"


def _same(variants: list[Variant], matrix: Node) -> Iterator[Problem]:
    """Variants that do not differ (an axis changes nothing, --set overrides it), bad names."""
    seen: dict[str, str] = {}
    for variant in variants:
        other = seen.setdefault(variant.recipe.hash, variant.name)
        if other != variant.name:
            detail = f"matrix: variants '{other}' and '{variant.name}' are the same recipe"
            yield Problem(detail, matrix.place, "does --set override an axis?")
    names = [variant.name for variant in variants]
    for name in names:
        if len(name) > LONGEST_NAME:
            detail = f"matrix: the name '{name[:40]}...' has {len(name)} characters"
            hint = f"a name has at most {LONGEST_NAME}; give the values of its axes short names"
            yield Problem(detail, matrix.place, hint)
    for name in sorted({name for name in names if names.count(name) > 1}):
        yield Problem(f"matrix: two variants are called '{name}'", matrix.place)
