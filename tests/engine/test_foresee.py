"""A condition on a number that nobody gives is found when a recipe is checked."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ctfw.engine.launch import checked, lacking
from ctfw.errors import RecipeInvalid
from ctfw.plugins import load_plugins
from ctfw.recipe import resolve

HEAVY = {"torch", "transformers", "nibabel", "evaluate", "deepspeed", "accelerate"}


def options(
    condition: str, metrics: str = "[{use: bleu}, {use: rouge-l}, {use: accuracy}]"
) -> list[str]:
    return [f"stages.test.fail_if=[{condition}]", f"metrics={metrics}"]


@pytest.mark.parametrize(
    ("condition", "hint"),
    [("grounded_gan < 0.1", "grounded_gain"), ("macro_f2 < 0.1", "macro_f1")],
)
def test_misspelt_number_is_found_when_the_recipe_is_checked(condition: str, hint: str) -> None:
    plugins = load_plugins(only="none")
    with pytest.raises(RecipeInvalid) as caught:
        checked("ours_heter", options(condition), None, plugins)
    (problem,) = caught.value.problems
    assert problem.message.startswith(f"stages.test.fail_if: there is no number '{condition[:-6]}'")
    assert f"did you mean '{hint}'?" in problem.message
    assert problem.mark is not None


@pytest.mark.parametrize("condition", ["grounded_gain < 0.1", "bleu-4 < 0.1", "macro_f1.low < 0"])
def test_number_that_there_will_be_is_let_through(condition: str) -> None:
    plugins = load_plugins(only="none")
    recipe = resolve("ours_heter", options(condition), None, plugins)
    assert not [p for p in lacking(recipe) if "fail_if" in p.message]


def test_metric_that_needs_heavy_packages_is_not_asked() -> None:
    plugins = load_plugins(only="none")
    metrics = "[{use: bleu}, {use: hf-evaluate, path: /nowhere/metric}]"
    recipe = resolve("ours_heter", options("anything < 0.1", metrics), None, plugins)
    assert not [p for p in lacking(recipe) if "fail_if" in p.message]


def test_asking_loads_nothing_heavy() -> None:
    code = (
        "import sys; from ctfw.cli import main; code = main(sys.argv[1:]);"
        "print('#', *{name.partition('.')[0] for name in sys.modules}); sys.exit(code)"
    )
    wrong = ("--set", "stages.test.fail_if=[grounded_gan < 0.1]")
    done = subprocess.run(
        [sys.executable, "-c", code, "validate", "ours_heter", *wrong],
        capture_output=True, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.returncode == 2
    assert "there is no number 'grounded_gan'" in done.stderr
    loaded = set(done.stdout.rpartition("#")[2].split())
    assert "numpy" in loaded
    assert not loaded & HEAVY
