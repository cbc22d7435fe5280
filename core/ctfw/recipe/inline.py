"""A component and its settings in one argument of the command line."""

from __future__ import annotations

from ctfw.component import Block
from ctfw.errors import Mark, RecipeInvalid
from ctfw.recipe.blocks import Builder
from ctfw.recipe.load import parse
from ctfw.recipe.node import Node, Override, Problems
from ctfw.registry import Catalog


def inline_block(text: str, kind: str, catalog: Catalog, option: str) -> Block:
    """The block of `NAME` or of `{use: NAME, setting: value}`, as it would stand in a recipe.

    option  how messages call the argument, e.g. `--metric`
    Raises RecipeInvalid with everything that is wrong with it.
    """
    mark: Mark = Override(f"{option} {text}", 0, 0)
    node = parse(text, mark.file)
    if isinstance(node.value, str):
        node = Node({"use": Node(node.value, mark)}, mark)
    problems = Problems()
    block = Builder(catalog, problems).block(_at(node, mark), kind, "")
    if block is None or problems.found:
        raise RecipeInvalid(problems.found)
    return block


def _at(node: Node, mark: Mark) -> Node:
    """The node with every place on the command line: a column of one argument tells nothing."""
    value = node.value
    if isinstance(value, dict):
        value = {key: _at(child, mark) for key, child in value.items()}
    elif isinstance(value, list):
        value = [_at(child, mark) for child in value]
    return Node(value, mark)
