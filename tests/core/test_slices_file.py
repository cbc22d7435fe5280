"""What a model sees, as a file in HU."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ctfw.errors import CannotWrite
from ctfw.types import HU, NORMALISED, Volume
from ctfw.volumes.slices_file import hu_scale, write_slices

VALUES = np.random.default_rng(0).uniform(-1, 1, (3, 4, 5)).astype(np.float32)


def read(file: Path) -> dict[str, np.ndarray]:
    with np.load(file, allow_pickle=False) as held:
        return {name: held[name] for name in held.files}


@pytest.mark.parametrize("divide_by", [400.0, 1000.0])
def test_normalised_values_come_back_as_hu(tmp_path: Path, divide_by: float) -> None:
    volume = Volume(VALUES, np.diag([-1.0, -1.0, 2.5, 1.0]), NORMALISED)
    volume = volume.noting("hu-window", "for the test", divide_by=divide_by).noting("fit", "later")
    assert hu_scale(volume) == divide_by
    held = read(write_slices(volume, tmp_path / "deep" / "scan.npz"))
    np.testing.assert_allclose(held["hu"], VALUES * divide_by, rtol=1e-6)
    assert held["positions_mm"].tolist() == [0.0, 2.5, 5.0]


def test_hu_and_uneven_positions_stay_what_they_are(tmp_path: Path) -> None:
    hu = np.rint(VALUES * 1000)
    volume = Volume(hu, np.eye(4), HU, positions_mm=np.array([0.0, 3.0, 12.0]))
    held = read(write_slices(volume, tmp_path / "scan.npz"))
    assert np.array_equal(held["hu"], hu)
    assert held["positions_mm"].tolist() == [0.0, 3.0, 12.0]


def test_place_that_cannot_be_written_is_told_and_left_clean(tmp_path: Path) -> None:
    (tmp_path / "scan.npz").mkdir()
    with pytest.raises(CannotWrite, match=r"cannot write .*scan\.npz"):
        write_slices(Volume(VALUES, np.eye(4), HU), tmp_path / "scan.npz")
    assert [file.name for file in tmp_path.iterdir()] == ["scan.npz"]
