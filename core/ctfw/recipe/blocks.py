"""From nodes to validated settings and components, with every fault at its place."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from ctfw.component import Block
from ctfw.config import Strict, fields_with, nested_model
from ctfw.errors import AmbiguousComponent, Mark, UnknownComponent
from ctfw.recipe import wording
from ctfw.recipe.merge import merge
from ctfw.recipe.node import Node, Problems
from ctfw.registry import Catalog, words
from ctfw.settings import Generation, Training
from ctfw.slots import Needs, Slot

_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_INHERITED = {"training": Training, "generation": Generation}


class Builder:
    """Builds blocks and settings; what is wrong goes to `problems`, places to `marks`.

    `references` maps the dotted path of each reference between stages to (text, product).
    """

    def __init__(
        self, catalog: Catalog, problems: Problems, environ: Mapping[str, str] | None = None
    ) -> None:
        self.catalog = catalog
        self.problems = problems
        self.marks: dict[str, Mark] = {}
        self.references: dict[str, tuple[str, str]] = {}
        self._environ = os.environ if environ is None else environ

    def block(self, node: Node, kind: str, path: str, shared: Node | None = None) -> Block | None:
        """The component that a node chooses; None when something is wrong with it.

        `shared` are the top-level settings that a stage inherits from.
        """
        if not node.is_mapping:
            hint = f"write {{use: {node.value}}}" if isinstance(node.value, str) else ""
            self.problems.add(path, f"must be a {words(kind)}: {{use: NAME}}", node.place, hint)
            return None
        use = node.get("use")
        if use is None or not isinstance(use.value, str):
            known = ", ".join(self.catalog.names(kind)) or "none is installed"
            place = use.mark if use else node.place
            self.problems.add(path, f"needs `use`: the name of a {words(kind)} ({known})", place)
            return None
        try:
            component = self.catalog.get(kind, use.value)
        except (UnknownComponent, AmbiguousComponent) as error:
            self.problems.add("", str(error), use.mark)
            return None
        body = Node({k: v for k, v in node.value.items() if k != "use"}, node.mark, node.key)
        if shared is not None:
            body = inherit(component.config, body, shared)
        settings = self.settings(component.config, body, path, component.name)
        return None if settings is None else Block(component, settings)

    def blocks(self, node: Node, kind: str, path: str) -> list[Block | None] | Any:
        """A block, a list of blocks, or null: what a slot of a settings model may hold."""
        if isinstance(node.value, list):
            return [self.block(n, kind, f"{path}.{i}") for i, n in enumerate(node.value)]
        return None if node.value is None else self.block(node, kind, path)

    def settings(self, model: type[Strict], node: Node, path: str, owner: str) -> Any:
        """A validated instance of `model`, or None with the faults noted."""
        for where, each in node.walk(path):
            self.marks.setdefault(where, each.mark)
        values, failed = self._values(model, node, path)
        try:
            built = model.model_validate(values)
        except ValidationError as error:
            self._report(error, model, node, path, owner, failed)
            return None
        return None if failed else built

    def _values(self, model: type[Strict], node: Node, path: str) -> tuple[dict[str, Any], set]:
        """(plain values and built blocks, keys left out because something is wrong below)."""
        slots, needs = dict(fields_with(model, Slot)), dict(fields_with(model, Needs))
        values: dict[str, Any] = {}
        failed: set[tuple[str, ...]] = set()
        for key, child in node.value.items():
            where = f"{path}.{key}" if path else key
            field = model.model_fields.get(key)
            inner = nested_model(field.annotation) if field is not None else None
            before = self.problems.told
            if key in slots:
                value = self.blocks(child, slots[key].kind, where)
                broken = _holds_nothing(value) if child.value is not None else False
            elif inner is not None and child.is_mapping:
                value, below = self._values(inner, child, where)
                failed |= {(key, *rest) for rest in below}
                broken = False
            else:
                value = self.plain(child, where)
                broken = self.problems.told > before
                if key in needs and not broken:
                    self._refer(value, needs[key].product, where)
            if broken:
                failed.add((key,))
            else:
                values[key] = value
        return values, failed

    def _refer(self, value: Any, product: str, path: str) -> None:
        listed = isinstance(value, list)
        for index, item in enumerate(value if listed else [value]):
            if isinstance(item, str):
                self.references[f"{path}.{index}" if listed else path] = (item, product)

    def plain(self, node: Node, path: str) -> Any:
        """The value with `${env:NAME}` replaced."""
        if isinstance(node.value, dict):
            return {k: self.plain(child, f"{path}.{k}") for k, child in node.value.items()}
        if isinstance(node.value, list):
            return [self.plain(child, f"{path}.{i}") for i, child in enumerate(node.value)]
        if isinstance(node.value, str) and "${" in node.value:
            return _VARIABLE.sub(lambda match: self._variable(match[1], node, path), node.value)
        return node.value

    def _variable(self, text: str, node: Node, path: str) -> str:
        name = text.removeprefix("env:")
        if name == text or not name:
            detail = f"'${{{text}}}': only ${{env:NAME}} is replaced in a recipe"
            self.problems.add(path, detail, node.mark)
        elif not self._environ.get(name):
            detail = f"the environment variable {name} is not set, or empty"
            self.problems.add(path, detail, node.mark, f"export {name}=..., or --set {path}=...")
        return self._environ.get(name, "")

    def _report(
        self, error: ValidationError, model: type[Strict], node: Node, path: str, owner: str,
        failed: set[tuple[str, ...]],
    ) -> None:  # fmt: skip
        """Note each finding at the value it is about."""
        groups: dict[tuple[Any, ...], list[Any]] = {}
        holders: dict[tuple[Any, ...], type[Strict]] = {}
        for found in error.errors(include_url=False):
            loc, inner = wording.located(model, found["loc"])
            if any(loc[: len(key)] == key for key in failed):
                continue
            kept = loc if found["type"] in ("missing", "extra_forbidden") else _walked(node, loc)
            groups.setdefault(kept, []).append(found)
            holders[kept] = inner
        for loc, founds in groups.items():
            where = ".".join([path, *map(str, loc)] if path else list(map(str, loc)))
            holder = ".".join([path, *map(str, loc[:-1])] if path else list(map(str, loc[:-1])))
            at = _node_at(node, loc)
            kind = founds[0]["type"]
            if kind == "missing":
                above = _node_at(node, loc[:-1])
                self.problems.add(holder, wording.missing(str(loc[-1])), above.place)
            elif kind == "extra_forbidden":
                name = str(loc[-2]) if len(loc) > 1 else owner
                detail, hint = wording.unknown_setting(holders[loc], name, str(loc[-1]))
                self.problems.add(holder, detail, at.place, hint)
            else:
                self.problems.add(
                    where, wording.reword(founds), at.mark, wording.literal_hint(founds)
                )


def inherit(model: type[Strict], own: Node, shared: Node) -> Node:
    """A stage's settings with the shared blocks of the recipe below them.

    A field `training` or `generation` that holds those settings, and the slots `metrics` and
    `labeler`, start from the top-level block of the same name.
    """
    slots = {name: slot.kind for name, slot in fields_with(model, Slot)}
    values = dict(own.value)
    for name in ("training", "generation", "metrics", "labeler"):
        field, base = model.model_fields.get(name), shared.get(name)
        if field is None or base is None:
            continue
        if name in _INHERITED:
            inner = nested_model(field.annotation)
            fits = inner is not None and issubclass(inner, _INHERITED[name])
        else:
            fits = slots.get(name) == name.removesuffix("s")
        if fits:
            values[name] = merge(base, values[name]) if name in values else base
    return Node(values, own.mark, own.key)


def _holds_nothing(value: Any) -> bool:
    return value is None or (isinstance(value, list) and any(item is None for item in value))


def _walked(node: Node, loc: tuple[Any, ...]) -> tuple[Any, ...]:
    """The part of a location that exists in the recipe; pydantic adds the names of types."""
    for depth, key in enumerate(loc):
        below = _child(node, key)
        if below is None:
            return loc[:depth]
        node = below
    return loc


def _node_at(node: Node, loc: tuple[Any, ...]) -> Node:
    for key in loc:
        below = _child(node, key)
        if below is None:
            break
        node = below
    return node


def _child(node: Node, key: Any) -> Node | None:
    if isinstance(node.value, list) and isinstance(key, int) and key < len(node.value):
        return node.value[key]
    return node.get(str(key)) if node.is_mapping else None
