"""A voxel grid that shapes are painted on, with soft edges of one voxel.

Coordinates are millimetres in LPS: x to the patient's left, y to the back, z to the head. Arrays
are (z, y, x). Shapes are painted in boxes around them, so that a small one costs little.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

Box = tuple[slice, slice, slice]
Point = tuple[float, float, float]

_CHUNK = 1 << 19  # voxels per pass when tubes are painted: bounds the memory at fine spacing


@dataclass(frozen=True, slots=True)
class Spot:
    """A planted lesion: `centre` (x, y, z) mm in LPS, the z indices it touches, where it lies."""

    label: int
    centre: Point
    size_mm: float
    slices: tuple[int, ...]
    side: str
    place: str


@dataclass
class Canvas:
    """hu (z, y, x) float32 in HU; mask (z, y, x) int32 bit field; lung (z, y, x) air-space share.

    origin and spacing in mm: voxel (k, j, i) has its centre at origin + spacing * (i, j, k).
    """

    origin: Point
    spacing: float
    shape: tuple[int, int, int]
    spots: list[Spot] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hu = np.full(self.shape, -1000, np.float32)
        self.mask = np.zeros(self.shape, np.int32)
        self.lung = np.zeros(self.shape, np.float32)
        nz, ny, nx = self.shape
        x0, y0, z0 = self.origin
        self.x = (x0 + self.spacing * np.arange(nx)).astype(np.float32)
        self.y = (y0 + self.spacing * np.arange(ny)).astype(np.float32)
        self.z = (z0 + self.spacing * np.arange(nz)).astype(np.float32)

    def box(self, low: Point, high: Point) -> Box:
        """Voxels between two corners (x, y, z), with one voxel to spare, cut at the border."""
        spans = []
        for axis in (2, 1, 0):  # z, y, x
            first = (low[axis] - self.origin[axis]) / self.spacing - 1
            last = (high[axis] - self.origin[axis]) / self.spacing + 2
            limit = self.shape[2 - axis]
            start = int(np.clip(np.floor(first), 0, limit))
            spans.append(slice(start, int(np.clip(np.ceil(last), start, limit))))
        return spans[0], spans[1], spans[2]

    def axes(self, box: Box) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, y, z of a box in mm, shaped to broadcast to (z, y, x)."""
        z, y, x = box
        return self.x[x], self.y[y][:, None], self.z[z][:, None, None]

    def soft(self, distance: np.ndarray) -> np.ndarray:
        """Share of a voxel inside a surface at signed `distance` mm (positive inside)."""
        share = distance / self.spacing
        share += 0.5
        return np.clip(share, 0, 1, out=share)

    def ellipsoid(self, centre: Point, radii: Point) -> tuple[Box, np.ndarray]:
        """Box and coverage (0..1) of an ellipsoid with its axes along x, y and z."""
        low = (centre[0] - radii[0], centre[1] - radii[1], centre[2] - radii[2])
        high = (centre[0] + radii[0], centre[1] + radii[1], centre[2] + radii[2])
        box = self.box(low, high)
        x, y, z = self.axes(box)
        flat = ((x - centre[0]) / radii[0]) ** 2 + ((y - centre[1]) / radii[1]) ** 2
        q = flat[None] + ((z - centre[2]) / radii[2]) ** 2
        np.sqrt(q, out=q)
        return box, self.soft((1 - q) * min(radii))

    def tube(self, points: np.ndarray, radius: float | np.ndarray) -> tuple[Box, np.ndarray]:
        """Box and coverage of balls along `points` (N, 3) as x, y, z; radius in mm, (N,) or one."""
        points = np.asarray(points, np.float32)
        radii = np.broadcast_to(np.asarray(radius, np.float32), (len(points),))
        reach = float(radii.max())
        low, high = points.min(0) - reach, points.max(0) + reach
        box = self.box((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        shape = tuple(part.stop - part.start for part in box)
        out = np.zeros(shape, np.float32)
        if out.size == 0:
            return box, out
        first = np.array([self.x[box[2]][0], self.y[box[1]][0], self.z[box[0]][0]], np.float32)
        place = (points - first) / np.float32(self.spacing)
        offsets = _ball(round(float(reach / self.spacing), 1))
        step = max(1, _CHUNK // len(offsets))
        for start in range(0, len(place), step):
            part = slice(start, start + step)
            _splat(out, place[part], radii[part] / np.float32(self.spacing), offsets)
        return box, out

    def paint(self, box: Box, cover: np.ndarray, hu: float | np.ndarray) -> None:
        """Blend `hu` in where `cover` (0..1) says."""
        view = self.hu[box]
        change = hu - view
        change *= cover
        view += change

    def plant(
        self,
        label: int,
        box: Box,
        cover: np.ndarray,
        hu: float | np.ndarray,
        size_mm: float,
        place: str = "",
        *,
        add: bool = False,
    ) -> None:
        """Paint (or, with `add`, add `hu` to) a lesion; mark its voxels; note it as a Spot."""
        if add:
            self.hu[box] += cover * hu
        else:
            self.paint(box, cover, hu)
        self.mark(label, box, cover > 0.4, size_mm, place)

    def mark(
        self, label: int, box: Box, inside: np.ndarray, size_mm: float, place: str = ""
    ) -> None:
        """Set the label's bit where `inside`, and note the lesion unless it is empty."""
        per_slice = inside.sum((1, 2))
        total = int(per_slice.sum())
        if total == 0:
            return
        self.mask[box] |= inside.astype(np.int32) << label
        x, y, z = self.axes(box)
        flat = inside.sum(0)
        centre = (
            float((flat.sum(0) * x).sum() / total),
            float((flat.sum(1) * y[:, 0]).sum() / total),
            float((per_slice * z[:, 0, 0]).sum() / total),
        )
        slices = tuple(int(k) for k in np.flatnonzero(per_slice) + box[0].start)
        side = next((word for word in ("right", "left") if place.startswith(word)), "")
        self.spots.append(Spot(label, centre, float(size_mm), slices, side, place))


@lru_cache(maxsize=256)
def _ball(radius: float) -> np.ndarray:
    """(M, 3) integer offsets x, y, z that cover a ball of `radius` voxels and its soft edge."""
    reach = int(np.ceil(radius + 1))
    span = np.arange(-reach, reach + 1)
    grid = np.stack(np.meshgrid(span, span, span, indexing="ij"), -1).reshape(-1, 3)
    return grid[(grid**2).sum(1) <= (radius + 1.5) ** 2]


def _splat(out: np.ndarray, place: np.ndarray, radii: np.ndarray, offsets: np.ndarray) -> None:
    """Raise `out` (z, y, x) to the coverage of balls at `place` (N, 3), all in voxels."""
    centre = np.rint(place).astype(np.int32)
    rest = (place - centre).astype(np.float32)
    shift = offsets.astype(np.float32)
    # |offset - rest|^2 without an (N, M, 3) array
    squared = (shift**2).sum(1)[None] - 2 * rest @ shift.T + (rest**2).sum(1)[:, None]
    cover = np.clip(radii[:, None] - np.sqrt(np.maximum(squared, 0)) + 0.5, 0, 1)
    nz, ny, nx = out.shape
    strides = np.array([1, nx, nx * ny], np.int32)
    inside = np.ones(cover.shape, bool)
    for axis, limit in enumerate((nx, ny, nz)):
        index = centre[:, axis, None] + offsets[None, :, axis].astype(np.int32)
        inside &= (index >= 0) & (index < limit)
    inside &= cover > 0
    flat = (centre @ strides)[:, None] + (offsets.astype(np.int32) @ strides)[None]
    np.maximum.at(out.reshape(-1), flat[inside], cover[inside])


def line(*corners: Point, step: float) -> np.ndarray:
    """(N, 3) points along straight pieces through `corners`, at most `step` mm apart."""
    parts = []
    for start, stop in itertools.pairwise(corners):
        length = float(np.linalg.norm(np.subtract(stop, start)))
        t = np.linspace(0, 1, max(2, int(np.ceil(length / step)) + 1), dtype=np.float32)[:, None]
        parts.append(np.array(start, np.float32) * (1 - t) + np.array(stop, np.float32) * t)
    return np.concatenate(parts)


def bend(start: Point, middle: Point, stop: Point, step: float) -> np.ndarray:
    """(N, 3) points of a quadratic Bezier curve, about `step` mm apart."""
    length = np.linalg.norm(np.subtract(middle, start)) + np.linalg.norm(np.subtract(stop, middle))
    t = np.linspace(0, 1, max(3, int(length / step) + 1), dtype=np.float32)[:, None]
    first, second, third = (np.array(p, np.float32) for p in (start, middle, stop))
    return (1 - t) ** 2 * first + 2 * t * (1 - t) * second + t**2 * third
