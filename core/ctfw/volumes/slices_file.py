"""The slices that a model sees, in HU, as a file for tools that do not know ctfw."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ctfw.runs.files import whole_file
from ctfw.types import HU, Volume


def hu_scale(volume: Volume) -> float:
    """HU per unit of a normalised volume, from the decision that normalised it."""
    for decision in reversed(volume.provenance):
        if "divide_by" in decision.values:
            return float(decision.values["divide_by"])
    return 1.0 if volume.intensity == HU else 1000.0


def write_slices(volume: Volume, file: Path) -> Path:
    """Write a preprocessed volume as NPZ and return `file`.

    hu            (z, y, x) float32, Hounsfield units, clamped where the preprocessing clamps
    positions_mm  (z,) float64, distance of each slice along the scan axis

    Raises CannotWrite; a file of that name is then still what it was.
    """
    with whole_file(file) as temporary, temporary.open("wb") as stream:
        np.savez_compressed(
            stream,
            hu=np.asarray(volume.array, np.float32) * np.float32(hu_scale(volume)),
            positions_mm=np.asarray(volume.slice_positions_mm, np.float64),
        )
    return file
