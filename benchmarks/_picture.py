"""A coarse picture of a volume, to see that two arrays show the same thing the same way round."""

from __future__ import annotations

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

PARTS = 6
Picture = list[list[list[float]]]
_PLANES = 32


def coarse(slabs: Iterable[np.ndarray]) -> Picture:
    """Slabs (n, a, b), one after the other along the first axis -> means of 6 x 6 x 6 equal parts.

    A voxel on the border of two parts counts for each with its share.
    """
    rows = [_shares(slab.shape[1]) @ slab @ _shares(slab.shape[2]).T for slab in slabs]
    planes = np.concatenate(rows)
    means: Picture = np.tensordot(_shares(len(planes)), planes, 1).round(5).tolist()
    return means


def _shares(size: int) -> np.ndarray:
    """(PARTS, size) float32: the weight of each voxel in the mean of each part."""
    voxels = np.arange(size)
    first = np.arange(PARTS)[:, None] * size / PARTS
    overlap = np.minimum(voxels + 1, first + size / PARTS) - np.maximum(voxels, first)
    return (np.maximum(overlap, 0) * PARTS / size).astype(np.float32)


def of_array(array: np.ndarray) -> Picture:
    """The picture of an array that may lie on disk."""
    starts = range(0, len(array), _PLANES)
    return coarse(np.asarray(array[a : a + _PLANES], np.float32) for a in starts)


def of_source(path: Path, shape: tuple[int, int, int], slope: float, intercept: float) -> Picture:
    """The picture, with axes (z, x, y), that a right result has: HU clamped to +-1000, by 1000.

    `shape` is (x, y, z) of an int16 file with a header of 352 bytes. Made without any resampling.
    """
    x, y, z = shape

    def slabs() -> Iterator[np.ndarray]:
        with gzip.open(path, "rb") as stream:
            stream.read(352)
            for start in range(0, z, _PLANES):
                content = stream.read(2 * x * y * min(_PLANES, z - start))
                stored = np.frombuffer(content, "<i2").astype(np.float32)
                hu = stored * np.float32(slope) + np.float32(intercept)
                yield (np.clip(hu, -1000, 1000) / 1000).reshape(-1, y, x).swapaxes(1, 2)

    return coarse(slabs())


def difference(one: Picture, other: Picture) -> float:
    """Largest absolute difference of two pictures."""
    return float(np.abs(np.subtract(one, other)).max())
