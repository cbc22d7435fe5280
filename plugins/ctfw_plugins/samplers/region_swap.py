"""Sampler `same-region-swap`: a region of a conflicting patient in the anchor's scan.

Most of the image is the anchor's own. What tells the negative lies in one region, so a model that
looks at the scan as a whole ("another person", "very ill") finds nothing there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctfw.errors import BadData
from ctfw.types import Case, CaseTable, Negative, Volume, orientation_of
from ctfw_plugins.samplers.configs import HeterConfig, RegionSwapConfig
from ctfw_plugins.samplers.heter import Heter


@dataclass(frozen=True)
class Graft:
    """The donor's box in the anchor's volume; picklable.

    side         "left" or "right" of the patient
    start        where the box begins, as a share of the room that it has along (z, y)
    size, depth  see `RegionSwapConfig`
    feather_px   pixels over which it fades, within the slice
    """

    side: str
    start: tuple[float, float]
    size: float
    depth: float
    feather_px: int

    def __call__(self, anchor: Volume, donor: Volume) -> Volume:
        """A volume on the anchor's grid. Raises BadData where the shapes differ: the same region
        is then not at the same place."""
        if anchor.array.shape != donor.array.shape:
            raise BadData(
                f"same-region-swap needs scans of one shape, not {anchor.array.shape} and "
                f"{donor.array.shape}; end data.preprocess with `slices` and `fit`"
            )
        weight = self.weight(anchor)
        mixed = (1 - weight) * anchor.array + weight * donor.array
        return anchor.but(array=mixed.astype(np.float32)).noting(
            "same-region-swap", f"the {self.side} side is another patient's: a negative, not a scan"
        )

    def weight(self, volume: Volume) -> np.ndarray:
        """(z, y, x) in [0, 1]: how much of the donor each voxel holds."""
        depth, height, width = volume.array.shape
        along = _profile(depth, self.depth, self.start[0], 0)
        down = _profile(height, self.size, self.start[1], self.feather_px)
        half = width // 2
        # A patient's left is where x grows to in RAS+: at the end of the axis, or at its start.
        at_end = (self.side == "left") == (orientation_of(volume.affine)[0] == "L")
        across = np.zeros(width)
        profile = _profile(half, self.size, 0.5, self.feather_px)
        across[width - half :] = profile if at_end else 0
        across[:half] += 0 if at_end else profile
        weight: np.ndarray = along[:, None, None] * down[:, None] * across
        return weight.astype(np.float32)


class RegionSwap:
    """Donors are the partners that `heter` would draw, under the same rules."""

    def __init__(self, config: RegionSwapConfig, context: Any = None) -> None:
        self.config = config
        self._donors = Heter(
            HeterConfig(
                min_label_distance=config.min_label_distance,
                max_uses=config.max_uses,
                match_burden=config.match_burden,
            ),
            name="same-region-swap",
        )

    def fit(self, cases: CaseTable) -> None:
        """Keep the pool. Raises BadData as `heter` does."""
        self._donors.fit(cases)

    def refresh(self, epoch: int, seed: int) -> None:
        """Plan every anchor's donor for an epoch."""
        self._donors.refresh(epoch, seed)

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        """The donor's labels stand for what the image shows, although some of the anchor's own
        findings are still in it."""
        negative = self._donors.draw(anchor, rng)
        side = self.config.region
        if side == "both":
            side = "left" if rng.random() < 0.5 else "right"
        start = (float(rng.random()), float(rng.random()))
        graft = Graft(side, start, self.config.size, self.config.depth, self.config.feather_px)
        return Negative(case=negative.case, graft=graft, note={**negative.note, "side": side})

    def summary(self) -> Mapping[str, Any]:
        """See `Record.summary`; partners are donors."""
        return self._donors.summary()


def _profile(length: int, share: float, start: float, feather: int) -> np.ndarray:
    """(length,) 1 inside a run of `share` of it, 0 outside, falling off over `feather` inside."""
    size = max(1, round(share * length))
    first = round(start * (length - size))
    place = np.arange(length)
    inside = np.minimum(place - first + 1, first + size - place) / (feather + 1)
    return np.clip(inside, 0.0, 1.0)
