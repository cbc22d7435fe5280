"""Slices become the patch rows that Qwen2.5-VL's tower was made for, without 8-bit images."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from ctfw.errors import BadData
from ctfw.types import Volume
from ctfw.volumes.slices_file import hu_scale
from ctfw_plugins.backbones.patches import (
    CLIP_MEAN,
    CLIP_STD,
    HUVideoProcessor,
    to_channels,
)


def volume(array: np.ndarray, intensity: str = "normalised", scale: float = 1000.0) -> Volume:
    made = Volume(array.astype(np.float32), np.eye(4), intensity)
    if intensity == "normalised":
        made = made.noting("hu-window", "for the test", divide_by=scale)
    return made


def by_hand(frames: np.ndarray) -> np.ndarray:
    """Qwen's layout written out as loops: pairs of frames; blocks of 2 x 2 patches; the patches of
    a block; then channel, frame of the pair, row and column."""
    count, _, height, width = frames.shape
    rows = []
    for pair in range(count // 2):
        for block_y in range(height // 28):
            for block_x in range(width // 28):
                for patch_y in range(2):
                    for patch_x in range(2):
                        top, left = block_y * 28 + patch_y * 14, block_x * 28 + patch_x * 14
                        row = [
                            frames[2 * pair + frame, channel, top + y, left + x]
                            for channel in range(3)
                            for frame in range(2)
                            for y in range(14)
                            for x in range(14)
                        ]
                        rows.append(row)
    return np.array(rows, np.float32)


def test_layout_is_that_of_plain_loops() -> None:
    rng = np.random.default_rng(0)
    source = volume(rng.uniform(-1, 1, (4, 56, 84)))
    rows, grid = HUVideoProcessor("windows").patches(source)
    frames = to_channels(source, "windows")
    mean, std = np.array(CLIP_MEAN), np.array(CLIP_STD)
    expected = by_hand((frames - mean[:, None, None]) / std[:, None, None])
    assert grid == (2, 4, 6)
    assert rows.shape == (48, 1176)
    assert rows.dtype == torch.float32
    np.testing.assert_allclose(rows.numpy(), expected, rtol=1e-5, atol=1e-6)


def stock_image_processor() -> Any:
    """The one of Qwen2-VL that works without torchvision; transformers 5.4 moved it."""
    try:
        from transformers.models.qwen2_vl import image_processing_pil_qwen2_vl as pil
    except ImportError:
        from transformers.models.qwen2_vl.image_processing_qwen2_vl import Qwen2VLImageProcessor

        return Qwen2VLImageProcessor(do_resize=False)
    return pil.Qwen2VLImageProcessorPil(do_resize=False)


def test_equal_frames_give_the_rows_of_the_stock_image_processor() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (56, 84), dtype=np.uint8)
    stock = stock_image_processor()(np.repeat(picture[..., None], 3, axis=2), return_tensors="pt")
    source = volume(np.stack([picture, picture]) / 255.0 * 2 - 1)
    rows, grid = HUVideoProcessor("grey").patches(source)
    assert stock["image_grid_thw"].tolist() == [list(grid)]
    torch.testing.assert_close(rows, stock["pixel_values"], rtol=1e-4, atol=1e-4)


def test_windows_are_lung_mediastinum_and_bone() -> None:
    hu = np.array([-2000, -1350, -600, 150, -160, 40, 240, -100, 500, 1100], float)
    source = volume(np.tile(hu, (1, 1, 1)) / 1000)
    lung, mediastinum, bone = to_channels(source, "windows")[0][:, 0]
    np.testing.assert_allclose(lung[:4], [0, 0, 0.5, 1], atol=1e-6)
    np.testing.assert_allclose(mediastinum[4:7], [0, 0.5, 1], atol=1e-6)
    np.testing.assert_allclose(bone[7:], [0, 0.5, 1], atol=1e-6)
    assert to_channels(source, "windows").shape == (1, 3, 1, 10)


def test_windows_do_not_depend_on_how_the_volume_was_normalised() -> None:
    hu = np.random.default_rng(2).uniform(-1500, 1500, (2, 28, 28))
    in_hu = to_channels(volume(hu, "hu"), "windows")
    for scale in (1000.0, 400.0):
        other = to_channels(volume(hu / scale, scale=scale), "windows")
        np.testing.assert_allclose(other, in_hu, atol=1e-5)


def test_scale_is_that_of_the_last_normalisation() -> None:
    source = volume(np.zeros((1, 2, 2)), scale=400.0)
    assert hu_scale(source) == 400.0
    assert hu_scale(volume(np.zeros((1, 2, 2)), "hu")) == 1.0


def test_grey_covers_the_window_in_float() -> None:
    source = volume(np.array([[[-1.0, -0.99999, 0.0, 1.0, 3.0]]]))
    grey = to_channels(source, "grey")[0, :, 0]
    np.testing.assert_allclose(grey[0], [0, 5e-6, 0.5, 1, 1], atol=1e-7)
    assert np.array_equal(grey[0], grey[1])
    assert np.array_equal(grey[0], grey[2])


def test_slices_that_do_not_fill_tokens_are_refused() -> None:
    with pytest.raises(BadData, match="slices of 30 x 28 pixels do not fill 28-pixel tokens"):
        HUVideoProcessor().patches(volume(np.zeros((2, 28, 30))))
