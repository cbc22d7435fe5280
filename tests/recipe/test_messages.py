"""The text of every fault of a recipe: what, where, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctfw.plugins import Plugins
from ctfw.recipe import ResolvedRecipe, expand

Faults = Callable[..., list[str]]

BAD = """\
ctfw: 1
name: bad
data: {use: toy, root: "${env:CTFW_NOWHERE}", cases: 0}
backbone: {use: tiny, dtype: bfloat61, shape: {layer: 3}}
metrics: [{use: bleu, n: 9}, {use: covrage}]
stages:
  tune:
    use: finetune
    negatives: {use: hetr}
    loss:
      use: bounded-contrast
      beta: -1
      max_loss: 2
      bound: soft
  test:
    use: report
    start_from: tun/best
    split: tests
"""

MESSAGES = Path(__file__).with_name("messages.txt").read_text(encoding="utf-8")


def test_all_faults_of_all_layers_are_told_together_in_order(faults: Faults) -> None:
    found = faults(BAD, "stages.tset.split=x", "sed=1")
    assert found == MESSAGES.splitlines()


HEAD = "ctfw: 1\ndata: {use: toy}\nbackbone: {use: tiny}\n"
TUNE = "  tune: {use: finetune, loss: {use: cross-entropy}}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x", "recipe.yaml:1:1: 'ctfw' is required: write `ctfw: 1` at the top"),
        ("ctfw: 2", "recipe.yaml:1:7: ctfw: this ctfw reads recipes of format 1, not 2"),
        ("ctfw: 1", "recipe.yaml:1:1: the recipe has no `data`: {use: NAME} (profiles have one)"),
        (HEAD, "recipe.yaml:1:1: stages: a recipe has a mapping of stages"),
        (HEAD + "stages: {}", "recipe.yaml:4:1: stages: a recipe has at least one stage"),
        (HEAD + "seed: -1", "recipe.yaml:4:7: seed: must be at least 0, not -1"),
        (HEAD + "seed: high", "recipe.yaml:4:7: seed: must be a whole number, not 'high'"),
        (HEAD + "name: Bad Name", "recipe.yaml:4:7: name: must match"),
        (HEAD + "profile: gone", "recipe.yaml:4:10: no profile 'gone'"),
        (HEAD + "extends: gone.yaml", "recipe.yaml:4:10: extends: no recipe 'gone.yaml'"),
        (HEAD + "extends: recipe.yaml", "recipe.yaml:4:10: extends: goes in a circle"),
        (HEAD + "extends: [a]", "recipe.yaml:4:10: extends: must be the path or the name"),
        (HEAD + "training: 3", "recipe.yaml:4:1: training: must be a mapping of settings"),
        (HEAD + "metrics: {use: bleu}", "recipe.yaml:4:1: metrics: must be a list"),
        (HEAD + "stages:\n  a: {loss: 1}", "recipe.yaml:5:3: stages.a: needs `use`: the name of"),
        (HEAD + "stages:\n  a: 3", "recipe.yaml:5:3: stages.a: must be a stage: {use: NAME}"),
        (HEAD + "stages:\n  A b: {use: report}", "stages: 'A b': a stage's name is lower case"),
        (
            HEAD + "stages:\n  t: {use: finetune, loss: cross-entropy}",
            "recipe.yaml:5:22: stages.t.loss: must be a loss: {use: NAME} "
            "(write {use: cross-entropy})",
        ),
        (
            HEAD + "stages:\n  t: {use: finetune}",
            "recipe.yaml:5:3: stages.t: 'loss' is required",
        ),
        (
            HEAD + "stages:\n" + TUNE + "  r: {use: report, start_from: r}",
            "recipe.yaml:6:32: stages.r.start_from: needs checkpoint, and stage 'r' (report) gives "
            "predictions (these give checkpoint: tune)",
        ),
        (
            HEAD + "stages:\n  a: {use: finetune, loss: {use: cross-entropy}, start_from: b}\n"
            "  b: {use: finetune, loss: {use: cross-entropy}, start_from: a/last}",
            "recipe.yaml:5:62: stages refer to each other in a circle: a -> b -> a",
        ),
        (
            HEAD + "training: {device: '${HOME}'}",
            "recipe.yaml:4:20: training.device: '${HOME}': only ${env:NAME} is replaced",
        ),
        (
            HEAD + "data2: 1",
            "recipe.yaml:4:1: a recipe has no 'data2'; it takes ctfw, name",
        ),
    ],
)
def test_message(faults: Faults, text: str, message: str) -> None:
    found = faults(text)
    assert any(message in line for line in found), found


def test_inherited_fault_is_told_once(faults: Faults) -> None:
    text = HEAD + "training: {epochs: 0}\nstages:\n" + TUNE + TUNE.replace("tune:", "again:")
    assert faults(text) == ["recipe.yaml:4:20: training.epochs: must be greater than 0, not 0"]


def test_fault_of_a_parent_stands_in_the_parent(faults: Faults) -> None:
    parent = HEAD + "stages:\n" + TUNE.replace("cross-entropy", "cross-entrpy")
    found = faults("extends: parent\n", parent=parent)
    assert found == [
        "parent.yaml:5:37: no loss named 'cross-entrpy'. Did you mean 'cross-entropy'? "
        "Available: bounded-contrast, cross-entropy, dpo."
    ]


def test_faults_of_several_variants_are_told_once(
    write: Callable[..., None], fake_plugins: Plugins
) -> None:
    write(
        recipe="""\
        extends: base
        training: {epochs: 0}
        matrix:
          stages.tune.loss.bta: [1, 2]
          kind:
            gauss: {stages.tune.negatives: {use: gaus}}
        """
    )
    with pytest.raises(Exception, match="epochs") as caught:
        expand("recipe.yaml", plugins=fake_plugins)
    problems: list[Any] = caught.value.problems  # type: ignore[attr-defined]
    assert [str(problem.mark) for problem in problems] == [
        "recipe.yaml:2:20",
        "recipe.yaml:4:26",
        "recipe.yaml:4:29",
        "recipe.yaml:6:42",
    ]


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("seed=99999999999999999999999", "seed: must be at most 2147483647"),
        ("seed=2147483648", "seed: must be at most 2147483647"),
        ("seed=-1", "seed: must be at least 0"),
        (f"name={'a' * 101}", "name: must have at most 100 characters"),
        ("name=a/b", "name: must match"),
        ("name=../b", "name: must match"),
    ],
)
def test_seed_and_name_stay_within_what_a_run_can_use(
    faults: Faults, setting: str, message: str
) -> None:
    (fault,) = faults("extends: base.yaml", setting)
    assert message in fault


def test_largest_seed_and_longest_name_are_taken(made: Callable[..., ResolvedRecipe]) -> None:
    recipe = made("extends: base.yaml", "seed=2147483647", f"name={'a' * 100}")
    assert (recipe.seed, len(recipe.name)) == (2147483647, 100)
