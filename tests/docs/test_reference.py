"""The reference is what the code says, and says everything."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ctfw import hooks
from ctfw.cli import VERBS
from ctfw.component import KINDS
from ctfw.plugins import load_plugins
from ctfw.recipe.resolve import TOP_LEVEL

DOCS = Path(__file__).resolve().parents[2] / "docs"


@pytest.fixture(scope="module")
def made() -> Iterator[dict[str, str]]:
    """The pages as the code makes them now."""
    sys.path.insert(0, str(DOCS))
    yield importlib.import_module("generate_reference").pages()
    sys.path.remove(str(DOCS))


def committed(page: str) -> str:
    return (DOCS / "reference" / page).read_text(encoding="utf-8")


@pytest.mark.parametrize("page", ["hooks.md", "components.md", "recipe.md", "cli.md"])
def test_committed_reference_is_what_the_code_makes(made: dict[str, str], page: str) -> None:
    assert committed(page) == made[page], "the code has changed: run `make docs`"


def test_no_page_is_left_over(made: dict[str, str]) -> None:
    written = {"glossary.md", "metrics.md"}
    assert {path.name for path in (DOCS / "reference").iterdir()} == set(made) | written


def test_every_metric_is_in_the_table_of_metrics() -> None:
    text = committed("metrics.md")
    metrics = load_plugins(only="none").catalog.all("metric")
    assert [m.name for m in metrics if f"| `{m.name}` |" not in text] == []


def test_every_verb_has_a_section() -> None:
    text = committed("cli.md")
    assert [verb for verb in VERBS if f"### `ctfw {verb}" not in text] == []


def test_every_hook_and_contract_has_a_section() -> None:
    text = committed("hooks.md")
    known = [key for key in vars(hooks) if key.startswith("ctfw_")]
    assert [key for key in known if f"### `{key}`" not in text] == []
    assert [kind for kind in KINDS if f"### {kind.replace('_', ' ')}\n" not in text] == []


def test_every_component_and_setting_is_described() -> None:
    text = committed("components.md")
    for component in load_plugins(only="none").catalog.all():
        section = text.partition(f"### `{component.name}`\n")[2].partition("\n### ")[0]
        assert component.summary in section
        absent = [key for key in component.config.model_fields if f"| `{key}` |" not in section]
        assert absent == [], component.name


def test_every_field_of_a_recipe_is_described() -> None:
    text = committed("recipe.md")
    assert [field for field in TOP_LEVEL if f"| `{field}` |" not in text] == []
