"""Every recipe that is shipped is valid, with every profile, and fits the schema."""

from __future__ import annotations

import re
from pathlib import Path

import jsonschema
import pytest

from ctfw.plugins import Plugins, load_plugins
from ctfw.recipe import expand, resolve
from ctfw.recipe.export import json_schema
from ctfw.recipe.find import shipped, shipped_dirs
from ctfw.recipe.load import read

FOLDER = Path(__file__).resolve().parents[2] / "recipes"
RECIPES = shipped([FOLDER])
PROFILES = shipped([FOLDER], profiles=True)


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins(only="none")


def test_recipes_are_found_from_the_package() -> None:
    assert {"ours_heter", "ours_gauss", "origin"} <= set(RECIPES)
    assert shipped(shipped_dirs()).keys() == RECIPES.keys()


@pytest.mark.parametrize("name", RECIPES)
def test_shipped_recipe_is_valid(name: str, plugins: Plugins) -> None:
    variants = expand(RECIPES[name], plugins=plugins)
    assert all(variant.recipe.stages for variant in variants)
    assert all(variant.recipe.summary for variant in variants)


@pytest.mark.parametrize("profile", PROFILES)
def test_shipped_profile_fits_the_main_recipe(profile: str, plugins: Plugins) -> None:
    anything = {"CT_RATE_ROOT": "/nowhere"}
    found = expand(
        RECIPES["ours_heter"], profile=str(PROFILES[profile]), plugins=plugins, environ=anything
    )
    assert found[0].recipe.profile == PROFILES[profile].stem


@pytest.mark.parametrize("path", [*RECIPES.values(), *PROFILES.values()], ids=lambda p: p.stem)
def test_shipped_files_fit_the_schema(path: Path, plugins: Plugins) -> None:
    jsonschema.validate(read(path)[0].plain(), json_schema(plugins.catalog))


def test_summary_of_a_profile_changes_no_recipe(tmp_path: Path, plugins: Plugins) -> None:
    text = PROFILES["profiles/phantom"].read_text(encoding="utf-8")
    bare = re.sub(r"^summary:.*\n", "", text, flags=re.MULTILINE)
    assert bare != text
    (tmp_path / "phantom.yaml").write_text(bare, encoding="utf-8")
    with_it = resolve("origin", plugins=plugins)
    without = resolve("origin", profile=str(tmp_path / "phantom.yaml"), plugins=plugins)
    assert with_it.hash == without.hash
    assert with_it.summary == without.summary == "Qwen2.5-VL fine-tuned on image and report alone"
