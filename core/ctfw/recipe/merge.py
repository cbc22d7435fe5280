"""Laying one recipe over another, and single values over a recipe.

Mappings merge; lists and scalars replace; null is a value. A block whose `use:` changes replaces
its parent whole: the settings of the component that it replaces mean nothing to the new one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ctfw.errors import Problem, RecipeInvalid
from ctfw.recipe.load import parse_value
from ctfw.recipe.node import Node, Override


def merge(base: Node, top: Node) -> Node:
    """`top` laid over `base`; every value keeps the place it was written at."""
    if not (isinstance(base.value, dict) and isinstance(top.value, dict)):
        return top
    if swaps(base, top):
        return top
    merged = dict(base.value)
    for key, child in top.value.items():
        merged[key] = merge(merged[key], child) if key in merged else child
    return Node(merged, top.mark, top.key or base.key)


def swaps(base: Node, top: Node) -> bool:
    """Whether both name a component, and not the same one."""
    old, new = base.get("use"), top.get("use")
    return old is not None and new is not None and _bare(old.value) != _bare(new.value)


def _bare(use: object) -> str:
    """`heter`, `ctfw/heter` and `ctfw/heter@1` are one component."""
    return str(use).partition("@")[0].removeprefix("ctfw/")


def assign(base: Node | None, keys: Sequence[str], value: Node) -> Node:
    """`base` with `value` merged in at a path; numbers index lists that are there."""
    if not keys:
        return value if base is None else merge(base, value)
    head, rest = keys[0], keys[1:]
    if base is not None and isinstance(base.value, list) and head.isdigit():
        items = list(base.value)
        if int(head) >= len(items):
            raise RecipeInvalid(
                [Problem(f"there is no item {head}: the list has {len(items)}", value.mark)]
            )
        items[int(head)] = assign(items[int(head)], rest, value)
        return Node(items, base.mark, base.key)
    child = base.get(head) if base is not None else None
    patch = Node({head: assign(child, rest, value)}, value.mark)
    return merge(base, patch) if base is not None else patch


def parse_override(text: str) -> tuple[list[str], Node]:
    """(path, value) of `KEY=VALUE` from the command line. Raises RecipeInvalid."""
    path, equals, value = text.partition("=")
    keys = path.strip().split(".")
    source = f"--set {text}"
    if not equals or not all(keys):
        problem = Problem("write KEY=VALUE, for example seed=1", Override(source, 0, 0))
        raise RecipeInvalid([problem])
    if keys[0] in ("ctfw", "extends", "profile", "matrix"):
        hint = "use --profile" if keys[0] == "profile" else ""
        problem = Problem(f"'{keys[0]}' cannot be set here", Override(source, 0, 0), hint)
        raise RecipeInvalid([problem])
    return keys, parse_value(value, source)


def parse_overrides(texts: Iterable[str]) -> list[tuple[list[str], Node]]:
    """All of them, with the faults of all of them."""
    problems: list[Problem] = []
    parsed = []
    for text in texts:
        try:
            parsed.append(parse_override(text))
        except RecipeInvalid as error:
            problems += error.problems
    if problems:
        raise RecipeInvalid(problems)
    return parsed
