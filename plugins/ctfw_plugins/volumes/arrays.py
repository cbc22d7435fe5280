"""What the loaders share: the smallest array that holds the values, and finite voxels."""

from __future__ import annotations

import numpy as np

_INT16 = np.iinfo(np.int16)


def rescaled(stored: np.ndarray, slope: float, intercept: float) -> np.ndarray:
    """stored x slope + intercept, as int16 where every value is a whole number that fits.

    Whole numbers stay exact; everything else becomes float32.
    """
    if stored.dtype == np.int16 and slope == 1 and intercept == 0:
        return np.ascontiguousarray(stored)
    whole = (
        stored.dtype.kind in "iub" and float(slope).is_integer() and float(intercept).is_integer()
    )
    if whole and stored.size:
        ends = [int(stored.min()) * int(slope) + int(intercept)]
        ends.append(int(stored.max()) * int(slope) + int(intercept))
        if min(ends) >= _INT16.min and max(ends) <= _INT16.max:
            if slope == 1 and intercept == 0:
                return np.ascontiguousarray(stored.astype(np.int16, copy=False))
            return (stored.astype(np.int32) * int(slope) + int(intercept)).astype(np.int16)
    if slope == 1 and intercept == 0:
        return np.ascontiguousarray(stored.astype(np.float32, copy=False))
    return (stored.astype(np.float64) * slope + intercept).astype(np.float32)


def finite(array: np.ndarray, fill: float) -> tuple[np.ndarray, int]:
    """(array with `fill` in place of NaN and infinite voxels, how many there were)."""
    if array.dtype.kind != "f":
        return array, 0
    good = np.isfinite(array)
    bad = int(array.size - np.count_nonzero(good))
    return (np.where(good, array, np.float32(fill)), bad) if bad else (array, 0)


def nonfinite_voxels(bad: int, total: int) -> str:
    """Why a file with voxels that are not finite is refused."""
    return (
        f"{bad} of {total} voxels are NaN or infinite, and interpolation would spread them; mend "
        "the file, or set the loader's `nonfinite` to a fill value such as -1024"
    )
