"""Landings: what is found equals what was passed on, and half of one is never found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ctfw.contracts import VolumeStore
from ctfw.errors import CannotWrite, UserError
from ctfw.types import Volume
from ctfw_plugins.preprocess import landing
from ctfw_plugins.preprocess.configs import (
    HuWindowConfig,
    PreprocessedBlosc2Config,
    PreprocessedConfig,
    PreprocessedNumpyConfig,
    SlicesConfig,
)
from ctfw_plugins.preprocess.hu_window import HuWindow
from ctfw_plugins.preprocess.preprocessed import Preprocessed
from ctfw_plugins.preprocess.preprocessed_blosc2 import PreprocessedBlosc2
from ctfw_plugins.preprocess.preprocessed_numpy import PreprocessedNumpy
from ctfw_plugins.preprocess.slices import Slices
from ctfw_plugins.volumes.configs import NiftiConfig, NpyConfig
from ctfw_plugins.volumes.nifti import NiftiLoader
from ctfw_plugins.volumes.npy import NpyLoader


def stores(folder: Path) -> list[Any]:
    return [
        Preprocessed(PreprocessedConfig(folder=folder / "a")),
        Preprocessed(PreprocessedConfig(folder=folder / "b", compress=False, dtype="int16")),
        PreprocessedNumpy(PreprocessedNumpyConfig(folder=folder / "c")),
        PreprocessedNumpy(PreprocessedNumpyConfig(folder=folder / "d", dtype="float32")),
        PreprocessedBlosc2(PreprocessedBlosc2Config(folder=folder / "e")),
        PreprocessedBlosc2(PreprocessedBlosc2Config(folder=folder / "f", dtype="int16")),
    ]


@pytest.fixture(params=range(6))
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    return stores(tmp_path)[request.param]


def fractions(volume: Volume) -> Volume:
    """HU as they are after resampling: not whole."""
    return volume.but(array=volume.array.astype(np.float32) + np.float32(0.3))


def test_found_equals_passed_on(store: Any, chest: Volume) -> None:
    volume = Slices(SlicesConfig(count=7))(fractions(chest))
    passed = store(volume)
    assert isinstance(store, VolumeStore)
    assert store.find("k") is None
    assert not store.has("k")
    store.keep("k", passed)
    found = store.find("k")
    assert store.has("k")
    assert found.array.dtype == passed.array.dtype
    for name in ("array", "affine", "positions_mm"):
        np.testing.assert_array_equal(getattr(found, name), getattr(passed, name))
    assert (found.intensity, found.provenance) == (passed.intensity, passed.provenance)


@pytest.mark.parametrize("harm", ["cut", "flip", "no sidecar", "bad sidecar", "no array"])
def test_damaged_entry_is_not_found(store: Any, chest: Volume, harm: str) -> None:
    store.keep("k", store(chest))
    data = next(f for f in store.folder.iterdir() if f.suffix != ".json")
    side = store.folder / "k.json"
    if harm == "cut":
        data.write_bytes(data.read_bytes()[:-100])
    elif harm == "flip":
        content = bytearray(data.read_bytes())
        content[len(content) // 2] ^= 4
        data.write_bytes(content)
    elif harm == "bad sidecar":
        side.write_text("{")
    else:
        (side if harm == "no sidecar" else data).unlink()
    assert store.find("k") is None
    store.keep("k", store(chest))
    assert store.find("k") is not None


def test_write_that_breaks_off_leaves_nothing(
    store: Any, chest: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(landing, "commit", broken)
    with pytest.raises(OSError, match="disk full"):
        store.keep("k", store(chest))
    assert store.find("k") is None
    monkeypatch.setattr(landing.os, "replace", broken)
    with pytest.raises(CannotWrite, match=r"cannot write .*disk full"):
        store.keep("other", store(chest))
    assert not [f for f in store.folder.iterdir() if f.name.endswith(".tmp")]


def test_nifti_landing_opens_in_other_tools(tmp_path: Path, chest: Volume) -> None:
    store = Preprocessed(PreprocessedConfig(folder=tmp_path))
    store.keep("k", store(fractions(chest)))
    image = nib.load(tmp_path / "k.nii.gz")
    np.testing.assert_array_equal(image.get_fdata().T, fractions(chest).array)
    np.testing.assert_allclose(image.affine, chest.affine, atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"
    read = NiftiLoader(NiftiConfig()).load(tmp_path / "k.nii.gz")
    np.testing.assert_array_equal(read.array, fractions(chest).array)


def test_numpy_landing_has_axes_zxy_and_is_read_by_the_loader(
    tmp_path: Path, chest: Volume
) -> None:
    store = PreprocessedNumpy(PreprocessedNumpyConfig(folder=tmp_path))
    volume = store(HuWindow(HuWindowConfig())(chest))
    store.keep("k", volume)
    stored = np.load(tmp_path / "k.npy")
    assert (stored.shape, stored.dtype) == ((30, 64, 60), np.float16)
    side = json.loads((tmp_path / "k.json").read_text())
    assert side["axes"] == "zxy"
    assert side["spacing_mm"] == {"x": 5.0, "y": 5.0, "z": 8.0}
    read = NpyLoader(NpyConfig()).load(tmp_path / "k.npy")
    np.testing.assert_array_equal(read.array, volume.array)
    assert read.intensity == "normalised"
    np.testing.assert_array_equal(read.affine, chest.affine)


def test_float16_landing_errs_less_than_half_a_hu_in_the_window(chest: Volume) -> None:
    store = PreprocessedNumpy(PreprocessedNumpyConfig())
    windowed = HuWindow(HuWindowConfig())(chest)
    assert np.abs(store(windowed).array - windowed.array).max() * 1000 < 0.25


def test_whole_hu_cannot_hold_windowed_values(tmp_path: Path, chest: Volume) -> None:
    store = Preprocessed(PreprocessedConfig(folder=tmp_path, dtype="int16"))
    with pytest.raises(UserError, match="before hu-window"):
        store(HuWindow(HuWindowConfig())(chest))


def test_default_folder_is_in_the_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CTFW_CACHE", str(tmp_path))
    assert Preprocessed(PreprocessedConfig()).folder == tmp_path / "preprocessed"
    folder = PreprocessedNumpy(PreprocessedNumpyConfig()).folder
    assert folder == tmp_path / "preprocessed_numpy"
