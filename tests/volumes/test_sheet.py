"""The contact sheet shows every slice at its true height, and refused files too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ctfw.types import Volume
from ctfw.volumes.sheet import contact_sheet, slice_heights
from ctfw_plugins.preprocess.configs import (
    FitConfig,
    HuWindowConfig,
    ResampleConfig,
    RescaleHuConfig,
    SlicesConfig,
)
from ctfw_plugins.preprocess.fit import Fit
from ctfw_plugins.preprocess.hu_window import HuWindow
from ctfw_plugins.preprocess.resample import Resample
from ctfw_plugins.preprocess.rescale_hu import RescaleHu
from ctfw_plugins.preprocess.slices import Slices


def preprocessed(volume: Volume) -> Volume:
    for step in (
        RescaleHu(RescaleHuConfig()),
        Resample(ResampleConfig(spacing_mm=(2, 2, 1.5))),
        Slices(SlicesConfig(count=6)),
        Fit(FitConfig(size_px=(32, 24))),
        HuWindow(HuWindowConfig()),
    ):
        volume = step(volume)
    return volume


def test_heights_are_true_after_resampling_and_choosing(chest_volume: Volume) -> None:
    # 24 slices of 3 mm are 72 mm; 6 parts of 8 new slices of 1.5 mm, the middle one of each.
    # Voxel centres of the new grid lie at -0.75, 0.75, ... mm from the old first centre.
    heights = slice_heights(chest_volume, preprocessed(chest_volume))
    np.testing.assert_allclose(heights, -0.75 + 1.5 * (4 + 8 * np.arange(6)), atol=1e-6)


@pytest.mark.parametrize("shift", [0, 1024])
def test_sheet_is_written_from_hu_and_from_raw(
    chest_volume: Volume, tmp_path: Path, shift: int
) -> None:
    raw = chest_volume.but(array=chest_volume.array + shift)
    out = contact_sheet(raw, preprocessed(raw), "scan", "HU", tmp_path / "new" / "sheet.png")
    with Image.open(out) as picture:
        assert picture.width == 1760
        greys = np.asarray(picture.convert("RGB"), int)
    assert len(np.unique(greys[..., 0])) > 100
    # The lines that mark the slices are the only pure amber on the page.
    assert np.any((greys[..., 0] > 230) & (abs(greys[..., 1] - 170) < 30) & (greys[..., 2] < 60))


def test_refused_file_still_has_a_sheet(chest_volume: Volume, tmp_path: Path) -> None:
    raw = chest_volume.but(array=np.abs(chest_volume.array) // 8)
    out = contact_sheet(raw, None, "scan", "not a CT " * 60, tmp_path / "sheet.png")
    with Image.open(out) as picture:
        greys = np.asarray(picture.convert("RGB"), int)
    assert np.any((greys[..., 0] > 150) & (greys[..., 1] < 60) & (greys[..., 2] < 60))


def test_single_slice_and_many_slices_fit_on_the_page(chest_volume: Volume, tmp_path: Path) -> None:
    hu = RescaleHu(RescaleHuConfig())(chest_volume)
    for count in (1, 24):
        seen = Slices(SlicesConfig(count=count))(hu)
        assert contact_sheet(chest_volume, seen, "t", "v", tmp_path / f"{count}.png").is_file()
