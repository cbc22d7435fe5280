"""A checkpoint brings its own chain from a file to the model's input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctfw.engine.bench import make_pipeline, scan_path
from ctfw.engine.context import Context
from ctfw.engine.scan import backbone_of, unpack
from ctfw.errors import BadCheckpoint, RecipeInvalid, UserError
from ctfw.plugins import Plugins, load_plugins
from ctfw.runs.files import write_json

FACTS: dict[str, Any] = {
    "ctfw": 1,
    "synthetic": True,
    "loader": None,
    "preprocess": [
        {"use": "ctfw/hu-window@1", "low": -1000, "high": 400, "divide_by": 1000},
        {"use": "ctfw/slices@1", "count": 4},
        {"use": "ctfw/preprocessed-numpy@1"},
    ],
    "backbone": {"use": "ctfw/qwen2.5-vl@1"},
    "generation": {"max_new_tokens": 8},
}


@pytest.fixture(scope="module")
def plugins() -> Plugins:
    return load_plugins()


def checkpoint(folder: Path, **changes: Any) -> Path:
    write_json(folder / "ctfw.json", {**FACTS, **changes})
    return folder


def test_scan_goes_through_the_steps_and_into_no_store(
    plugins: Plugins, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTFW_CACHE", str(tmp_path / "cache"))
    packed = unpack(checkpoint(tmp_path), plugins)
    assert packed.context.synthetic
    assert not packed.pipeline.has_store
    rng = np.random.default_rng(0)
    np.save(tmp_path / "scan.npy", rng.integers(-1024, 1500, (9, 30, 30)).astype(np.int16))
    write_json(tmp_path / "scan.json", {"spacing_mm": [1, 1, 3], "intensity": "hu"})
    volume = packed.pipeline(tmp_path / "scan.npy")
    assert volume.array.shape == (4, 30, 30)
    assert volume.array.max() <= 0.4
    assert not (tmp_path / "cache").exists()


def test_component_that_is_not_installed_is_named(plugins: Plugins, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, preprocess=[{"use": "ctfw-nice/denoise@2"}])
    with pytest.raises(RecipeInvalid) as caught:
        unpack(folder, plugins)
    assert "no preprocessor named 'ctfw-nice/denoise'" in str(caught.value)
    assert "pip install ctfw-nice" in str(caught.value)


def test_setting_of_another_version_is_named(plugins: Plugins, tmp_path: Path) -> None:
    folder = checkpoint(tmp_path, preprocess=[{"use": "ctfw/slices@1", "colour": 4}])
    with pytest.raises(RecipeInvalid, match="has no setting 'colour'"):
        unpack(folder, plugins)


def test_checkpoint_without_a_model_is_refused(plugins: Plugins, tmp_path: Path) -> None:
    packed = unpack(checkpoint(tmp_path), plugins)
    with pytest.raises(BadCheckpoint, match="has no model/ folder"):
        backbone_of(packed, plugins)


@pytest.mark.parametrize("lost", ["preprocess", "backbone", "generation"])
def test_checkpoint_that_lacks_a_fact_is_refused(
    lost: str, plugins: Plugins, tmp_path: Path
) -> None:
    write_json(tmp_path / "ctfw.json", {k: v for k, v in FACTS.items() if k != lost})
    with pytest.raises(BadCheckpoint, match=rf"ctfw.json has no {lost}: it was not written"):
        unpack(tmp_path, plugins)


def test_every_installed_loader_is_tried(plugins: Plugins) -> None:
    pipeline = make_pipeline(plugins.catalog, None, [], Context())
    with pytest.raises(UserError, match=r"no such file"):
        pipeline(Path("absent.nii.gz"))


def test_missing_scan_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"absent.nii: no such file or folder"):
        scan_path(str(tmp_path / "absent.nii"))
    assert scan_path(str(tmp_path)) == tmp_path
