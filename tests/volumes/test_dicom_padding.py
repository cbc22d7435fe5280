"""Pixels that stand for no image become air, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.dicom import DicomLoader

READER = DicomLoader(DicomConfig())
KEEPER = DicomLoader(DicomConfig(fill_padding=False))
Write = Callable[..., Path]


def told(volume: Any) -> str:
    return " | ".join(decision.text for decision in volume.provenance)


@pytest.mark.parametrize(
    ("signed", "pixel", "tag"),
    [
        (True, -2000, -2000),
        (True, -2000, 63536),
        (True, -3024, 65536 - 3024),
        (False, 63536, 63536),
        (False, 63536, -2000),
    ],
)
def test_padding_is_found_however_its_sign_is_written(
    write_series: Write, signed: bool, pixel: int, tag: int
) -> None:
    stored = np.full((3, 4, 5), 1000, np.int64)
    stored[:, 0] = pixel
    folder = write_series(
        stored.astype(np.uint16).view(np.int16),
        tags={"PixelPaddingValue": tag, "PixelRepresentation": int(signed)},
    )
    volume = READER.load(folder)
    assert (volume.array[:, 0] == -1024).all()
    assert (volume.array[:, 1:] == 1000 - 1024).all()
    assert "25.0 % of the voxels had the padding value" in told(volume)
    assert (KEEPER.load(folder).array[:, 0] == pixel - 1024).all()


def test_padding_above_the_stored_bits_is_found_before_they_are_masked(write_series: Write) -> None:
    stored = np.full((3, 4, 5), 1000, np.uint16)
    stored[:, 0] = 63536  # -2000 in 16 bits, 2096 in the 12 that are stored
    tags = {"BitsStored": 12, "HighBit": 11, "PixelRepresentation": 0, "PixelPaddingValue": 63536}
    volume = READER.load(write_series(stored.view(np.int16), tags=tags))
    assert np.unique(volume.array).tolist() == [-1024, 1000 - 1024]


@pytest.mark.parametrize("ends", [(-2000, -1500), (-1500, -2000)])
def test_range_of_padding_is_air(write_series: Write, ends: tuple[int, int]) -> None:
    stored = np.full((3, 4, 5), 30, np.int16)
    stored[:, 0] = [-2000, -1500, -1700, -2001, -1499]
    tags = {"PixelPaddingValue": ends[0], "PixelPaddingRangeLimit": ends[1]}
    volume = READER.load(write_series(stored, tags=tags, intercept=0))
    assert volume.array[0, 0].tolist() == [-1024, -1024, -1024, -2001, -1499]


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelPaddingValue": 1024},
        {"PixelPaddingValue": 0, "PixelPaddingRangeLimit": 1024},
        {"PixelPaddingValue": 24},
    ],
)
def test_padding_that_could_be_tissue_is_not_believed(
    write_series: Write, tags: dict[str, Any]
) -> None:
    stored = np.full((3, 3, 3), 1024, np.int16)
    volume = READER.load(write_series(stored, tags=tags))
    assert (volume.array == 0).all()
    assert "could be that of tissue" in told(volume)


def test_padding_of_raw_values_is_left_alone(write_series: Write) -> None:
    stored = np.full((3, 3, 3), -2000, np.int16)
    tags = {"PixelPaddingValue": -2000, "RescaleSlope": None}
    assert (READER.load(write_series(stored, tags=tags)).array == -2000).all()


def test_values_outside_the_field_of_view_are_left_to_rescale_hu(write_series: Write) -> None:
    stored = np.full((3, 3, 3), -2000, np.int16)
    assert (READER.load(write_series(stored)).array == -3024).all()
