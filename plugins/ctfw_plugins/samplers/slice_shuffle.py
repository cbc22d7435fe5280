"""Sampler `slice-shuffle`: the anchor's slices in another order.

Each slice shows what it showed, at the wrong height: what is wrong is the anatomy from slice to
slice and where in the lung a finding lies, not which findings there are. No sentence about a
label conflicts, so a loss with `scope: conflicting` is refused beside it (`contradicts` of its
settings).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctfw.errors import BadData
from ctfw.types import Case, CaseTable, Negative, Volume
from ctfw_plugins.samplers.configs import SliceShuffleConfig
from ctfw_plugins.samplers.record import Record


@dataclass(frozen=True)
class Shuffle:
    """Blocks of neighbouring slices in another order, at the old positions; picklable."""

    seed: int
    block: int

    def __call__(self, volume: Volume) -> Volume:
        """Never the same order. Raises BadData for a single block: the negative would be the
        anchor itself, and its report right."""
        starts = np.arange(0, volume.array.shape[0], self.block)
        if len(starts) < 2:
            raise BadData(
                f"slice-shuffle: a scan of {volume.array.shape[0]} slices is one block of "
                f"{self.block} and cannot be put in another order; set negatives.block lower"
            )
        order = np.random.default_rng(self.seed).permutation(len(starts))
        if (order == np.arange(len(starts))).all():
            order = np.roll(order, 1)
        slices = np.concatenate([np.arange(start, start + self.block) for start in starts[order]])
        slices = slices[slices < volume.array.shape[0]]
        return volume.but(array=np.ascontiguousarray(volume.array[slices])).noting(
            "slice-shuffle", "slices in another order: a negative, not a scan"
        )


class SliceShuffle:
    """Another order for each anchor and epoch."""

    def __init__(self, config: SliceShuffleConfig, context: Any = None) -> None:
        self.config = config
        self._record = Record("slice-shuffle")

    def fit(self, cases: CaseTable) -> None:
        """Nothing to learn from the pool."""

    def refresh(self, epoch: int, seed: int) -> None:
        """Nothing to plan: every anchor has an order of its own."""

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        """The labels stay as they are: no sentence conflicts."""
        self._record.alone()
        shuffle = Shuffle(int(rng.integers(2**63)), self.config.block)
        return Negative(transform=shuffle, note={"block": self.config.block}, shows=anchor.labels)

    def summary(self) -> Mapping[str, Any]:
        """See `Record.summary`."""
        return self._record.summary(block=self.config.block)
