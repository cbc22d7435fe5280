"""Separable linear resampling with small banded weight matrices.

Each axis is a row-stochastic matrix with few weights per row. It is cut into blocks of rows, each
dense over the columns it touches, so that a whole block is one small matrix product. Slices are
mixed along z before y and x where that leaves fewer planes to work on, and after it elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ctfw.volumes.stream import Planes, Read, SliceStream, gathered

_ROWS = 16
_PARTS = 4  # of a slab, mixed one after the other
_SLAB_BYTES = 1 << 20  # float32 rows that are mixed and used while they are in the cache

Part = tuple[float, np.ndarray]
Block = tuple[slice, slice, np.ndarray, np.ndarray]


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

    @cached_property
    def blocks(self) -> list[Block]:
        """(output, source, (source, output) weights, (output,) background weight) of each block."""
        found = []
        for start in range(0, len(self.centres), _ROWS):
            rows = slice(start, min(start + _ROWS, len(self.centres)))
            columns, weights, beyond = self._block(self.centres[rows])
            # Contiguous, because a product with a turned view of it takes twice as long.
            found.append((rows, columns, np.ascontiguousarray(weights.T), beyond))
        return found

    def taps(self, row: int) -> tuple[int, np.ndarray]:
        """(first source voxel, its and the following weights) of one output voxel."""
        columns, weights, _ = self._block(self.centres[row : row + 1])
        return columns.start, weights[0]

    def _block(self, centres: np.ndarray) -> tuple[slice, np.ndarray, np.ndarray]:
        reach = self.width
        inside = np.clip(centres, 0, self.size - 1)
        low = max(0, int(np.floor(inside.min() - reach)))
        high = min(self.size, int(np.ceil(inside.max() + reach)) + 1)
        weights = np.maximum(0.0, 1 - np.abs(np.arange(low, high) - inside[:, None]) / reach)
        used = np.flatnonzero(weights.any(0))
        low, high = low + int(used[0]), low + int(used[-1]) + 1
        weights = weights[:, used[0] : used[-1] + 1]
        weights /= weights.sum(1, keepdims=True)
        beyond = np.zeros(len(centres))
        if self.fill:
            beyond[(centres < -0.5) | (centres > self.size - 0.5)] = 1
            weights *= (1 - beyond)[:, None]
        return slice(low, high), weights.astype(np.float32), beyond


class InPlane:
    """A weighted sum of planes (y, x), resampled along x and y to float32.

    The result's memory is ordered (x, y): the product along y writes its output turned, which
    costs nothing there, and the paper's store wants that order. Memory in between is used again
    for the next plane, so one instance serves one reader.
    """

    def __init__(self, y: Axis, x: Axis, background: float = 0.0) -> None:
        self.y, self.x, self.background = y, x, background
        self._rows = min(y.size, max(_ROWS, _SLAB_BYTES // (4 * max(1, x.size))))
        if not x.identity:
            self._mixed = np.empty((self._rows, x.size), np.float32)
            self._other = np.empty((-(-self._rows // _PARTS), x.size), np.float32)
        self._wide = np.empty((y.size, len(x.centres)), np.float32)

    def __call__(self, parts: Sequence[Part]) -> np.ndarray:
        """(y', x') of the sum of weight x plane over `parts`."""
        wide = self._along_x(parts)
        if self.y.identity:
            return wide
        turned = np.empty((len(self.x.centres), len(self.y.centres)), np.float32)
        for rows, columns, weights, beyond in self.y.blocks:
            np.matmul(wide[columns].T, weights, out=turned[:, rows])
            if self.y.fill and beyond.any():
                turned[:, rows] += (beyond * self.background).astype(np.float32)
        return turned.T

    def _along_x(self, parts: Sequence[Part]) -> np.ndarray:
        """(y, x'), a few rows at a time so that what is mixed is still in the cache."""
        if self.x.identity:
            return mix(parts)
        wide = np.empty_like(self._wide) if self.y.identity else self._wide
        for start in range(0, self.y.size, self._rows):
            rows = slice(start, min(start + self._rows, self.y.size))
            mixed = self._mixed[: rows.stop - rows.start]
            for first in range(0, len(mixed), len(self._other)):
                some = mixed[first : first + len(self._other)]
                few = slice(start + first, start + first + len(some))
                mix([(w, plane[few]) for w, plane in parts], some, self._other[: len(some)])
            for columns, source, weights, beyond in self.x.blocks:
                np.matmul(mixed[:, source], weights, out=wide[rows, columns])
                if self.x.fill and beyond.any():
                    wide[rows, columns] += (beyond * self.background).astype(np.float32)
        return wide


def resample(array: np.ndarray, z: Axis, y: Axis, x: Axis, background: float = 0.0) -> np.ndarray:
    """(z, y, x) numbers -> (len(z.centres), len(y.centres), len(x.centres)) float32."""

    def read(numbers: Sequence[int]) -> Planes:
        return ((number, array[number]) for number in numbers)

    out = np.empty((len(z.centres), len(y.centres), len(x.centres)), np.float32)
    for number, plane in planes(read, False, z, y, x, background)(range(len(out))):
        out[number] = plane
    return out


def resampled(source: SliceStream, z: Axis, y: Axis, x: Axis) -> SliceStream:
    """The slices on the new grid; the affine is the caller's to set."""
    shape = (len(z.centres), len(y.centres), len(x.centres))
    return source.but(shape=shape, read=planes(source.read, source.descending, z, y, x))


def planes(
    source: Read, descending: bool, z: Axis, y: Axis, x: Axis, background: float = 0.0
) -> Read:
    """A reader of resampled planes. Memory holds the source planes of one result, and no more."""
    in_plane = InPlane(y, x, background)
    # Where z gains slices, each source plane is resampled once and mixed afterwards.
    mix_last = len(z.centres) > z.size

    def read(numbers: Sequence[int]) -> Planes:
        taps = {number: z.taps(number) for number in numbers}
        needs = {number: range(first, first + len(w)) for number, (first, w) in taps.items()}
        if not mix_last:
            for number, rows in gathered(source, descending, needs):
                yield number, in_plane(list(zip(taps[number][1].tolist(), rows)))
            return
        for number, rows in gathered(source, descending, needs, lambda p: in_plane([(1.0, p)])):
            yield number, mix(list(zip(taps[number][1].tolist(), rows)))

    return read


def mix(
    parts: Sequence[Part], out: np.ndarray | None = None, other: np.ndarray | None = None
) -> np.ndarray:
    """Sum of weight x plane as float32; `out` and `other` are memory to use, where given."""
    weight, plane = parts[0]
    total = np.multiply(plane, np.float32(weight), out=out, dtype=np.float32)
    for weight, plane in parts[1:]:
        other = np.multiply(plane, np.float32(weight), out=other, dtype=np.float32)
        total += other
    return total
