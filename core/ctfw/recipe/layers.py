"""The files a recipe consists of: its profile, the recipes that it extends, itself."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import reduce
from pathlib import Path
from typing import Literal

from ctfw.errors import Mark, RecipeInvalid
from ctfw.recipe.find import display, find_profile, find_recipe
from ctfw.recipe.load import read
from ctfw.recipe.merge import merge
from ctfw.recipe.node import Node, Problems

Role = Literal["profile", "parent", "recipe"]


@dataclass(frozen=True, slots=True)
class Source:
    """A file that a recipe was made of, as written."""

    role: Role
    path: Path
    text: str


@dataclass(frozen=True)
class Layers:
    """The layers of a recipe before they are merged.

    profile  the chain of profiles, merged, or None; `spare` are its own whole stages
    recipe   the chain of recipes, merged
    own      the recipe file alone: a name is not inherited
    """

    recipe: Node
    own: Node
    profile: Node | None
    profile_name: str
    sources: tuple[Source, ...]
    spare: tuple[str, ...] = field(default=())

    def tree(self) -> Node:
        """All layers in one, the profile lowest."""
        return self.recipe if self.profile is None else merge(self.profile, self.recipe)


def collect(path: Path, profile: str | None, dirs: Sequence[Path], problems: Problems) -> Layers:
    """Read every file. Raises RecipeInvalid when one of them cannot be read at all."""
    chain = _chain(path, "recipe", lambda text, near, mark: find_recipe(text, dirs, near), problems)
    recipe = reduce(merge, (node for _, node in chain))
    sources = [source for source, _ in chain]
    named = _profile_of(chain, profile)
    if named is None:
        return Layers(recipe, chain[-1][1], None, "", tuple(sources))
    text, near, mark = named
    found = find_profile(text, dirs, near, mark)
    profiles = _chain(found, "profile", lambda t, n, m: find_profile(t, dirs, n, m), problems)
    below, spare = _as_profile(reduce(merge, (node for _, node in profiles)), recipe, problems)
    sources = [source for source, _ in profiles] + sources
    return Layers(recipe, chain[-1][1], below, found.stem, tuple(sources), spare)


def _chain(
    path: Path, role: Role, find: Callable[[str, Path, Mark], Path], problems: Problems
) -> list[tuple[Source, Node]]:
    """The file and what it extends, the lowest first."""
    chain: list[tuple[Source, Node]] = []
    seen: list[Path] = []
    current: Path | None = path
    while current is not None:
        seen.append(current.resolve())
        node, text = read(current, display(current))
        _check_version(node, problems)
        part: Role = "parent" if role == "recipe" and chain else role
        chain.insert(0, (Source(part, current, text), node))
        parent, current = node.get("extends"), None
        if parent is None or parent.value is None:
            continue
        if not isinstance(parent.value, str):
            problems.add("extends", "must be the path or the name of a recipe", parent.mark)
            continue
        current = _parent(parent, seen, find)
    return chain


def _parent(parent: Node, seen: list[Path], find: Callable[[str, Path, Mark], Path]) -> Path:
    try:
        found = find(parent.value, seen[-1].parent, parent.mark)
    except RecipeInvalid as error:
        problem = error.problems[0]
        collected = Problems()
        collected.add("extends", problem.message, parent.mark, problem.hint)
        raise RecipeInvalid(collected.found) from None
    if found.resolve() in seen:
        circle = " -> ".join(path.name for path in (*seen, found))
        collected = Problems()
        collected.add("extends", f"goes in a circle: {circle}", parent.mark)
        raise RecipeInvalid(collected.found)
    return found


def _check_version(node: Node, problems: Problems) -> None:
    version = node.get("ctfw")
    if version is not None and (isinstance(version.value, bool) or version.value != 1):
        detail = f"this ctfw reads recipes of format 1, not {version.value!r}"
        problems.add("ctfw", detail, version.mark)


def _profile_of(
    chain: list[tuple[Source, Node]], given: str | None
) -> tuple[str, Path, Mark | None] | None:
    """(text, folder it is relative to, place) of the profile; the nearest file decides."""
    if given is not None:
        return given, Path.cwd(), None
    for source, node in reversed(chain):
        chosen = node.get("profile")
        if chosen is None:
            continue
        if isinstance(chosen.value, str):
            return chosen.value, source.path.resolve().parent, chosen.mark
        return None  # `profile: null`, or a fault that the check of the header reports
    return None


def _as_profile(node: Node, recipe: Node, problems: Problems) -> tuple[Node, tuple[str, ...]]:
    """The part of a profile that lies below this recipe, and the stages it offers.

    Its stages without `use` adjust stages of the recipe and are dropped where there are none.
    """
    values = dict(node.value)
    for key in ("profile", "matrix"):
        if key in values:
            problems.add("", f"a profile has no '{key}'", values[key].place)
    for key in ("profile", "matrix", "extends", "name", "summary"):
        values.pop(key, None)
    stages, own = node.get("stages"), recipe.get("stages")
    spare: tuple[str, ...] = ()
    if stages is not None and stages.is_mapping:
        names = set(own.value) if own is not None and own.is_mapping else set()
        spare = tuple(n for n, s in stages.value.items() if n not in names and s.get("use"))
        kept = {n: s for n, s in stages.value.items() if n in names or n in spare}
        values["stages"] = Node(kept, stages.mark, stages.key)
    return Node(values, node.mark), spare
