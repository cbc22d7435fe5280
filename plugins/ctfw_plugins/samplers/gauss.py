"""Sampler `gauss`: Gaussian noise of the anchor's shape (Ours-Gauss)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctfw.types import Case, CaseTable, Negative, Volume
from ctfw_plugins.samplers.configs import GaussConfig


@dataclass(frozen=True)
class Noise:
    """Replaces `strength` of a normalised volume by noise; picklable, the same for one seed."""

    seed: int
    strength: float
    mean: float
    std: float

    def __call__(self, volume: Volume) -> Volume:
        """A volume of the same shape, affine and positions, clipped to [-1, 1]."""
        rng = np.random.default_rng(self.seed)
        noise = rng.standard_normal(volume.array.shape, dtype=np.float32) * self.std + self.mean
        mixed = (1 - self.strength) * volume.array.astype(np.float32) + self.strength * noise
        return volume.but(array=np.clip(mixed, -1.0, 1.0)).noting(
            "gauss", f"{self.strength:.0%} Gaussian noise: a negative, not a scan"
        )


class Gauss:
    """Noise drawn anew for each anchor and epoch.

    White noise at strength 1 is told apart at once: the negative loss reaches its bound in the
    first steps and then teaches nothing. Blend it with the anchor (`strength` below 1) to make
    it harder.
    """

    def __init__(self, config: GaussConfig, context: Any = None) -> None:
        self.config = config
        self._draws = 0

    def fit(self, cases: CaseTable) -> None:
        """Nothing to learn from the pool."""

    def refresh(self, epoch: int, seed: int) -> None:
        """Nothing to plan: every anchor has noise of its own."""

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        self._draws += 1
        seed = int(rng.integers(2**63))
        noise = Noise(seed, self.config.strength, self.config.mean, self.config.std)
        return Negative(transform=noise, note={"strength": self.config.strength})

    def summary(self) -> Mapping[str, Any]:
        return {"sampler": "gauss", "draws": self._draws, "strength": self.config.strength}
