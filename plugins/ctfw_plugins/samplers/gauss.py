"""Sampler `gauss`: Gaussian noise of the anchor's shape (Ours-Gauss)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ctfw.types import Case, CaseTable, Negative
from ctfw_plugins.samplers.configs import GaussConfig
from ctfw_plugins.samplers.noise import Noise
from ctfw_plugins.samplers.record import Record


class Gauss:
    """Noise drawn anew for each anchor and epoch.

    White noise at strength 1 is told apart at once: the negative loss reaches its bound in the
    first steps and then teaches nothing. Match its spectrum or blend it with the anchor
    (`strength` below 1) to make it harder.
    """

    def __init__(self, config: GaussConfig, context: Any = None) -> None:
        self.config = config
        self._record = Record("gauss")

    def fit(self, cases: CaseTable) -> None:
        """Nothing to learn from the pool."""

    def refresh(self, epoch: int, seed: int) -> None:
        """Nothing to plan: every anchor has noise of its own."""

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        """Noise shows no finding: every sentence that states one conflicts with it."""
        settings = self.config
        self._record.alone()
        noise = Noise(
            int(rng.integers(2**63)),
            settings.strength,
            settings.mean,
            settings.std,
            settings.spectrum,
        )
        note = {"strength": settings.strength, "spectrum": settings.spectrum}
        shows = None if anchor.labels is None else np.zeros_like(anchor.labels)
        return Negative(transform=noise, note=note, shows=shows)

    def summary(self) -> Mapping[str, Any]:
        """See `Record.summary`."""
        return self._record.summary(strength=self.config.strength, spectrum=self.config.spectrum)
