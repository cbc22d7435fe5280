"""YAML with positions: 1.2 scalars, no repeated keys, no aliases, no tags.

PyYAML's own loader follows YAML 1.1, where `no` is False, `1e-5` is a string, `012` is ten and
`12:30` is 750. Here plain scalars follow the core schema of YAML 1.2, with one difference: a
number with leading zeros stays text, because `012` in a recipe is an identifier.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.composer import Composer
from yaml.emitter import Emitter
from yaml.nodes import MappingNode, ScalarNode, SequenceNode
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.representer import SafeRepresenter
from yaml.resolver import BaseResolver
from yaml.scanner import Scanner
from yaml.serializer import Serializer

from ctfw.errors import Mark, Problem, RecipeInvalid
from ctfw.recipe.node import Node, Override

_TAG = "tag:yaml.org,2002:"
_KINDS = ("null", "bool", "int", "float", "str", "seq", "map")
_PATTERNS = [
    (_TAG + "null", re.compile(r"(?:~|null|Null|NULL|)\Z")),
    (_TAG + "bool", re.compile(r"(?:true|True|TRUE|false|False|FALSE)\Z")),
    (_TAG + "int", re.compile(r"(?:[-+]?(?:0|[1-9][0-9]*)|0o[0-7]+|0x[0-9a-fA-F]+)\Z")),
    (
        _TAG + "float",
        re.compile(
            r"(?:[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?"
            r"|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))\Z"
        ),
    ),
]


class _Yaml12(BaseResolver):
    """Which plain scalars are not text."""

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is ScalarNode and implicit[0]:
            for tag, pattern in _PATTERNS:
                if pattern.match(value):
                    return tag
            return _TAG + "str"
        return super().resolve(kind, value, implicit)


class _Loader(Reader, Scanner, Parser, Composer, _Yaml12):
    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)
        Composer.__init__(self)
        _Yaml12.__init__(self)

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.get_event()
            raise yaml.MarkedYAMLError(
                problem=f"aliases (*{event.anchor}) are not part of recipes: use `extends` or "
                "write the value out",
                problem_mark=event.start_mark,
            )
        return super().compose_node(parent, index)


class _Dumper(Emitter, Serializer, SafeRepresenter, _Yaml12):
    """Writes what `_Loader` reads back as the same values."""

    def __init__(self, stream: Any, **options: Any) -> None:
        Emitter.__init__(self, stream, width=100, allow_unicode=True)
        Serializer.__init__(self)
        SafeRepresenter.__init__(self, default_flow_style=None, sort_keys=False)  # type: ignore[arg-type]
        _Yaml12.__init__(self)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def dump(value: Any) -> str:
    """YAML text of plain values, keys in their order."""
    text: str = yaml.dump(value, Dumper=_Dumper)
    return text


def parse(text: str, name: str) -> Node:
    """The document as nodes. Raises RecipeInvalid with every fault and its place."""
    try:
        root = _Loader(text).get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        detail = " ".join(str(error.problem or error.context).split())
        raise RecipeInvalid([Problem(f"not YAML: {detail}", _mark(mark, name))]) from None
    except yaml.YAMLError as error:
        detail = " ".join(str(error).split())
        raise RecipeInvalid([Problem(f"not YAML: {detail}", Mark(name, 1, 1))]) from None
    except RecursionError:
        raise RecipeInvalid([Problem("is nested too deeply", Mark(name, 1, 1))]) from None
    if root is None:
        raise RecipeInvalid([Problem("is empty", Mark(name, 1, 1))])
    problems: list[Problem] = []
    node = _convert(root, name, problems)
    if problems:
        raise RecipeInvalid(problems)
    return node


def read(path: Path, name: str | None = None) -> tuple[Node, str]:
    """(mapping, text) of a recipe file; `name` is how messages call it. Raises RecipeInvalid."""
    name = name or str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        detail = f"is not UTF-8 text (byte {error.start})"
        raise RecipeInvalid([Problem(detail, Mark(name, 1, 1))]) from None
    except OSError as error:
        raise RecipeInvalid([Problem(f"cannot read {name}: {error.strerror}")]) from None
    node = parse(text, name)
    if not node.is_mapping:
        raise RecipeInvalid([Problem("a recipe is a mapping of settings", node.mark)])
    return node, text


def parse_value(text: str, source: str) -> Node:
    """A value of the command line; every node stands at `source`, e.g. `--set seed=1`."""
    try:
        node = parse(text, source) if text.strip() else Node(None, Mark(source, 0, 0))
    except RecipeInvalid as error:
        detail = error.problems[0].message
        raise RecipeInvalid([Problem(detail, Override(source, 0, 0))]) from None
    return _at(node, Override(source, 0, 0))


def _at(node: Node, mark: Mark) -> Node:
    if isinstance(node.value, dict):
        return Node({key: _at(child, mark) for key, child in node.value.items()}, mark)
    if isinstance(node.value, list):
        return Node([_at(child, mark) for child in node.value], mark)
    return Node(node.value, mark)


def _mark(mark: Any, name: str) -> Mark:
    return Mark(name, mark.line + 1, mark.column + 1) if mark else Mark(name, 1, 1)


def _convert(node: Any, name: str, problems: list[Problem], key: Mark | None = None) -> Node:
    mark = _mark(node.start_mark, name)
    if str(node.tag).removeprefix(_TAG) not in _KINDS:
        problems.append(Problem(f"tag {node.tag} is not part of recipes: write plain values", mark))
        return Node(None, mark, key)
    if isinstance(node, MappingNode):
        return Node(_mapping(node, name, problems), mark, key)
    if isinstance(node, SequenceNode):
        return Node([_convert(item, name, problems) for item in node.value], mark, key)
    try:
        return Node(_scalar(node.tag.removeprefix(_TAG), node.value), mark, key)
    except ValueError:
        problems.append(Problem(f"'{node.value}' is not what its tag {node.tag} says", mark))
        return Node(None, mark, key)


def _mapping(node: MappingNode, name: str, problems: list[Problem]) -> dict[str, Node]:
    result: dict[str, Node] = {}
    for key_node, value_node in node.value:
        place = _mark(key_node.start_mark, name)
        if not isinstance(key_node, ScalarNode):
            problems.append(Problem("a key must be a single word", place))
            continue
        key = key_node.value  # as written: `no:` and `1:` are names here
        if key == "<<":
            problems.append(
                Problem("merge keys (<<) are not part of recipes: use `extends`", place)
            )
        elif key in result:
            first = result[key].key
            line = first.line if first else "?"
            problems.append(Problem(f"'{key}' is written twice, first on line {line}", place))
        else:
            result[key] = _convert(value_node, name, problems, place)
    return result


def _scalar(tag: str, text: str) -> Any:
    if tag == "null":
        return None
    if tag == "bool":
        return {"true": True, "false": False}[text.lower()]
    if tag == "int":
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    if tag == "float":
        return float(text.lower().replace(".inf", "inf").replace(".nan", "nan"))
    return text
