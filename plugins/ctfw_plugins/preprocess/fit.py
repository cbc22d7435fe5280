"""Bring slices to a fixed size in pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctfw.types import Case, Volume
from ctfw.volumes.voxels import AIR_HU
from ctfw_plugins.preprocess.anatomy import box, to_value
from ctfw_plugins.preprocess.configs import FitConfig
from ctfw_plugins.preprocess.kernel import Axis, resample


class Fit:
    """(z, y, x) -> (z, size_px[1], size_px[0]) float32, in-plane only; the affine follows.

    The frame is the picture, the body or the lungs with a margin. `aspect: keep` widens the frame
    to the shape of the picture and fills what lies beyond the scan with air. Shrinking is
    anti-aliased with a triangle filter.
    """

    def __init__(self, config: FitConfig, context: Any = None) -> None:
        self.config = config

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        frame, what = self._frame(volume)
        width, height = self.config.size_px
        step_x, step_y = (frame[1] - frame[0]) / width, (frame[3] - frame[2]) / height
        x = _axis(volume.array.shape[2], frame[0], step_x, width)
        y = _axis(volume.array.shape[1], frame[2], step_y, height)
        z = Axis(volume.array.shape[0], np.arange(volume.array.shape[0], dtype=float))
        array = resample(volume.array, z, y, x, to_value(volume, AIR_HU))
        affine = volume.affine @ np.diag([step_x, step_y, 1.0, 1.0])
        affine[:, 3] = volume.affine @ np.array([x.centres[0], y.centres[0], 0.0, 1.0])
        fitted = volume.but(array=array, affine=affine)
        _, mm_y, mm_x = fitted.spacing_mm
        return fitted.noting(
            "fit",
            f"{what} in {width} x {height} pixels of {mm_x:.2f} x {mm_y:.2f} mm",
            frame=[round(edge, 2) for edge in frame],
        )

    def _frame(self, volume: Volume) -> tuple[tuple[float, float, float, float], str]:
        """(x0, x1, y0, y1) voxel edges of what is shown, and words."""
        _, height, width = volume.array.shape
        _, mm_y, mm_x = volume.spacing_mm
        found = None if self.config.crop == "none" else box(volume, self.config.crop)
        if found is None:
            lacks = "" if self.config.crop == "none" else f", as no {self.config.crop} was found"
            edges, what = (0.0, float(width), 0.0, float(height)), f"the whole slice{lacks}"
        else:
            mx, my = self.config.margin_mm / mm_x, self.config.margin_mm / mm_y
            edges = (
                max(0.0, found[0] - mx),
                min(float(width), found[1] + mx),
                max(0.0, found[2] - my),
                min(float(height), found[3] + my),
            )
            what = f"the {self.config.crop}"
        if self.config.aspect == "stretch":
            return edges, f"{what}, stretched,"
        return _widened(edges, mm_x, mm_y, self.config.size_px), what


def _widened(
    edges: tuple[float, float, float, float], mm_x: float, mm_y: float, size: tuple[int, int]
) -> tuple[float, float, float, float]:
    """The smallest frame around `edges` whose pixels are square."""
    x0, x1, y0, y1 = edges
    pixel = max((x1 - x0) * mm_x / size[0], (y1 - y0) * mm_y / size[1])
    grow_x = (pixel * size[0] / mm_x - (x1 - x0)) / 2
    grow_y = (pixel * size[1] / mm_y - (y1 - y0)) / 2
    return x0 - grow_x, x1 + grow_x, y0 - grow_y, y1 + grow_y


def _axis(size: int, start: float, step: float, count: int) -> Axis:
    """`count` pixels of `step` voxels from the edge `start`; voxel i spans i to i + 1."""
    centres = start + (np.arange(count) + 0.5) * step - 0.5
    return Axis(size, centres, width=max(1.0, step), fill=True)
