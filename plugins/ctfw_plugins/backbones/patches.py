"""HU slices to the patch rows that Qwen2.5-VL's vision tower reads.

The stock video processor needs torchvision and goes through 8-bit images. This one keeps the
HU range in float and lays the patches out the same way: frames in pairs, 14 x 14 pixels, in the
order of the 2 x 2 merge, each row being (channel, frame of the pair, y, x).
"""

from __future__ import annotations

import numpy as np
import torch

from ctfw.errors import BadData
from ctfw.types import Volume
from ctfw.volumes.slices_file import hu_scale

CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)
WINDOWS_HU = ((-1350.0, 150.0), (-160.0, 240.0), (-100.0, 1100.0))


def to_channels(volume: Volume, channels: str) -> np.ndarray:
    """(frames, 3, y, x) in [0, 1]: the value three times, or lung, mediastinum and bone windows."""
    array = np.asarray(volume.array, dtype=np.float32)
    if channels == "windows":
        hu = array * hu_scale(volume)
        planes = [np.clip((hu - low) / (high - low), 0.0, 1.0) for low, high in WINDOWS_HU]
        return np.stack(planes, axis=1)
    if volume.intensity == "hu":
        array = array / 1000.0
    grey = np.clip((array + 1.0) / 2.0, 0.0, 1.0)
    return np.repeat(grey[:, None], 3, axis=1)


class HUVideoProcessor:
    """Slices in HU to `pixel_values_videos` and `video_grid_thw`, without 8-bit images."""

    patch_size = 14
    temporal_patch_size = 2
    merge_size = 2

    def __init__(self, channels: str = "grey") -> None:
        self.channels = channels

    def patches(self, volume: Volume) -> tuple[torch.Tensor, tuple[int, int, int]]:
        """((T*h*w, 3*2*14*14) float32, (T, h, w)) of one volume.

        An odd number of slices repeats the last one, as the stock processor does. Raises BadData
        when the slices are not a multiple of 28 pixels.
        """
        frames = to_channels(volume, self.channels)
        if frames.shape[0] % self.temporal_patch_size:
            frames = np.concatenate([frames, frames[-1:]])
        mean = np.asarray(CLIP_MEAN, np.float32)[:, None, None]
        std = np.asarray(CLIP_STD, np.float32)[:, None, None]
        return self._rows(torch.from_numpy((frames - mean) / std))

    def _rows(self, frames: torch.Tensor) -> tuple[torch.Tensor, tuple[int, int, int]]:
        pair, patch, merge = self.temporal_patch_size, self.patch_size, self.merge_size
        count, channels, height, width = frames.shape
        block = patch * merge
        if height % block or width % block:
            raise BadData(
                f"slices of {width} x {height} pixels do not fill {block}-pixel tokens; set "
                "size_px of the `fit` step to multiples of 28"
            )
        t, h, w = count // pair, height // patch, width // patch
        rows = frames.reshape(t, pair, channels, h // merge, merge, patch, w // merge, merge, patch)
        rows = rows.permute(0, 3, 6, 4, 7, 2, 1, 5, 8)
        return rows.reshape(t * h * w, channels * pair * patch * patch).contiguous(), (t, h, w)
