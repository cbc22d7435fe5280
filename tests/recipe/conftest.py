"""Recipes as files, resolved against the stand-in components."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctfw.errors import RecipeInvalid
from ctfw.plugins import Plugins
from ctfw.recipe import ResolvedRecipe, resolve

BASE = """\
ctfw: 1
name: base
data: {use: toy}
backbone: {use: tiny}
stages:
  tune:
    use: finetune
    negatives: {use: heter, min_label_distance: 12}
    loss: {use: bounded-contrast, beta: 0.2}
  test:
    use: report
    start_from: tune/best
"""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Write files into a fresh working directory; `base.yaml` is there."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)

    def put(**files: str) -> None:
        for name, text in files.items():
            path = tmp_path / (name.replace("__", "/") + ".yaml")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))

    return put


@pytest.fixture
def made(write: Callable[..., None], fake_plugins: Plugins) -> Callable[..., ResolvedRecipe]:
    """Resolve `recipe.yaml`, given as text, with other files as keyword arguments."""

    def make(
        text: str, *overrides: str, profile: str | None = None, **files: str
    ) -> ResolvedRecipe:
        write(recipe=text, **files)
        return resolve("recipe.yaml", overrides, profile, fake_plugins)

    return make


@pytest.fixture
def faults(made: Callable[..., ResolvedRecipe]) -> Callable[..., list[str]]:
    """The messages of a recipe that is wrong."""

    def find(*arguments: Any, **more: Any) -> list[str]:
        with pytest.raises(RecipeInvalid) as caught:
            made(*arguments, **more)
        return str(caught.value).splitlines()

    return find
