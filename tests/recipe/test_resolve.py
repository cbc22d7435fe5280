"""From layers of files to one recipe."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctfw.config import Strict
from ctfw.plugins import Plugins
from ctfw.recipe import ResolvedRecipe, dump, preflight, resolve

Made = Callable[..., ResolvedRecipe]

PROFILE = """\
ctfw: 1
synthetic: true
data: {use: toy, cases: 3}
backbone: {use: tiny, width: 8}
labeler: {use: words}
training: {epochs: 2, learning_rate: 1e-3}
generation: {max_new_tokens: 7}
metrics: [{use: bleu}, {use: coverage}]
stages:
  see: {use: finetune, loss: {use: cross-entropy}, start_from: before}
  before: {use: finetune, loss: {use: cross-entropy}}
  idle: {use: no-such-stage}
  tune: {start_from: see/best, training: {max_steps: 9}}
  other: {training: {epochs: 7}}
"""
METHOD = """\
ctfw: 1
profile: small
stages:
  test: {use: report, start_from: tune/best}
  tune: {use: finetune, loss: {use: bounded-contrast, beta: 0.3}}
"""


def settings(recipe: ResolvedRecipe, stage: str) -> Any:
    return recipe.stages[stage].block.settings


def test_layers_lie_over_each_other_in_order(made: Made) -> None:
    recipe = made(
        "extends: parent\ntraining: {clip_norm: 5}\nseed: 4",
        "training.epochs=9",
        "seed=5",
        parent=METHOD + "training: {clip_norm: 4, weight_decay: 0.4}\nseed: 3",
        profiles__small=PROFILE + "seed: 2",
    )
    training = recipe.training
    found = (training.learning_rate, training.weight_decay, training.clip_norm, training.epochs)
    assert found == (1e-3, 0.4, 5, 9)
    assert (recipe.seed, recipe.synthetic, recipe.profile) == (5, True, "small")
    assert [source.role for source in recipe.sources] == ["profile", "parent", "recipe"]
    assert recipe.source.startswith("extends: parent")


def test_profile_keeps_only_stages_that_are_used(made: Made) -> None:
    recipe = made(METHOD, profiles__small=PROFILE)
    assert list(recipe.stages) == ["before", "see", "tune", "test"]
    assert settings(recipe, "tune").start_from == "see/best"


def test_profile_adjusts_a_stage_and_the_recipe_decides(made: Made) -> None:
    text = METHOD.replace("beta: 0.3}", "beta: 0.3}, start_from: null")
    recipe = made(text, profiles__small=PROFILE)
    assert list(recipe.stages) == ["tune", "test"]
    assert settings(recipe, "tune").training.max_steps == 9


def test_other_profile_replaces_the_recipe_s_own(made: Made) -> None:
    recipe = made(
        METHOD,
        profile="large",
        profiles__small=PROFILE,
        profiles__large="extends: small\nbackbone: {use: big, checkpoint: x}\nsynthetic: false",
    )
    assert (recipe.profile, recipe.synthetic) == ("large", False)
    assert recipe.backbone.plain() == {"use": "ctfw/big@1", "checkpoint": "x"}
    assert recipe.data.plain()["cases"] == 3


def test_profile_may_be_a_path(made: Made) -> None:
    recipe = made(METHOD, profile="elsewhere/mine.yaml", elsewhere__mine=PROFILE)
    assert recipe.profile == "mine"


def test_profile_has_no_matrix_and_no_profile(faults: Callable[..., list[str]]) -> None:
    found = faults(METHOD, profiles__small=PROFILE + "matrix: {seed: [1]}\nprofile: x\n")
    assert found == [
        "profiles/small.yaml:15:1: a profile has no 'matrix'",
        "profiles/small.yaml:16:1: a profile has no 'profile'",
    ]


def test_shared_blocks_are_the_base_of_a_stage_s_own(made: Made) -> None:
    text = METHOD.replace(
        "start_from: tune/best}", "start_from: tune/best, generation: {temperature: 0.5}}"
    )
    recipe = made(text, profiles__small=PROFILE)
    test = settings(recipe, "test")
    assert (test.generation.max_new_tokens, test.generation.temperature) == (7, 0.5)
    assert [metric.name for metric in test.metrics] == ["bleu", "coverage"]
    assert test.labeler.name == "words"
    tune = settings(recipe, "tune").training
    assert (tune.epochs, tune.max_steps) == (2, 9)
    assert recipe.training.max_steps is None


def test_a_stage_s_own_list_and_null_replace_the_shared_ones(made: Made) -> None:
    text = METHOD.replace("tune/best}", "tune/best, metrics: [{use: bleu, n: 1}], labeler: null}")
    test = settings(made(text, profiles__small=PROFILE), "test")
    assert [metric.plain() for metric in test.metrics] == [{"use": "ctfw/bleu@1", "n": 1}]
    assert test.labeler is None


def test_name_is_not_inherited(made: Made) -> None:
    assert made("extends: base").name == "recipe"
    assert made("extends: base\nname: mine").name == "mine"
    assert made("extends: base", "name=yours").name == "yours"


def test_changed_use_in_a_child_drops_the_parent_s_settings(made: Made) -> None:
    recipe = made("extends: base\nstages: {tune: {negatives: {use: gauss}}}")
    assert settings(recipe, "tune").negatives.plain() == {"use": "ctfw/gauss@1", "strength": 1.0}
    assert settings(recipe, "tune").loss.settings.beta == 0.2


def test_order_follows_references_and_then_writing(made: Made) -> None:
    recipe = made(
        """\
        extends: base
        stages:
          pairs: {use: preference-pairs, start_from: tune/best, scorer: {use: bleu}}
          align:
            use: dpo
            start_from: tune/best
            pairs: pairs
            loss: {use: dpo, reference: tune/last}
          test: {start_from: align/best}
        """
    )
    assert list(recipe.stages) == ["tune", "pairs", "align", "test"]
    needs = recipe.stages["align"].needs
    assert {name: (ref.stage, ref.what, ref.product) for name, ref in needs.items()} == {
        "start_from": ("tune", "best", "checkpoint"),
        "pairs": ("pairs", "", "predictions"),
        "loss.reference": ("tune", "last", "checkpoint"),
    }


def test_reference_may_be_a_folder(made: Made, tmp_path: Path) -> None:
    (tmp_path / "old" / "tune").mkdir(parents=True)
    there = made("extends: base", "stages.test.start_from=old/tune")
    gone = made("extends: base", "stages.test.start_from=./gone")
    assert there.stages["test"].needs["start_from"].path == Path("old/tune")
    assert preflight(there) == []
    assert [str(problem) for problem in preflight(gone)] == [
        "--set stages.test.start_from=./gone: stages.test.start_from: there is no folder gone"
    ]


def test_stage_of_that_name_wins_over_a_folder(made: Made, tmp_path: Path) -> None:
    (tmp_path / "tune" / "best").mkdir(parents=True)
    assert made("extends: base").stages["test"].needs["start_from"].stage == "tune"


def test_environment_is_read_where_it_stands(
    made: Made, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TOY_ROOT", str(tmp_path))
    recipe = made("extends: base\ndata: {root: '${env:TOY_ROOT}/gone'}")
    assert recipe.data.plain()["root"] == f"{tmp_path}/gone"
    problem = str(preflight(recipe)[0])
    assert problem == f"recipe.yaml:2:14: data.root: there is no folder {tmp_path}/gone"


def test_overridden_variable_need_not_be_set(made: Made, tmp_path: Path) -> None:
    recipe = made("extends: base\ndata: {root: '${env:CTFW_NOWHERE}'}", f"data.root={tmp_path}")
    assert preflight(recipe) == []


def test_missing_package_is_a_matter_of_preflight(made: Made) -> None:
    recipe = made("extends: base\ndata: {loader: {use: dicom}}")
    assert [str(problem) for problem in preflight(recipe)] == [
        "recipe.yaml:2:22: data.loader: 'dicom' needs 'not-a-package>=2', which is not "
        "installed; run: pip install 'not-a-package>=2'"
    ]


def test_resolved_text_is_itself_a_recipe(made: Made, fake_plugins: Plugins) -> None:
    first = made(METHOD, "seed=7", profiles__small=PROFILE)
    Path("resolved.yaml").write_text(dump(first.plain()))
    second = resolve("resolved.yaml", plugins=fake_plugins)
    assert second.plain() == first.plain()
    assert second.hash == first.hash
    assert second.profile == ""


def test_hash_is_of_the_method_and_not_of_the_machine(made: Made, tmp_path: Path) -> None:
    base = made("extends: base").hash
    assert made("extends: base\nname: x\nsummary: y").hash == base
    assert made("extends: base", "training.device=cuda", f"data.root={tmp_path}").hash == base
    assert made("extends: base", "stages.tune.training.threads=4").hash == base
    for change in ("seed=1", "training.epochs=3", "stages.tune.loss.beta=0.3", "synthetic=true"):
        assert made("extends: base", change).hash != base


def test_lock_names_versions_without_importing(made: Made) -> None:
    lock = made("extends: base").lock()
    assert lock["packages"]["pydantic"] == __import__("pydantic").VERSION
    assert lock["plugins"] == {}
    assert lock["recipe"] == made("extends: base").hash


def test_sweep_says_so(made: Made) -> None:
    assert made("extends: base\nmatrix: {seed: [1, 2]}").is_sweep
    assert not made("extends: base\nmatrix: null").is_sweep


def test_settings_are_frozen_values(made: Made) -> None:
    recipe = made("extends: base")
    with pytest.raises(Exception, match="frozen"):
        recipe.training.epochs = 3
    assert isinstance(recipe.training, Strict)
