"""Sampler `mirror`: the anchor's scan with left and right exchanged.

Every finding is still there, on the other side: only the words left and right are wrong. The
heart lies on the wrong side too, which a model may learn instead; `without_side` counts the
anchors whose report names no side, where nothing else is wrong.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctfw.engine.altered import mirrored
from ctfw.scoring.sentences import SIDE
from ctfw.types import Case, CaseTable, Negative, Volume
from ctfw_plugins.samplers.configs import MirrorConfig
from ctfw_plugins.samplers.record import Record


@dataclass(frozen=True)
class Mirror:
    """Left and right exchanged, by the axis that the affine names; the affine stays."""

    def __call__(self, volume: Volume) -> Volume:
        made = mirrored(volume, np.random.default_rng(0))
        return made.noting("mirror", "left and right exchanged: a negative, not a scan")


class MirrorSampler:
    """The same transform for every anchor."""

    def __init__(self, config: MirrorConfig, context: Any = None) -> None:
        self._record = Record("mirror")
        self._without_side = 0

    def fit(self, cases: CaseTable) -> None:
        """Nothing to learn from the pool."""

    def refresh(self, epoch: int, seed: int) -> None:
        """Nothing to plan."""

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        """The labels stay as they are; sentences that name a side conflict."""
        self._record.alone()
        sided = bool(SIDE.search(anchor.report))
        self._without_side += not sided
        return Negative(
            transform=Mirror(),
            note={"names_a_side": int(sided)},
            shows=anchor.labels,
            mirrored=True,
        )

    def summary(self) -> Mapping[str, Any]:
        """See `Record.summary`; `without_side` draws contradict no word of the report."""
        return self._record.summary(without_side=self._without_side)
