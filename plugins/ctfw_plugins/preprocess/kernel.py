"""Separable linear resampling with small banded weight matrices.

Each axis is a row-stochastic matrix with few weights per row. It is cut into blocks of rows, each
dense over the columns it touches, so that a whole block is one small matrix product.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_ROWS = 16


@dataclass(frozen=True)
class Axis:
    """Sampling positions along one axis.

    size     voxels of the source
    centres  (n,) where each output voxel is sampled, in source voxel indices
    width    half-width of the triangle in source voxels: 1 is linear interpolation, more is
             anti-aliasing
    fill     samples beyond the source's outer edges get a background value; without it they
             repeat the nearest voxel
    """

    size: int
    centres: np.ndarray
    width: float = 1.0
    fill: bool = False

    @property
    def identity(self) -> bool:
        """Whether nothing changes along this axis."""
        return len(self.centres) == self.size and bool(
            np.allclose(self.centres, np.arange(self.size), atol=1e-9)
        )

    def blocks(self) -> Iterator[tuple[slice, slice, np.ndarray, np.ndarray]]:
        """(output rows, source columns, (rows, columns) weights, (rows,) background weight)."""
        for start in range(0, len(self.centres), _ROWS):
            rows = slice(start, min(start + _ROWS, len(self.centres)))
            yield (rows, *self._block(self.centres[rows]))

    def _block(self, centres: np.ndarray) -> tuple[slice, np.ndarray, np.ndarray]:
        reach = self.width
        inside = np.clip(centres, 0, self.size - 1)
        low = max(0, int(np.floor(inside.min() - reach)))
        high = min(self.size, int(np.ceil(inside.max() + reach)) + 1)
        weights = np.maximum(0.0, 1 - np.abs(np.arange(low, high) - inside[:, None]) / reach)
        weights /= weights.sum(1, keepdims=True)
        beyond = np.zeros(len(centres))
        if self.fill:
            beyond[(centres < -0.5) | (centres > self.size - 0.5)] = 1
            weights *= (1 - beyond)[:, None]
        return slice(low, high), weights.astype(np.float32), beyond


def resample(array: np.ndarray, z: Axis, y: Axis, x: Axis, background: float = 0.0) -> np.ndarray:
    """(z, y, x) numbers -> (len(z.centres), len(y.centres), len(x.centres)) float32.

    Works in slabs of 16 slices: beyond the result, memory holds one slab of the source, or, where
    z is enlarged, the source at the new in-plane size.
    """
    shape = (len(z.centres), len(y.centres), len(x.centres))
    out = np.empty(shape, np.float32)
    if z.identity:
        for start in range(0, shape[0], _ROWS):
            part = slice(start, start + _ROWS)
            out[part] = _plane(array[part], y, x, background)
    elif shape[0] <= z.size:
        for rows, columns, weights, beyond in z.blocks():
            out[rows] = _plane(
                _mix_z(array[columns], weights, beyond, background), y, x, background
            )
    else:
        flat = np.empty((z.size, *shape[1:]), np.float32)
        for start in range(0, z.size, _ROWS):
            part = slice(start, start + _ROWS)
            flat[part] = _plane(array[part], y, x, background)
        for rows, columns, weights, beyond in z.blocks():
            out[rows] = _mix_z(flat[columns], weights, beyond, background)
    return out


def _mix_z(
    slab: np.ndarray, weights: np.ndarray, beyond: np.ndarray, background: float
) -> np.ndarray:
    mixed = weights @ np.ascontiguousarray(slab, np.float32).reshape(len(slab), -1)
    mixed += (beyond * background).astype(np.float32)[:, None]
    return mixed.reshape(len(weights), *slab.shape[1:])


def _plane(slab: np.ndarray, y: Axis, x: Axis, background: float) -> np.ndarray:
    """Resample y, then x, of every slice of a slab."""
    slab = np.ascontiguousarray(slab, np.float32)
    if not y.identity:
        turned = np.empty((len(slab), len(y.centres), slab.shape[2]), np.float32)
        for rows, columns, weights, beyond in y.blocks():
            np.matmul(weights, slab[:, columns], out=turned[:, rows])
            if y.fill:
                turned[:, rows] += (beyond * background).astype(np.float32)[:, None]
        slab = turned
    if not x.identity:
        turned = np.empty((len(slab), slab.shape[1], len(x.centres)), np.float32)
        for rows, columns, weights, beyond in x.blocks():
            turned[:, :, rows] = slab[:, :, columns] @ weights.T
            if x.fill:
                turned[:, :, rows] += (beyond * background).astype(np.float32)
        slab = turned
    return slab
