"""Labeler and metrics of a recipe, and what is said when some are missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ctfw.component import Block
from ctfw.engine.context import Context
from ctfw.engine.judges import Judges, judges_of
from ctfw.errors import UserError
from ctfw.plugins import Plugins, load_plugins
from ctfw.recipe import ResolvedRecipe, resolve
from ctfw.scoring.conditions import parse

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins(only="none")


@pytest.fixture(scope="module")
def recipe(plugins: Plugins) -> ResolvedRecipe:
    return resolve(ROOT / "recipes" / "origin.yaml", (), None, plugins)


def block(plugins: Plugins, kind: str, name: str, **settings: Any) -> Block:
    component = plugins.catalog.get(kind, name)
    return Block(component, component.config(**settings))


def test_judges_are_those_of_the_top_level(recipe: ResolvedRecipe) -> None:
    found = judges_of(recipe, Context())
    assert list(found.metrics) == [metric.name for metric in recipe.metrics]
    assert found.labeler.signature.startswith("ct-rate-18|")


def test_judges_of_a_stage_serve_where_the_top_level_has_none(recipe: ResolvedRecipe) -> None:
    bare = replace(recipe, labeler=None, metrics=())
    assert list(judges_of(bare, Context()).metrics) == [m.name for m in recipe.metrics]


def test_missing_labeler_is_said_with_what_to_add(recipe: ResolvedRecipe) -> None:
    bare = replace(recipe, labeler=None, stages={})
    with pytest.raises(UserError, match=r"has no labeler.*--set labeler.use=ct-rate-18"):
        judges_of(bare, Context())


@pytest.mark.parametrize("names", [(), ("bleu",), ("bleu", "coverage")])
def test_missing_macro_f1_is_said_with_what_to_add(
    names: Sequence[str], recipe: ResolvedRecipe, plugins: Plugins
) -> None:
    metrics = tuple(block(plugins, "metric", name) for name in names)
    with pytest.raises(UserError, match=r"no metric of recipe 'origin' gives macro-f1.*accuracy"):
        judges_of(replace(recipe, metrics=metrics, stages={}), Context())


def test_metrics_of_one_component_are_numbered(plugins: Plugins) -> None:
    same = [block(plugins, "metric", "bleu") for _ in range(3)]
    made = Judges.build(block(plugins, "labeler", "ct-rate-18"), same, Context())
    assert list(made.metrics) == ["bleu", "bleu-2", "bleu-3"]
    assert len({id(metric) for metric in made.metrics.values()}) == 3


def test_condition_is_checked_against_the_values_of_these_metrics(plugins: Plugins) -> None:
    made = Judges.build(
        block(plugins, "labeler", "ct-rate-18"), [block(plugins, "metric", "accuracy")], Context()
    )
    made.check([parse("macro_f1 < 0.1"), parse("grounded_gain < 0.1")], "here")
    with pytest.raises(UserError, match="here: there is no number 'bleu_4'"):
        made.check([parse("bleu_4 < 0.1")], "here")
