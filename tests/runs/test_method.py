"""What makes a method: the settings in the hash of a recipe, without facts of the machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ctfw.errors import UserError
from ctfw.plugins import Plugins, load_plugins
from ctfw.recipe import dump, resolve
from ctfw.runs.compare import by_seed, differing, read_outcome
from ctfw.runs.files import write_json, write_text
from ctfw.runs.method import digest, method_of

RECIPES = Path(__file__).parents[2] / "recipes"


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins(only="none")


def write_run(root: Path, plugins: Plugins, *changes: str) -> Path:
    """A folder with the resolved recipe and the hash of a run of the shipped method."""
    recipe = resolve(RECIPES / "ours_heter.yaml", changes, None, plugins)
    run = root / f"run-{len(list(root.iterdir()))}"
    write_text(run / "resolved.yaml", dump(recipe.plain()))
    write_json(run / "status.json", {"state": "finished", "hash": recipe.hash})
    return run


@pytest.mark.parametrize("name", ["ours_heter", "origin", "ours_gauss"])
def test_digest_of_a_written_recipe_is_its_hash(name: str, plugins: Plugins) -> None:
    recipe = resolve(RECIPES / f"{name}.yaml", (), None, plugins)
    method, installed = method_of(recipe.plain(), plugins.catalog)
    assert installed
    assert digest(method) == recipe.hash


def test_facts_of_the_machine_make_no_other_method(tmp_path: Path, plugins: Plugins) -> None:
    machine = [
        "data.workers=7",
        "data.root=/elsewhere",
        "training.threads=3",
        "training.device=cuda",
        "stages.test.fail_if=[grounded_gain < 0.01]",
    ]
    runs = [
        write_run(tmp_path, plugins),
        write_run(tmp_path, plugins, "seed=1", *machine),
        write_run(tmp_path, plugins, "training.max_steps=3"),
    ]
    outcomes = [read_outcome(run, plugins.catalog) for run in runs]
    assert differing(outcomes[:2]) == ["seed"]
    assert [len(group.members) for group in by_seed(outcomes)] == [2, 1]


def test_settings_of_an_absent_plugin_all_count(plugins: Plugins) -> None:
    plain: dict[str, Any] = {"stages": {"test": {"use": "gone/report@1", "fail_if": ["x < 1"]}}}
    method, installed = method_of(plain, plugins.catalog)
    assert not installed
    assert method == plain
    older = {"stages": {"test": {"use": "ctfw/report@99", "split": "test", "fail_if": ["x < 1"]}}}
    method, installed = method_of(older, plugins.catalog)
    assert not installed
    assert method["stages"]["test"] == {"use": "ctfw/report@99", "split": "test"}


def test_edited_recipe_of_a_run_is_told_with_its_file(tmp_path: Path, plugins: Plugins) -> None:
    run = write_run(tmp_path, plugins)
    assert read_outcome(run, plugins.catalog).changed == ""
    file = run / "resolved.yaml"
    text = file.read_text()
    write_text(file, text.replace("beta: 0.1", "beta: 0.2"))
    assert text != file.read_text()
    changed = read_outcome(run, plugins.catalog).changed
    assert changed.startswith(f"{file} is not the recipe that the run was started with")


def test_half_a_recipe_is_refused_with_its_file(tmp_path: Path, plugins: Plugins) -> None:
    run = write_run(tmp_path, plugins)
    file = run / "resolved.yaml"
    text = file.read_text()
    write_text(file, text[: text.index("stages:")])
    with pytest.raises(UserError, match=r"resolved\.yaml is not whole: it has no stages"):
        read_outcome(run, plugins.catalog)
    write_text(file, text[: text.index("  test:\n")])
    write_text(run / "stages" / "test" / "predictions.jsonl", "")
    with pytest.raises(UserError, match=r"resolved\.yaml is not whole: it lacks the stage 'test'"):
        read_outcome(run, plugins.catalog)
