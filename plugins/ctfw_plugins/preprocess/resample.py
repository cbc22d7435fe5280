"""Trilinear resampling to a fixed spacing, with a true affine."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctfw.errors import UserError
from ctfw.types import Case, Volume
from ctfw.volumes.stream import SliceStream
from ctfw_plugins.preprocess.configs import ResampleConfig
from ctfw_plugins.preprocess.kernel import Axis, resampled

_SHRINKS = 1.2
_MOST = 4096  # voxels on an axis, as for files that are read


class Resample:
    """(z, y, x) -> float32 at `spacing_mm`; the affine says where every sample was taken.

    Grid `centre`: n' = round(n s / t) voxels of exactly t mm around the old centre, so the extent
    is kept to half a new voxel. Grid `ctclip`: n' = int(n s / t) voxels over exactly the old
    extent (torch's align_corners=False); their true spacing n s / n' stands in the affine.
    Samples beyond the outermost voxel centres repeat the nearest voxel. The axes are resampled as
    they are stored: oblique volumes keep their direction.
    """

    def __init__(self, config: ResampleConfig, context: Any = None) -> None:
        self.config = config

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        return self.stream(SliceStream.of(volume), case).collect()

    def stream(self, slices: SliceStream, case: Case | None = None) -> SliceStream:
        if slices.positions_mm is not None:
            raise UserError("resample needs the whole volume: put it before `slices`")
        old, size = slices.spacing_mm[::-1], slices.shape[::-1]
        axes = [
            self._axis(voxels, spacing, target)
            for voxels, spacing, target in zip(size, old, self.config.spacing_mm, strict=True)
        ]
        x, y, z = axes
        if max(len(axis.centres) for axis in axes) > _MOST:
            made = " x ".join(str(len(axis.centres)) for axis in axes)
            raise UserError(
                f"resample to {_words(self.config.spacing_mm)} mm would make {made} voxels of "
                f"{_words(size)} (at most {_MOST} on an axis): check the unit of `spacing_mm`"
            )
        steps = [_step(axis) for axis in axes]
        affine = slices.affine @ np.diag([*steps, 1.0])
        affine[:, 3] = slices.affine @ np.array([*(axis.centres[0] for axis in axes), 1.0])
        if not all(axis.identity for axis in axes):
            slices = resampled(slices, z, y, x)
        return slices.but(affine=affine).noting(
            "resample",
            f"{_words(old)} to {_words(np.multiply(old, steps))} mm (x, y, z), "
            f"{_words(size)} to {_words(slices.shape[::-1])} voxels, trilinear",
            grid=self.config.grid,
            antialias=[axis.width > 1 for axis in axes],
        )

    def _axis(self, size: int, spacing: float, target: float) -> Axis:
        if self.config.grid == "ctclip":
            # The small term undoes rounding of a spacing that came out of an affine.
            count = max(1, int(size * spacing / target + 1e-6))
            step = size / count
            centres = (np.arange(count) + 0.5) * step - 0.5
        else:
            count = max(1, round(size * spacing / target))
            step = target / spacing
            centres = (size - 1) / 2 + (np.arange(count) - (count - 1) / 2) * step
        smooth = self.config.antialias == "auto" and step > _SHRINKS
        return Axis(size, centres, width=step if smooth else 1.0)


def _step(axis: Axis) -> float:
    """New voxel size in old voxels."""
    count = len(axis.centres)
    return float((axis.centres[-1] - axis.centres[0]) / (count - 1)) if count > 1 else axis.size


def _words(numbers: Any) -> str:
    return " x ".join(f"{number:.4g}" for number in numbers)
