"""Where body and lungs lie, by air inside tissue. Coarse on purpose: it only frames pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctfw.errors import UserError
from ctfw.types import HU, NORMALISED, Decision, Volume

_AIR_BELOW_HU = -500.0
_COARSE = 96
_LUNG_SHARE = 0.15
_LEAST_LUNG = 0.01
_TABLE_MM = 20.0
_SCALE = {"low", "high", "divide_by"}  # noted by what normalised the values


def to_value(volume: Volume, hu: float) -> float:
    """What `hu` is on the scale of this volume. Raises UserError when that is not known."""
    return value_of(volume.intensity, volume.provenance, hu)


def value_of(intensity: str, decisions: Sequence[Decision], hu: float) -> float:
    """What `hu` is on the scale that these decisions made. Raises UserError as `to_value`."""
    if intensity == HU:
        return hu
    if intensity == NORMALISED:
        for decision in reversed(decisions):
            values = decision.values
            if values.keys() >= _SCALE:
                return float(np.clip(hu, values["low"], values["high"]) / values["divide_by"])
    raise UserError(
        f"body and lungs are found by their HU, and the volume is '{intensity}': put "
        "rescale-hu first"
    )


def coarse(volume: Volume) -> tuple[np.ndarray, int]:
    """((z, y', x') bool of tissue on every step-th pixel, step)."""
    step = max(1, max(volume.array.shape[1:]) // _COARSE)
    return volume.array[:, ::step, ::step] > to_value(volume, _AIR_BELOW_HU), step


def body(tissue: np.ndarray, thick: int = 1) -> np.ndarray:
    """(z, y, x) bool: pixels with tissue at or to the left, right, front and back of them.

    At the back only tissue counts that is `thick` rows deep, so that a table top and the gap
    above it stay outside.
    """
    left = np.logical_or.accumulate(tissue, 2)
    right = np.logical_or.accumulate(tissue[:, :, ::-1], 2)[:, :, ::-1]
    front = np.logical_or.accumulate(tissue, 1)
    back = np.logical_or.accumulate(_deep(tissue, thick)[:, ::-1], 1)[:, ::-1]
    return left & right & front & back


def _deep(tissue: np.ndarray, thick: int) -> np.ndarray:
    """Tissue in vertical runs of at least `thick` rows (a morphological opening)."""
    rows = tissue.shape[1]
    thick = min(thick, rows)
    starts = tissue[:, : rows - thick + 1].copy()
    for shift in range(1, thick):
        starts &= tissue[:, shift : rows - thick + 1 + shift]
    deep = np.zeros_like(tissue)
    for shift in range(thick):
        deep[:, shift : rows - thick + 1 + shift] |= starts
    return deep


def lung_slices(volume: Volume) -> tuple[int, int] | None:
    """[first, last] slice whose air inside the body is 15 % of the largest or more.

    None when no slice has air inside the body on 1 % of its pixels.
    """
    tissue, step = coarse(volume)
    area = (body(tissue, _rows(volume, step)) & ~tissue).mean((1, 2))
    if area.max() < _LEAST_LUNG:
        return None
    shown = np.flatnonzero(area >= _LUNG_SHARE * area.max())
    return int(shown[0]), int(shown[-1])


def box(volume: Volume, what: str) -> tuple[float, float, float, float] | None:
    """(x0, x1, y0, y1) edges in voxels of the body or the lungs over all slices, or None.

    A row or column belongs to it when it holds 2 % of what the fullest one holds, so that specks
    do not count.
    """
    tissue, step = coarse(volume)
    inside = body(tissue, _rows(volume, step))
    mask = inside & ~tissue if what == "lungs" else inside
    if mask.mean() < _LEAST_LUNG:
        return None
    edges: list[float] = []
    for axes, size in (((0, 1), volume.array.shape[2]), ((0, 2), volume.array.shape[1])):
        profile = mask.mean(axes)
        found = np.flatnonzero(profile >= 0.02 * profile.max())
        edges += [float(found[0] * step), float(min(size, (found[-1] + 1) * step))]
    return edges[0], edges[1], edges[2], edges[3]


def _rows(volume: Volume, step: int) -> int:
    """Rows of the coarse mask that a table top is thinner than."""
    return max(1, round(_TABLE_MM / (volume.spacing_mm[1] * step)))
