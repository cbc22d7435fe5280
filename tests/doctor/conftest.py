"""Scenes for the checks: a recipe, made-up cases, and files where a check reads them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest

from ctfw.doctor.finding import Finding
from ctfw.doctor.scene import Scene
from ctfw.engine.bench import make_pipeline
from ctfw.engine.context import Context
from ctfw.plugins import Plugins, load_plugins
from ctfw.recipe import resolve
from ctfw.types import Case, CaseTable

RECIPE = """\
ctfw: 1
name: made-up
profile: phantom
stages:
  tune: {use: finetune, loss: {use: cross-entropy}, start_from: null}
  test: {use: report, start_from: tune/best}
"""
MakeScene = Callable[..., Scene]
Checks = Callable[[Scene], Iterable[Finding]]


@pytest.fixture(scope="session")
def plugins() -> Plugins:
    return load_plugins(only="none")


class Found(list[Finding]):
    """Findings, and questions to them."""

    @property
    def bad(self) -> list[Finding]:
        """The problems and the warnings."""
        return [each for each in self if each.level in ("problem", "warning")]

    def the(self, words: str) -> Finding:
        """The one finding whose text has these words."""
        found = [each for each in self if words in each.text]
        assert len(found) == 1, f"{len(found)} findings say {words!r}: {[f.text for f in self]}"
        return found[0]


@pytest.fixture
def look() -> Callable[[Checks, Scene], Found]:
    """What a check finds in a scene."""
    return lambda check, scene: Found(check(scene))


@pytest.fixture
def make_case() -> Callable[..., Case]:
    """A case of a patient of its own, with a report that no other case has."""

    def make(name: str, split: str = "train", **more: Any) -> Case:
        facts: dict[str, Any] = {
            "patient": f"patient of {name}",
            "image": Path(f"{name}.nii.gz"),
            "report": f"The lungs of study {name} are clear and the heart is not enlarged.",
        }
        return Case(id=name, split=split, **(facts | more))

    return make


@pytest.fixture
def make_scene(plugins: Plugins, tmp_path: Path) -> MakeScene:
    """A scene of these cases, under a recipe with these overrides."""

    def make(
        cases: Sequence[Case] = (),
        *overrides: str,
        labels: tuple[str, ...] = (),
        left_out: Mapping[str, Sequence[str]] | None = None,
        recipe: str = RECIPE,
        steps: bool = False,
        **more: Any,
    ) -> Scene:
        file = tmp_path / "made_up.yaml"
        file.write_text(recipe)
        resolved = resolve(str(file), overrides, None, plugins)
        context = Context(seed=resolved.seed)
        tables = {
            split: CaseTable(tuple(case for case in cases if case.split == split), labels)
            for split in dict.fromkeys(case.split for case in cases)
        }
        dataset: Any = SimpleNamespace(label_names=labels, left_out=left_out)
        settings: Any = resolved.data.settings
        chain = list(settings.preprocess) if steps else []
        pipeline = make_pipeline(plugins.catalog, None, chain, context)
        facts = {"dataset": dataset, "pipeline": pipeline, "tables": tables} | more
        return Scene(resolved, plugins, context, runs=tmp_path / "runs", **facts)

    return make


@pytest.fixture
def write_scan(tmp_path: Path) -> Callable[..., Path]:
    """A NIfTI file of (z, y, x) voxels that all have one value; spacing along (z, y, x)."""

    def write(
        name: str,
        shape: tuple[int, int, int] = (60, 64, 64),
        spacing_mm: tuple[float, float, float] = (5.0, 5.0, 5.0),
        value: int = 0,
    ) -> Path:
        z, y, x = spacing_mm
        path = tmp_path / "scans" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        array = np.full(shape[::-1], value, np.int16)
        nibabel.save(nibabel.Nifti1Image(array, np.diag([-x, -y, z, 1.0])), path)
        return path

    return write
