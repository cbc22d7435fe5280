"""Clamp HU to a window and scale."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctfw.errors import UserError
from ctfw.types import HU, NORMALISED, Case, Volume
from ctfw.volumes.stream import SliceStream
from ctfw_plugins.preprocess.configs import HuWindowConfig


class HuWindow:
    """clip(HU, low, high) / divide_by as float32; by default [-1000, 1000] HU -> [-1, 1]."""

    def __init__(self, config: HuWindowConfig, context: Any = None) -> None:
        self.config = config

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        return self.stream(SliceStream.of(volume), case).collect()

    def stream(self, slices: SliceStream, case: Case | None = None) -> SliceStream:
        if slices.intensity != HU:
            raise UserError(
                f"hu-window needs HU, and the volume is '{slices.intensity}': put rescale-hu first"
            )
        low, high, divide_by = self.config.low, self.config.high, self.config.divide_by
        return (
            slices.each(self._windowed)
            .but(intensity=NORMALISED)
            .noting(
                "hu-window",
                f"clamped to {low:g} .. {high:g} HU and divided by {divide_by:g}",
                low=low,
                high=high,
                divide_by=divide_by,
            )
        )

    def _windowed(self, plane: np.ndarray) -> np.ndarray:
        """float32, in place where the plane is float32 already."""
        plane = plane.astype(np.float32, copy=False)
        np.clip(plane, self.config.low, self.config.high, out=plane)
        plane *= np.float32(1 / self.config.divide_by)
        return plane
