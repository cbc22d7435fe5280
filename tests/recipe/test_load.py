"""YAML 1.2 with positions."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.errors import RecipeInvalid
from ctfw.recipe.load import dump, parse, read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-5", 1e-5), ("2E3", 2000.0), (".5", 0.5), ("1.", 1.0), ("-.inf", -math.inf),
        ("no", "no"), ("on", "on"), ("Yes", "Yes"), ("true", True), ("FALSE", False),
        ("012", "012"), ("0", 0), ("-7", -7), ("+7", 7), ("0x1F", 31), ("0o17", 15),
        ("12:30", "12:30"), ("2026-01-01", "2026-01-01"), ("1_000", "1_000"), ("1.2.3", "1.2.3"),
        ("~", None), ("null", None), ("'1e-5'", "1e-5"), ('"true"', "true"), ("!!str 5", "5"),
    ],
)  # fmt: skip
def test_plain_scalars_follow_yaml_1_2(text: str, value: Any) -> None:
    found = parse(f"key: {text}", "f").plain()["key"]
    assert found == value
    assert type(found) is type(value)


def test_keys_are_names_as_written() -> None:
    assert parse("no: 1\n1: 2\nnull: 3", "f").plain() == {"no": 1, "1": 2, "null": 3}


def test_every_value_knows_its_place() -> None:
    node = parse("a:\n  - b: 1\n    c: [2, 3]\n", "f.yaml")
    places = {path: str(each.mark) for path, each in node.walk()}
    assert places["a.0.b"] == "f.yaml:2:8"
    assert places["a.0.c.1"] == "f.yaml:3:12"
    inner = node.value["a"].value[0].value["c"]
    assert str(inner.place) == "f.yaml:3:5"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3", "f:3:1: 'a' is written twice, first on line 1"),
        ("a: *x", "f:1:4: not YAML: aliases (*x) are not part of recipes"),
        ("a: 1\n<<: {b: 2}", "f:2:1: merge keys (<<) are not part of recipes: use `extends`"),
        ("a: !!python/object/apply:os.system [ls]", "f:1:4: tag tag:yaml.org,2002:python"),
        ("a: !mine 1", "f:1:4: tag !mine is not part of recipes"),
        ("a: !!int x", "f:1:4: 'x' is not what its tag"),
        ("a: [1", "f:1:6: not YAML: "),
        ("a: b: c", "f:1:5: not YAML: mapping values are not allowed here"),
        ("a: 1\n---\nb: 2", "f:2:1: not YAML: but found another document"),
        ("? [a]\n: 1", "f:1:3: a key must be a single word"),
        ("", "f:1:1: is empty"),
        ("# nothing", "f:1:1: is empty"),
        ("a: \x07", "f:1:1: not YAML: unacceptable character"),
        ("[" * 5000, "f:1:1: is nested too deeply"),
    ],
)
def test_faults_have_a_place_and_a_reason(text: str, message: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        parse(text, "f")
    assert str(caught.value).startswith(message)


def test_all_repeated_keys_are_told_at_once() -> None:
    with pytest.raises(RecipeInvalid) as caught:
        parse("a: {b: 1, b: 2}\na: 3", "f")
    assert len(caught.value.problems) == 2


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "latin.yaml").write_bytes(b"a: \xe9\xff")
    (tmp_path / "list.yaml").write_text("- 1")
    for name, message in {
        "latin.yaml": "is not UTF-8 text (byte 3)",
        "list.yaml": "a recipe is a mapping of settings",
        "none.yaml": "No such file or directory",
    }.items():
        with pytest.raises(RecipeInvalid) as caught:
            read(tmp_path / name)
        assert message in str(caught.value)


scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"]))
)


@given(
    st.recursive(
        scalars,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.text("abcdefgh<_", min_size=1).filter(lambda k: k != "<<"), inner)
        ),
        max_leaves=8,
    )
)
def test_dumped_values_read_back_the_same(value: Any) -> None:
    assert parse(dump({"value": value}), "f").plain() == {"value": value}


@pytest.mark.parametrize(
    "text", ["1e-5", "012", "no", "0o17", "~", "true", "2026-01-01", "${env:A}"]
)
def test_text_that_looks_like_a_number_stays_text(text: str) -> None:
    assert parse(dump([text]), "f").plain() == [text]
