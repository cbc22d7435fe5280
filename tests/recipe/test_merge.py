"""How layers are laid over each other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.errors import Mark, RecipeInvalid
from ctfw.recipe.merge import assign, merge, parse_override
from ctfw.recipe.node import Node, wrap

HERE = Mark("here", 1, 1)


def over(base: Any, top: Any) -> Any:
    return merge(wrap(base, HERE), wrap(top, HERE)).plain()


values = st.recursive(
    st.none() | st.integers() | st.lists(st.integers(), max_size=2),
    lambda inner: st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)
mappings = st.dictionaries(st.sampled_from("abc"), values, max_size=3)
blocks = st.builds(lambda use, more: {"use": use, **more}, st.sampled_from("xyz"), mappings)


@given(mappings)
def test_merging_nothing_changes_nothing(base: dict[str, Any]) -> None:
    assert over(base, {}) == base
    assert over({}, base) == base
    assert over(base, base) == base


@given(mappings, mappings)
def test_every_value_of_the_top_layer_is_there(base: Any, top: Any) -> None:
    def holds(found: Any, wanted: Any) -> bool:
        if isinstance(wanted, dict) and isinstance(found, dict):
            return all(key in found and holds(found[key], wanted[key]) for key in wanted)
        return bool(found == wanted)

    assert holds(over(base, top), top)
    assert set(over(base, top)) == set(base) | set(top)


@given(blocks, blocks)
def test_changed_use_replaces_block(base: dict[str, Any], top: dict[str, Any]) -> None:
    found = over({"loss": base}, {"loss": top})["loss"]
    if base["use"] != top["use"]:
        assert found == top
    else:
        assert set(found) == set(base) | set(top)


def test_same_component_in_another_spelling_is_no_change() -> None:
    assert over({"use": "ctfw/heter@1", "n": 1}, {"use": "heter"}) == {"use": "heter", "n": 1}


def test_null_is_a_value_and_lists_replace() -> None:
    assert over({"a": {"b": 1}, "c": [1, 2]}, {"a": None, "c": [3]}) == {"a": None, "c": [3]}


def test_values_keep_their_own_places() -> None:
    merged = merge(wrap({"a": 1, "b": 2}, HERE), wrap({"b": 3}, Mark("there", 5, 5)))
    assert str(merged.value["a"].mark) == "here:1:1"
    assert str(merged.value["b"].mark) == "there:5:5"


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("a.b", 5, {"a": {"b": 5, "use": "x"}, "l": [{"n": 1}]}),
        ("a.use", "y", {"a": {"use": "y"}, "l": [{"n": 1}]}),
        ("l.0.n", 2, {"a": {"b": 1, "use": "x"}, "l": [{"n": 2}]}),
        ("new.deep", 1, {"a": {"b": 1, "use": "x"}, "l": [{"n": 1}], "new": {"deep": 1}}),
        ("a", None, {"a": None, "l": [{"n": 1}]}),
    ],
)
def test_a_path_sets_one_value(path: str, value: Any, expected: Any) -> None:
    base = wrap({"a": {"b": 1, "use": "x"}, "l": [{"n": 1}]}, HERE)
    assert assign(base, path.split("."), Node(value, HERE)).plain() == expected


def test_item_that_is_not_there_is_an_error() -> None:
    with pytest.raises(RecipeInvalid, match="no item 3: the list has 1"):
        assign(wrap({"l": [1]}, HERE), ["l", "3"], Node(1, HERE))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a=1e-5", 1e-5),
        ("a=no", "no"),
        ("a=", None),
        ("a=b=c", "b=c"),
        ("a={use: x}", {"use": "x"}),
    ],
)
def test_override_values_are_yaml(text: str, value: Any) -> None:
    keys, node = parse_override(text)
    assert (keys, node.plain()) == (["a"], value)
    assert str(node.mark) == f"--set {text}"


@pytest.mark.parametrize("text", ["a", "=1", "a..b=1", "a=[", "extends=x", "profile=x", "matrix=1"])
def test_bad_overrides_are_named(text: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        parse_override(text)
    assert str(caught.value).startswith(f"--set {text}: ")
