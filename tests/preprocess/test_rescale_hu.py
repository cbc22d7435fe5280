"""HU are made once, padding becomes air, and both are written down."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from ctfw.errors import NotCT
from ctfw.types import HU, UNKNOWN, Case, Volume
from ctfw_plugins.preprocess.configs import RescaleHuConfig
from ctfw_plugins.preprocess.rescale_hu import RescaleHu

AUTO = RescaleHu(RescaleHuConfig())


def as_stored(volume: Volume, shift: int = 0) -> Volume:
    return volume.but(array=volume.array + np.int16(shift), intensity=UNKNOWN)


def case(**hints: object) -> Case:
    return Case("c", "p", Path("c"), "", hints=hints)


def test_raw_values_are_rescaled_once_and_never_again(chest: Volume) -> None:
    made = AUTO(as_stored(chest, 1024), case(RescaleSlope=1, RescaleIntercept=-1024))
    np.testing.assert_array_equal(made.array, np.maximum(chest.array, -1024))
    assert (made.intensity, made.array.dtype) == (HU, np.int16)
    again = AUTO(made, case(RescaleSlope=1, RescaleIntercept=-1024))
    np.testing.assert_array_equal(again.array, made.array)
    assert "nothing applied a second time" in again.provenance[-1].text


def test_table_of_the_first_release_leaves_hu_alone(chest: Volume) -> None:
    made = AUTO(as_stored(chest), case(RescaleSlope=1, RescaleIntercept=-8192))
    np.testing.assert_array_equal(made.array, np.maximum(chest.array, -1024))
    assert made.provenance[0].values["applied"] is False


@pytest.mark.parametrize("padding", [-2000, -2048, -3024, -8192])
def test_padding_becomes_air(chest: Volume, padding: int) -> None:
    array = np.maximum(chest.array, -1024)
    array[:, :4] = padding
    made = AUTO(as_stored(chest.but(array=array)))
    assert (made.array[:, :4] == -1024).all()
    np.testing.assert_array_equal(made.array[:, 4:], array[:, 4:])
    assert made.provenance[-1].values["lowest"] == padding


def test_settings_settle_what_evidence_cannot(chest: Volume) -> None:
    odd = as_stored(chest, 500)
    with pytest.raises(NotCT):
        AUTO(odd)
    forced = RescaleHu(RescaleHuConfig(intensity="raw", slope=1, intercept=-500))(odd)
    np.testing.assert_array_equal(forced.array, np.maximum(chest.array, -1024))
    kept = RescaleHu(RescaleHuConfig(intensity="hu"))(odd)
    assert kept.array.max() == odd.array.max()
    assert "set by `intensity: hu`" in kept.provenance[0].text


def test_forcing_raw_onto_applied_dicom_tags_is_refused(chest: Volume) -> None:
    with pytest.raises(NotCT, match="tags were applied already"):
        RescaleHu(RescaleHuConfig(intensity="raw", slope=1, intercept=-1024))(chest)


def test_fractional_slope_gives_float32(chest: Volume) -> None:
    stored = as_stored(chest.but(array=((chest.array + 1000) * 2).astype(np.int16)))
    made = AUTO(stored, case(RescaleSlope=0.5, RescaleIntercept=-1000))
    assert made.array.dtype == np.float32
    np.testing.assert_allclose(made.array, np.maximum(chest.array, -1024), atol=0.5)


def test_source_array_is_left_as_it_was(chest: Volume) -> None:
    stored = as_stored(chest, 1024)
    before = stored.array.copy()
    AUTO(stored)
    np.testing.assert_array_equal(stored.array, before)


def test_half_a_rescale_is_no_setting() -> None:
    with pytest.raises(ValidationError, match="both slope and intercept"):
        RescaleHuConfig(slope=1)
    with pytest.raises(ValidationError, match="applies no slope"):
        RescaleHuConfig(intensity="hu", slope=1, intercept=0)


def test_second_rescale_is_taken_back_on_request(chest: Volume) -> None:
    twice = as_stored(chest, -1024)
    with pytest.raises(NotCT, match=r"rescaled twice.*mend_double_rescale"):
        AUTO(twice)
    made = RescaleHu(RescaleHuConfig(mend_double_rescale=True))(twice)
    np.testing.assert_array_equal(made.array, np.maximum(chest.array, -1024))
    assert made.provenance[0].text.startswith("HU = P x 1 + 1024 applied: mended: rescaled twice")


@pytest.mark.parametrize("scale", ["8-bit", "0 to 1", "-1 to 1"])
def test_scaled_values_are_spread_over_their_window_on_request(chest: Volume, scale: str) -> None:
    low, high = -1000, 600
    unit = (np.clip(chest.array, low, high).astype(np.float32) - low) / (high - low)
    stored = {
        "8-bit": np.rint(unit * 255).astype(np.uint8),
        "0 to 1": unit,
        "-1 to 1": unit * 2 - 1,
    }[scale]
    volume = chest.but(array=stored, intensity=UNKNOWN)
    with pytest.raises(NotCT, match=r"the HU are lost.*mend_window"):
        AUTO(volume)
    made = RescaleHu(RescaleHuConfig(mend_window=(low, high)))(volume)
    step = (high - low) / 255 if scale == "8-bit" else 0.01
    np.testing.assert_allclose(made.array, np.clip(chest.array, low, high), atol=step)
    assert "mended" in made.provenance[0].text


def test_repairs_touch_no_scan_that_needs_none(chest: Volume) -> None:
    config = RescaleHuConfig(mend_double_rescale=True, mend_window=(-1000, 1000))
    for volume in (as_stored(chest), as_stored(chest, 1024)):
        np.testing.assert_array_equal(RescaleHu(config)(volume).array, AUTO(volume).array)


def test_repair_of_a_scan_that_was_declared_to_be_hu(tmp_path: Path, chest: Volume) -> None:
    twice = as_stored(chest, -1024)
    repair = RescaleHu(RescaleHuConfig(mend_double_rescale=True))
    made = repair(twice, case(folder_version="fixed"))
    np.testing.assert_array_equal(made.array, np.maximum(chest.array, -1024))


def test_label_map_and_mr_are_refused_whatever_may_be_mended(chest: Volume) -> None:
    config = RescaleHuConfig(mend_double_rescale=True, mend_window=(-1000, 1000))
    labels = (chest.array > -500).astype(np.uint8) + (chest.array > 300)
    mr = np.abs(np.random.default_rng(0).normal(300, 150, chest.array.shape)).astype(np.int16)
    for array in (labels, mr):
        with pytest.raises(NotCT):
            RescaleHu(config)(chest.but(array=array, intensity=UNKNOWN))


def test_padding_stays_on_request(chest: Volume) -> None:
    array = np.maximum(chest.array, -1024)
    array[:, :4] = -3024
    made = RescaleHu(RescaleHuConfig(padding="keep"))(as_stored(chest.but(array=array)))
    np.testing.assert_array_equal(made.array, array)


def test_window_that_is_upside_down_is_no_setting() -> None:
    with pytest.raises(ValidationError, match="low below high"):
        RescaleHuConfig(mend_window=(600, -1000))
