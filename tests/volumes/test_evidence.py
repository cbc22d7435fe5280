"""HU, raw, twice rescaled or no CT at all: told apart by what is declared and by the voxels."""

from __future__ import annotations

import numpy as np
import pytest

from ctfw.errors import NotCT
from ctfw.types import HU, NORMALISED, Volume
from ctfw.volumes import evidence
from ctfw.volumes.geometry import lps_affine
from ctfw.volumes.voxels import Reading, Verdict, judge_voxels

TABLE = {"RescaleSlope": 1, "RescaleIntercept": -1024}


def volume(array: np.ndarray, intensity: str = "unknown") -> Volume:
    return Volume(array, lps_affine((1, 1, 2)), intensity=intensity)


def decide(volume: Volume, hints: dict, **more: object) -> Verdict:
    table = evidence.table_reading(hints)
    seen = judge_voxels(volume.array, [table] if table else [])
    return evidence.decide(volume.intensity, hints, seen, **more)  # type: ignore[arg-type]


def with_padding(hu: np.ndarray, value: int) -> np.ndarray:
    """Corners outside a round field of view set to one value."""
    y, x = np.mgrid[-1 : 1 : hu.shape[1] * 1j, -1 : 1 : hu.shape[2] * 1j]
    return np.where((x**2 + y**2 > 1)[None], value, hu)


@pytest.mark.parametrize("padding", [None, -1024, -2000, -2048, -3024, -8192])
def test_hu_is_recognised_with_any_padding(chest: np.ndarray, padding: int | None) -> None:
    array = chest if padding is None else with_padding(chest, padding)
    assert judge_voxels(array).state == "hu"


@pytest.mark.parametrize("offset", [1024, 8192])
@pytest.mark.parametrize("padding", [None, 0, -1024, -2000])
def test_raw_storage_is_recognised(chest: np.ndarray, offset: int, padding: int | None) -> None:
    raw = chest.astype(int) + offset
    verdict = judge_voxels(raw if padding is None else with_padding(raw, padding))
    assert (verdict.state, verdict.reading) == ("raw", Reading(1, -offset))


@pytest.mark.parametrize("intercept", [-1024, -8192])
def test_second_rescale_is_found(chest: np.ndarray, intercept: int) -> None:
    verdict = judge_voxels(chest.astype(int) + intercept)
    assert (verdict.state, verdict.reading) == ("twice", Reading(1, -intercept))
    assert "rescaled twice" in verdict.text


def test_other_scales_are_named(chest: np.ndarray) -> None:
    unit = (np.clip(chest, -1000, 1000) / 1000).astype(np.float32)
    eight_bit = np.clip((chest + 1000) / 8, 0, 255).astype(np.uint8)
    labels = (chest > -500).astype(np.uint8) + (chest > 300)
    mr = np.abs(np.random.default_rng(0).normal(300, 150, chest.shape)).astype(np.int16)
    for array, state, words in (
        (unit, "scaled", "scaled to -1 to 1"),
        ((unit + 1) / 2, "scaled", "scaled to 0 to 1"),
        (eight_bit, "scaled", "8-bit"),
        (labels, "not-ct", "label map"),
        (np.zeros_like(chest), "not-ct", "every voxel is 0"),
        (np.where(chest > 600, np.nan, chest), "not-ct", "NaN"),
        (mr, "unclear", "an MR"),
        (chest[:2, :8, :8], "unclear", "too few"),
    ):
        verdict = judge_voxels(array)
        assert (verdict.state, words in verdict.text) == (state, True), verdict


def test_table_is_not_applied_to_voxels_that_are_hu(chest: np.ndarray) -> None:
    verdict = decide(volume(chest), {"RescaleSlope": 1, "RescaleIntercept": -8192})
    assert (verdict.state, verdict.reading) == ("hu", Reading(1, 0))
    assert "HU = P x 1 - 8192 is not applied again" in verdict.text


def test_table_is_applied_to_voxels_that_are_raw(chest: np.ndarray) -> None:
    verdict = decide(volume(chest.astype(int) + 1024), TABLE)
    assert (verdict.state, verdict.reading) == ("raw", Reading(1, -1024))


def test_table_slope_other_than_one_is_tried(chest: np.ndarray) -> None:
    stored = (chest.astype(int) + 1000) * 2
    verdict = decide(volume(stored), {"RescaleSlope": "0.5", "RescaleIntercept": "-1000"})
    assert (verdict.state, verdict.reading) == ("raw", Reading(0.5, -1000))


def test_table_of_another_volume_is_refused(chest: np.ndarray) -> None:
    with pytest.raises(NotCT, match="belongs to another volume"):
        decide(volume(chest.astype(int) + 8192), TABLE)


@pytest.mark.parametrize(
    ("hints", "shift"),
    [
        ({"intensity": "raw"}, 0),
        ({"intensity": "hu"}, 1024),
        ({"folder_version": "v1"}, 0),
        ({"folder_version": "fixed"}, 1024),
    ],
)
def test_declared_state_against_the_voxels_is_refused(
    chest: np.ndarray, hints: dict, shift: int
) -> None:
    with pytest.raises(NotCT, match="signals disagree"):
        decide(volume(chest.astype(int) + shift), hints)


def test_declared_state_decides_where_the_voxels_cannot() -> None:
    few = volume(np.zeros((2, 3, 4), np.int16))
    with pytest.raises(NotCT, match="too few to judge"):
        decide(few, {})
    assert decide(few, {"intensity": "hu"}).state == "hu"
    assert decide(few.but(intensity=HU), {}).state == "hu"
    assert decide(few, {"intensity": "raw"} | TABLE).reading == Reading(1, -1024)
    with pytest.raises(NotCT, match="no slope and intercept are known"):
        decide(few, {"intensity": "raw"})


def test_normalised_values_are_refused(chest: np.ndarray) -> None:
    with pytest.raises(NotCT, match="already normalised"):
        decide(volume(chest, NORMALISED), {})


def test_thousandths_of_hu_are_named_with_their_cure(chest: np.ndarray) -> None:
    stored = (chest / 1000).astype(np.float32)
    stored[0, 0, 0] = 2.5  # metal: above what a window of 1000 HU leaves
    with pytest.raises(NotCT, match="HU divided by 1000; set rescale-hu's `intensity: raw, slope"):
        decide(volume(stored), {})
