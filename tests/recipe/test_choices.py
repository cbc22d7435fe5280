"""A setting that holds one of several models: faults stand where they are, in its own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from ctfw.errors import RecipeInvalid
from ctfw.plugins import load_plugins
from ctfw.recipe import resolve

HEAD = "ctfw: 1\nname: judged\nprofile: phantom\nmetrics:\n  - use: green\n    generator: "
SERVED = "use: openai, base_url: http://localhost/v1"


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        (f"{{{SERVED}}}", "recipe.yaml:6:5: metrics.0.generator: 'model' is required"),
        (
            f"{{{SERVED}, model: m, worker: 3}}",
            "recipe.yaml:6:71: metrics.0.generator: 'generator' has no setting 'worker'; it takes "
            "base_url, model, ",
        ),
        (
            f"{{{SERVED}, model: m, workers: 0}}",
            "recipe.yaml:6:80: metrics.0.generator.workers: must be at least 1, not 0",
        ),
        (
            "{use: transformers, weights: judge, model: m}",
            "recipe.yaml:6:52: metrics.0.generator: 'generator' has no setting 'model'; it takes "
            "use, weights, ",
        ),
        (
            "{use: opneai}",
            "recipe.yaml:6:16: metrics.0.generator: needs `use`: one of 'transformers', 'openai'",
        ),
        ("{weights: judge}", "recipe.yaml:6:16: metrics.0.generator: needs `use`, which says of"),
        ("judge", "recipe.yaml:6:16: metrics.0.generator: must be a mapping of settings"),
    ],
)
def test_fault_in_a_choice_is_told_at_its_place(
    generator: str, message: str, tmp_path: Path
) -> None:
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"{HEAD}{generator}\nstages:\n  test: {{use: report, start_from: here}}\n")
    with pytest.raises(RecipeInvalid) as caught:
        resolve(recipe, plugins=load_plugins(only="none"))
    assert message in str(caught.value)


def test_a_choice_is_resolved_with_its_own_defaults(tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.yaml"
    (tmp_path / "here").mkdir()
    recipe.write_text(
        f"{HEAD}{{{SERVED}, model: m}}\nstages:\n  test: {{use: report, start_from: ./here}}\n"
    )
    found = resolve(recipe, plugins=load_plugins(only="none"))
    plain = found.plain()["metrics"][0]["generator"]
    assert plain["use"] == "openai"
    assert plain["workers"] == 8
    assert "batch_size" not in plain
