"""Choose evenly spaced axial slices and keep their positions in millimetres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ctfw.errors import UserError
from ctfw.types import Case, Volume
from ctfw.volumes.stream import Planes, Read, SliceStream, gathered
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
        return self.stream(SliceStream.of(volume), case).collect()

    def stream(self, slices: SliceStream, case: Case | None = None) -> SliceStream:
        if slices.positions_mm is not None:
            raise UserError("slices were chosen already: `slices` stands twice in the chain")
        slices, first, last, where = self._range(slices)
        depth, count = slices.shape[0], self.config.count
        if last - first + 1 < count:
            has, step = last - first + 1, slices.spacing_mm[0]
            raise UserError(
                f"{count} slices are asked for, and the {where} has {has} at this point: "
                f"{has * step:.0f} mm in steps of {step:g} mm. Lower `count` of slices, or "
                "resample to a smaller z spacing first"
            )
        index = first + np.floor((np.arange(count) + 0.5) * (last - first + 1) / count).astype(int)
        positions = (index - index[0]) * slices.spacing_mm[0]
        affine = slices.affine.copy()
        affine[:, 3] = slices.affine @ np.array([0, 0, index[0], 1.0])
        if count > 1:
            affine[:3, 2] *= (index[-1] - index[0]) / (count - 1)
        shape = (count, *slices.shape[1:])
        read, each = self._chosen(slices, index)
        return slices.but(shape=shape, read=read, affine=affine, positions_mm=positions).noting(
            "slices",
            f"{count} of {depth} slices, evenly over the {where}: number {index[0] + 1} to "
            f"{index[-1] + 1}, {positions[-1]:.1f} mm from first to last{each}",
            index=[int(i) for i in index],
            of=depth,
        )

    def _range(self, slices: SliceStream) -> tuple[SliceStream, int, int, str]:
        """(slices, first, last, words) of what to spread over; lungs are seen in the whole."""
        last = slices.shape[0] - 1
        if self.config.over == "scan":
            return slices, 0, last, "scan"
        volume = slices.collect()
        lungs = lung_slices(volume)
        whole = SliceStream.of(volume)
        if lungs is None:
            return whole, 0, last, "scan, as no lung was found"
        return whole, *lungs, "lungs"

    def _chosen(self, slices: SliceStream, index: np.ndarray) -> tuple[Read, str]:
        """(reader of the chosen slices, words on how each is made)."""
        half = self.config.thick_mm / 2 / slices.spacing_mm[0]
        slabs = [range(int(centre), int(centre) + 1) for centre in index]
        each = ""
        if half >= 0.5:
            last = slices.shape[0] - 1
            for row, centre in enumerate(index):
                low, high = int(np.ceil(centre - half)), int(np.floor(centre + half))
                slabs[row] = range(max(0, low), min(last, high) + 1)
            each = f", each the {self.config.combine} over {self.config.thick_mm:g} mm"

        def read(numbers: Sequence[int]) -> Planes:
            needs = {number: slabs[number] for number in numbers}
            for number, planes in gathered(slices.read, slices.descending, needs):
                yield number, self._slab(planes) if half >= 0.5 else planes[0]

        return read, each

    def _slab(self, planes: list[np.ndarray]) -> np.ndarray:
        """(y, x) float32: the mean or the maximum of the slices of a slab."""
        slab = np.stack(planes)
        if self.config.combine == "max":
            return slab.max(0).astype(np.float32)
        mean: np.ndarray = slab.mean(0, dtype=np.float32)
        return mean
