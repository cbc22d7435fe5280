"""Grids of recipes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from ctfw.errors import RecipeInvalid
from ctfw.plugins import Plugins
from ctfw.recipe import Variant, expand

Expanded = Callable[..., list[Variant]]

ABLATION = """\
extends: base
name: ablation
matrix:
  - negatives:
      origin: {stages.tune.negatives: null, stages.tune.loss: {use: cross-entropy}}
    seed: [0, 1]
  - negatives:
      gauss: {stages.tune.negatives: {use: gauss}}
      heter: {}
    stages.tune.loss.beta: [0.05, 0.1]
    seed: [0, 1]
"""


@pytest.fixture
def expanded(write: Callable[..., None], fake_plugins: Plugins) -> Expanded:
    def make(text: str, *overrides: str) -> list[Variant]:
        write(recipe=text)
        return expand("recipe.yaml", overrides, plugins=fake_plugins)

    return make


def test_list_of_grids_is_the_union_of_their_products(expanded: Expanded) -> None:
    variants = expanded(ABLATION)
    assert [variant.name for variant in variants] == [
        "ablation-origin-seed0",
        "ablation-origin-seed1",
        *(
            f"ablation-{negatives}-beta{beta}-seed{seed}"
            for negatives in ("gauss", "heter")
            for beta in ("0.05", "0.1")
            for seed in (0, 1)
        ),
    ]
    assert variants[-1].labels == {
        "negatives": "heter",
        "stages.tune.loss.beta": "0.1",
        "seed": "1",
    }
    assert len({variant.recipe.hash for variant in variants}) == len(variants)


def test_variant_is_a_recipe_of_its_own(expanded: Expanded) -> None:
    origin, *_, heter = expanded(ABLATION)
    plain = origin.recipe.plain()["stages"]["tune"]
    assert plain["negatives"] is None
    assert plain["loss"] == {"use": "ctfw/cross-entropy@1"}
    assert heter.recipe.plain()["stages"]["tune"]["negatives"]["min_label_distance"] == 12
    assert heter.recipe.name == heter.name
    assert not heter.recipe.is_sweep


def test_blocks_as_values_are_called_by_their_component(expanded: Expanded) -> None:
    text = "extends: base\nmatrix: {stages.tune.negatives: [{use: gauss}, {use: heter}, null]}"
    names = [variant.name for variant in expanded(text)]
    assert names == ["recipe-gauss", "recipe-heter", "recipe-negativesnull"]


def test_recipe_without_matrix_is_its_own_variant(expanded: Expanded) -> None:
    assert [variant.labels for variant in expanded("extends: base")] == [{}]


def test_override_lies_over_every_variant(expanded: Expanded) -> None:
    variants = expanded(ABLATION, "training.epochs=0.5")
    assert {variant.recipe.training.epochs for variant in variants} == {0.5}


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ("{}", "recipe.yaml:2:1: matrix: a grid maps an axis to its values"),
        ("[]", "recipe.yaml:2:1: matrix: has no grid"),
        ("{seed: []}", "recipe.yaml:2:10: matrix.seed: an axis is a list of values, or"),
        ("{seed: 3}", "recipe.yaml:2:10: matrix.seed: an axis is a list of values, or"),
        ("{kind: {a: 3}}", "matrix.kind.a: a variant maps dotted paths to values; {} changes"),
        ("{seed: [1, x]}", "recipe.yaml:2:20: seed: must be a whole number, not 'x'"),
        ("{sed: [1]}", "a recipe has no 'sed'"),
        ("{kind: {a: {}, b: {}}}", "variants 'recipe-a' and 'recipe-b' are the same recipe"),
        ("{seed: [1, 1]}", "two variants are called 'recipe-seed1'"),
    ],
)
def test_bad_matrix(expanded: Expanded, matrix: str, message: str) -> None:
    with pytest.raises(RecipeInvalid) as caught:
        expanded(f"extends: base\nmatrix: {matrix}")
    assert message in str(caught.value)


def test_override_of_an_axis_is_an_error(expanded: Expanded) -> None:
    with pytest.raises(RecipeInvalid, match="does --set override an axis"):
        expanded("extends: base\nmatrix: {seed: [1, 2]}", "seed=3")


def test_variant_with_a_name_that_no_run_may_have_is_an_error(expanded: Expanded) -> None:
    long = "x" * 120
    with pytest.raises(RecipeInvalid, match="has 127 characters"):
        expanded(f"extends: base\nmatrix: {{a: {{{long}: {{seed: 1}}, b: {{seed: 2}}}}}}")
