"""Choose evenly spaced axial slices and keep their positions in millimetres."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctfw.errors import UserError
from ctfw.types import Case, Volume
from ctfw_plugins.preprocess.anatomy import lung_slices
from ctfw_plugins.preprocess.configs import SlicesConfig


class Slices:
    """(z, y, x) -> (count, y, x); z ascends from feet to head, as in the volume.

    The range is cut into `count` equal parts and the slice in the middle of each is taken.
    The affine starts at the first chosen slice and has the mean step; `positions_mm` is the
    distance of each slice from the first. Works on HU and on windowed values.
    """

    def __init__(self, config: SlicesConfig, context: Any = None) -> None:
        self.config = config

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        if volume.positions_mm is not None:
            raise UserError("slices were chosen already: `slices` stands twice in the chain")
        depth, count = volume.array.shape[0], self.config.count
        first, last, where = self._range(volume)
        if last - first + 1 < count:
            raise UserError(
                f"{count} slices are asked for and the {where} has {last - first + 1}: lower "
                "`count` of slices, or resample to a smaller z spacing first"
            )
        index = first + np.floor((np.arange(count) + 0.5) * (last - first + 1) / count).astype(int)
        positions = (index - index[0]) * volume.spacing_mm[0]
        affine = volume.affine.copy()
        affine[:, 3] = volume.affine @ np.array([0, 0, index[0], 1.0])
        if count > 1:
            affine[:3, 2] *= (index[-1] - index[0]) / (count - 1)
        array, each = self._take(volume, index)
        return volume.but(array=array, affine=affine, positions_mm=positions).noting(
            "slices",
            f"{count} of {depth} slices, evenly over the {where}: number {index[0] + 1} to "
            f"{index[-1] + 1}, {positions[-1]:.1f} mm from first to last{each}",
            index=[int(i) for i in index],
            of=depth,
        )

    def _range(self, volume: Volume) -> tuple[int, int, str]:
        """(first, last, words) of the slices to spread over."""
        whole = 0, volume.array.shape[0] - 1
        if self.config.over == "scan":
            return *whole, "scan"
        lungs = lung_slices(volume)
        if lungs is None:
            return *whole, "scan, as no lung was found"
        return *lungs, "lungs"

    def _take(self, volume: Volume, index: np.ndarray) -> tuple[np.ndarray, str]:
        """((count, y, x), words)."""
        half = self.config.thick_mm / 2 / volume.spacing_mm[0]
        if half < 0.5:
            return volume.array[index], ""
        out = np.empty((len(index), *volume.array.shape[1:]), np.float32)
        for row, centre in enumerate(index):
            low, high = int(np.ceil(centre - half)), int(np.floor(centre + half))
            slab = volume.array[max(0, low) : high + 1]
            out[row] = (
                slab.mean(0, dtype=np.float32) if self.config.combine == "mean" else slab.max(0)
            )
        return out, f", each the {self.config.combine} over {self.config.thick_mm:g} mm"
