"""Plain arrays are read with a geometry, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ctfw.errors import UnreadableVolume
from ctfw_plugins.volumes.configs import NpyConfig
from ctfw_plugins.volumes.npy import NpyLoader

ARRAY = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
READER = NpyLoader(NpyConfig())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "scan.npy", ARRAY)
    return tmp_path / "scan.npy"


def sidecar(path: Path, **content: object) -> None:
    path.with_suffix(".json").write_text(json.dumps(content))


def test_array_without_spacing_is_refused_with_the_remedy(path: Path) -> None:
    with pytest.raises(UnreadableVolume, match=r"put scan.json with .*spacing_mm"):
        READER.load(path)


def test_spacing_from_the_settings(path: Path) -> None:
    volume = NpyLoader(NpyConfig(spacing_mm=(0.7, 0.8, 1.5))).load(path)
    assert volume.spacing_mm == pytest.approx((1.5, 0.8, 0.7))
    np.testing.assert_array_equal(volume.array, ARRAY)


@pytest.mark.parametrize("spacing", [[0.7, 0.8, 1.5], {"x": 0.7, "y": 0.8, "z": 1.5}])
def test_spacing_from_the_sidecar(path: Path, spacing: object) -> None:
    sidecar(path, spacing_mm=spacing)
    volume = READER.load(path)
    assert volume.spacing_mm == pytest.approx((1.5, 0.8, 0.7))
    assert volume.orientation == "LPS"


def test_axes_of_the_papers_store(path: Path) -> None:
    sidecar(path, axes="zxy", spacing_mm=[1, 1, 1], positions_mm=[0, 7])
    volume = READER.load(path)
    np.testing.assert_array_equal(volume.array, ARRAY.swapaxes(1, 2))
    assert volume.slice_positions_mm.tolist() == [0, 7]
    forced = NpyLoader(NpyConfig(axes="zyx")).load(path)
    np.testing.assert_array_equal(forced.array, ARRAY)


def test_affine_of_the_sidecar_is_kept_exactly(path: Path) -> None:
    affine = np.diag([-0.7, 0.8, 1.1, 1.0]).tolist()
    sidecar(path, affine=affine)
    assert READER.load(path).affine.tolist() == affine


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"spacing_mm": [1, 2]}', "geometry cannot be read"),
        ('{"spacing_mm": "wide"}', "geometry cannot be read"),
        ('{"affine": [[1]]}', "geometry cannot be read"),
        ('{"axes": "xyz"}', "axes are 'xyz'"),
        ("[1]", "not a JSON object"),
        ("{", "not readable JSON"),
        ('{"spacing_mm": [1, 1, 1], "positions_mm": [0]}', "1 positions for 2 slices"),
    ],
)
def test_bad_sidecar_is_named(path: Path, content: str, words: str) -> None:
    path.with_suffix(".json").write_text(content)
    with pytest.raises(UnreadableVolume, match=words):
        READER.load(path)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableVolume, match="not a plain NumPy array") as caught:
        READER.load(tmp_path / "scan.npy")
    assert "unsafe" not in str(caught.value)
    assert "allow_pickle" not in str(caught.value)


def test_wrong_rank_and_nan_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.ones((3, 3)))
    with pytest.raises(UnreadableVolume, match="three axes"):
        READER.load(tmp_path / "flat.npy")
    np.save(tmp_path / "nan.npy", np.full((2, 2, 2), np.nan))
    with pytest.raises(UnreadableVolume, match="8 of 8 voxels"):
        READER.load(tmp_path / "nan.npy")
