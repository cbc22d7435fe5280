"""A value of a recipe that remembers where it was written."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ctfw.errors import Mark, Problem

Scalar = None | bool | int | float | str


@dataclass(frozen=True, slots=True)
class Override(Mark):
    """The place of a value that came from the command line; `file` is its whole text."""

    def __str__(self) -> str:
        return self.file


@dataclass(frozen=True, slots=True)
class Node:
    """A mapping, a list or a scalar, with the place of the value and of its key."""

    value: Any  # dict[str, Node] | list[Node] | Scalar
    mark: Mark
    key: Mark | None = None

    @property
    def is_mapping(self) -> bool:
        return isinstance(self.value, dict)

    @property
    def place(self) -> Mark:
        """Where to point for a fault of the whole value: at its key, if it has one."""
        return self.key or self.mark

    def get(self, *keys: str) -> Node | None:
        """The node below, or None when some key on the way is absent."""
        node: Node | None = self
        for key in keys:
            if node is None or not node.is_mapping:
                return None
            node = node.value.get(key)
        return node

    def plain(self) -> Any:
        """The value without its places."""
        if isinstance(self.value, dict):
            return {key: child.plain() for key, child in self.value.items()}
        if isinstance(self.value, list):
            return [child.plain() for child in self.value]
        return self.value

    def walk(self, path: str = "") -> Iterator[tuple[str, Node]]:
        """(dotted path, node) of this node and of everything below it."""
        yield path, self
        items: Any = ()
        if isinstance(self.value, dict):
            items = self.value.items()
        elif isinstance(self.value, list):
            items = enumerate(self.value)
        for key, child in items:
            yield from child.walk(f"{path}.{key}" if path else str(key))


def wrap(value: Any, mark: Mark) -> Node:
    """A plain value as nodes that all stand at one place."""
    if isinstance(value, dict):
        value = {str(key): wrap(child, mark) for key, child in value.items()}
    elif isinstance(value, (list, tuple)):
        value = [wrap(child, mark) for child in value]
    return Node(value, mark)


class Problems:
    """Collects what is wrong, each thing once.

    A shared block that several stages inherit is checked in each of them; its faults stand at
    one place and are told once.
    """

    def __init__(self) -> None:
        self.found: list[Problem] = []
        self.told = 0  # repetitions included
        self._seen: set[tuple[str, str]] = set()

    def add(self, where: str, detail: str, mark: Mark | None, hint: str = "") -> None:
        """Note a fault of the setting at the dotted path `where` (may be empty)."""
        self.told += 1
        place = str(mark) if mark is not None else where
        if (place, detail) in self._seen:
            return
        self._seen.add((place, detail))
        self.found.append(Problem(f"{where}: {detail}" if where else detail, mark, hint))

    def extend(self, problems: list[Problem]) -> None:
        for problem in problems:
            self.add("", problem.message, problem.mark, problem.hint)
