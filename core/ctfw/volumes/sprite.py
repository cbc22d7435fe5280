"""Slices as an 8-bit picture for the report page, and outlines drawn over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ctfw.types import Case, Volume
from ctfw.volumes.overlay import mask_on

DISPLAY = (-1.0, 0.4)  # of the normalised volume: -1000 to 400 HU, lung and soft tissue both seen


def write_sprite(volume: Volume, path: Path) -> None:
    """All slices under each other, first slice on top, as one 8-bit grey PNG."""
    from PIL import Image

    low, high = DISPLAY if volume.intensity != "hu" else (DISPLAY[0] * 1000, DISPLAY[1] * 1000)
    scaled = (np.asarray(volume.array, np.float32) - low) / (high - low)
    grey = (np.clip(scaled, 0, 1) * 255).astype(np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(grey.reshape(-1, grey.shape[2])).save(path, optimize=True)


def outlines(volume: Volume, case: Case, label_names: tuple[str, ...]) -> list[dict[str, Any]]:
    """One entry per planted or annotated finding: label, size, side and polygons per slice.

    Polygons are lists of [x, y] in pixels of the slice; empty without a mask.
    """
    if case.mask is None:
        return []
    from contourpy import contour_generator

    codes = mask_on(volume, case.mask)
    found = []
    for index, name in enumerate(label_names):
        bits = (codes >> index) & 1
        polygons = {}
        for k in np.flatnonzero(bits.any(axis=(1, 2))):
            padded = np.pad(bits[k].astype(float), 1)
            lines: Any = contour_generator(z=padded).lines(0.5)
            polygons[str(int(k))] = [np.round(line - 1, 1).tolist() for line in lines]
        if polygons:
            found.append({"label": name, **_facts(case, name), "outlines": polygons})
    return found


def _facts(case: Case, label: str) -> dict[str, Any]:
    """Largest size and the sides of a case's lesions of one label."""
    lesions = [lesion for lesion in case.lesions if lesion.label == label]
    sides = sorted({lesion.side for lesion in lesions if lesion.side})
    size = max((lesion.size_mm for lesion in lesions), default=None)
    return {"size_mm": size, "side": " and ".join(sides)}
