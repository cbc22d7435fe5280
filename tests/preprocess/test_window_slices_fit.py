"""Window, slices and frame: what is kept, and where it lies in millimetres."""

from __future__ import annotations

import numpy as np
import pytest

from ctfw.errors import UserError
from ctfw.types import NORMALISED, UNKNOWN, Volume
from ctfw_plugins.preprocess.configs import FitConfig, HuWindowConfig, SlicesConfig
from ctfw_plugins.preprocess.fit import Fit
from ctfw_plugins.preprocess.hu_window import HuWindow
from ctfw_plugins.preprocess.slices import Slices

WINDOW = HuWindow(HuWindowConfig())


def world(volume: Volume, x: float, y: float, z: float) -> np.ndarray:
    return (volume.affine @ np.array([x, y, z, 1.0]))[:3]


def test_window_clamps_and_scales(chest: Volume) -> None:
    array = np.array([[[-3000, -1000, -500, 0, 40, 1000, 3000]]], np.int16)
    made = WINDOW(chest.but(array=array))
    np.testing.assert_allclose(made.array.ravel(), [-1, -1, -0.5, 0, 0.04, 1, 1], atol=1e-7)
    assert (made.intensity, made.array.dtype) == (NORMALISED, np.float32)
    assert array.min() == -3000


def test_window_needs_hu(chest: Volume) -> None:
    with pytest.raises(UserError, match="put rescale-hu first"):
        WINDOW(chest.but(intensity=UNKNOWN))
    with pytest.raises(UserError, match="'normalised'"):
        WINDOW(WINDOW(chest))


def test_slices_are_even_and_know_their_place(chest: Volume) -> None:
    chosen = Slices(SlicesConfig(count=5))(chest)
    assert chosen.provenance[-1].values["index"] == [3, 9, 15, 21, 27]
    np.testing.assert_array_equal(chosen.array, chest.array[3::6])
    np.testing.assert_allclose(chosen.slice_positions_mm, 48.0 * np.arange(5))
    np.testing.assert_allclose(world(chosen, 0, 0, 0), world(chest, 0, 0, 3))
    np.testing.assert_allclose(world(chosen, 0, 0, 4), world(chest, 0, 0, 27))


def test_uneven_choice_keeps_true_millimetres(chest: Volume) -> None:
    chosen = Slices(SlicesConfig(count=7))(chest)
    index = np.array(chosen.provenance[-1].values["index"])
    assert len(set(np.diff(index))) > 1
    np.testing.assert_allclose(chosen.slice_positions_mm, (index - index[0]) * 8.0)


@pytest.mark.parametrize("windowed", [False, True])
def test_slices_over_the_lungs_before_and_after_windowing(chest: Volume, windowed: bool) -> None:
    volume = WINDOW(chest) if windowed else chest
    chosen = Slices(SlicesConfig(count=6, over="lungs"))(volume)
    assert chosen.provenance[-1].values["index"] == [7, 10, 13, 16, 19, 22]


def test_table_top_and_the_gap_above_it_are_not_the_patient(chest: Volume) -> None:
    lying = chest.but(array=chest.array.copy())
    lying.array[:, 50:52, 4:60] = 300
    chosen = Slices(SlicesConfig(count=6, over="lungs"))(lying)
    assert chosen.provenance[-1].values["index"] == [7, 10, 13, 16, 19, 22]
    framed = Fit(FitConfig(size_px=(50, 40), crop="body", margin_mm=0, aspect="stretch"))(lying)
    assert framed.provenance[-1].values["frame"][3] == pytest.approx(44, abs=1.5)


def test_no_lungs_falls_back_to_the_scan_and_says_so(chest: Volume) -> None:
    solid = chest.but(array=np.where(chest.array > -500, chest.array, -1000))
    solid.array[6:24] = solid.array[:1]
    chosen = Slices(SlicesConfig(count=3, over="lungs"))(solid)
    assert chosen.provenance[-1].values["index"] == [5, 15, 25]
    assert "no lung was found" in chosen.provenance[-1].text


@pytest.mark.parametrize(("combine", "reduce"), [("mean", np.mean), ("max", np.max)])
def test_thick_slices(chest: Volume, combine: str, reduce: object) -> None:
    config = SlicesConfig(count=3, thick_mm=24, combine=combine)  # type: ignore[arg-type]
    chosen = Slices(config)(chest)
    for row, centre in enumerate(chosen.provenance[-1].values["index"]):
        expected = reduce(chest.array[centre - 1 : centre + 2], axis=0)  # type: ignore[operator]
        np.testing.assert_allclose(chosen.array[row], expected, atol=1e-3)


def test_too_few_slices_are_refused_with_the_numbers(chest: Volume) -> None:
    with pytest.raises(UserError, match="31 slices are asked for, and the scan has 30"):
        Slices(SlicesConfig(count=31))(chest)
    with pytest.raises(UserError, match="twice"):
        Slices(SlicesConfig(count=2))(Slices(SlicesConfig(count=5))(chest))


def test_fit_keeps_square_pixels_and_pads_with_air(chest: Volume) -> None:
    made = Fit(FitConfig(size_px=(48, 24)))(chest)
    assert made.array.shape == (30, 24, 48)
    _, mm_y, mm_x = made.spacing_mm
    assert mm_x == pytest.approx(mm_y) == pytest.approx(60 * 5 / 24)
    assert (made.array[:, :, [0, -1]] == -1024).all()
    centre = world(made, 23.5, 11.5, 0)
    np.testing.assert_allclose(centre, world(chest, 31.5, 29.5, 0), atol=1e-9)


def test_fit_stretch_fills_the_picture(chest: Volume) -> None:
    made = Fit(FitConfig(size_px=(32, 20), aspect="stretch"))(chest)
    _, mm_y, mm_x = made.spacing_mm
    assert (mm_x, mm_y) == (pytest.approx(10), pytest.approx(15))


@pytest.mark.parametrize(("what", "width", "height"), [("body", 51, 35), ("lungs", 39, 21)])
def test_fit_frames_body_and_lungs(chest: Volume, what: str, width: int, height: int) -> None:
    config = FitConfig(size_px=(50, 40), crop=what, margin_mm=0, aspect="stretch")  # type: ignore[arg-type]
    made = Fit(config)(chest)
    x0, x1, y0, y1 = made.provenance[-1].values["frame"]
    assert x1 - x0 == pytest.approx(width, abs=3)
    assert y1 - y0 == pytest.approx(height, abs=3)
    assert (x0 + x1) / 2 == pytest.approx(32.5, abs=1.5)
    assert (y0 + y1) / 2 == pytest.approx(26.5, abs=1.5)


def test_fit_keeps_a_point_where_it_is(chest: Volume) -> None:
    array = np.full(chest.array.shape, -1000, np.int16)
    array[:, 20:24, 40:44] = 900
    made = Fit(FitConfig(size_px=(90, 70)))(chest.but(array=array))
    hot = np.argwhere(made.array[0] > 400)
    y, x = hot.mean(0)
    np.testing.assert_allclose(
        world(made, x, y, 0), world(chest, 41.5, 21.5, 0), atol=made.spacing_mm[2] / 2
    )


def test_fit_after_windowing_pads_with_the_windows_air(chest: Volume) -> None:
    made = Fit(FitConfig(size_px=(48, 24)))(WINDOW(chest))
    assert (made.array[:, :, 0] == -1).all()


def test_fit_of_chosen_slices_keeps_their_positions(chest: Volume) -> None:
    chosen = Slices(SlicesConfig(count=4))(chest)
    made = Fit(FitConfig(size_px=(20, 20)))(chosen)
    np.testing.assert_array_equal(made.slice_positions_mm, chosen.slice_positions_mm)
