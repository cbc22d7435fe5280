"""Where a volume lies: checks of its affine, one orientation for all, a table's spacing.

Everything after `canonical` may rely on this: x grows to the patient's left, y to posterior,
z to superior (LPS, the order of an axial picture with anterior up), whatever the file had.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np

from ctfw.errors import UnreadableVolume
from ctfw.types import Case, Volume, orientation_of
from ctfw.volumes.stream import Planes, SliceStream

Grid = TypeVar("Grid", Volume, SliceStream)

SPACING_MM = (0.05, 20.0)
MAX_SHEAR_DEG = 0.5
MAX_OBLIQUE_DEG = 20.0
_WORTH_TELLING_DEG = 1.0
_LPS_SIGNS = (-1.0, -1.0, 1.0)


def lps_affine(spacing_mm: tuple[float, float, float]) -> np.ndarray:
    """4x4 of an axial volume in LPS order with the first voxel at 0; spacing in (x, y, z)."""
    return np.diag([sign * step for sign, step in zip(_LPS_SIGNS, spacing_mm)] + [1.0])


def check_affine(affine: np.ndarray) -> None:
    """Raise UnreadableVolume for spacing that cannot be, shear, or a strong rotation.

    Shear is an angle between two voxel axes that is more than 0.5 degrees off 90 (a gantry tilt
    that was not corrected). A rotation up to 20 degrees is kept: the voxel axes stay and the
    affine says where they point.
    """
    if not np.isfinite(affine).all():
        raise UnreadableVolume("the affine has values that are not finite: no spacing is known")
    matrix = affine[:3, :3]
    spacing = np.linalg.norm(matrix, axis=0)
    low, high = SPACING_MM
    if not ((spacing >= low) & (spacing <= high)).all():
        words = " x ".join(f"{step:g}" for step in spacing)
        raise UnreadableVolume(
            f"spacing {words} mm (x, y, z) is not that of a CT ({low:g} to {high:g} mm): the "
            "header's geometry or its unit is wrong"
        )
    unit = matrix / spacing
    skew = np.degrees(np.arcsin(np.clip(np.abs(unit.T @ unit - np.eye(3)).max(), 0, 1)))
    if skew > MAX_SHEAR_DEG:
        raise UnreadableVolume(
            f"the voxel axes are sheared by {skew:.1f} degrees (gantry tilt, or a registration "
            "stored in the sform): resample it to a straight grid first"
        )
    oblique = oblique_deg(affine)
    if oblique > MAX_OBLIQUE_DEG:
        raise UnreadableVolume(
            f"the volume is rotated by {oblique:.0f} degrees against the patient's axes (limit "
            f"{MAX_OBLIQUE_DEG:g}): resample it to axial slices first"
        )


def oblique_deg(affine: np.ndarray) -> float:
    """Largest angle between a voxel axis and the patient's axis nearest to it."""
    unit = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.degrees(np.arccos(np.clip(np.abs(unit).max(axis=0).min(), 0, 1))))


@dataclass(frozen=True)
class _Turn:
    """Flips and a permutation that bring a grid to LPS.

    order  the old axis (of x, y, z) that becomes each new one
    flips  whether each new axis runs against the old one
    index  4x4, new voxel index (x, y, z, 1) -> old voxel index
    was    the orientation before
    """

    order: tuple[int, ...]
    flips: tuple[bool, ...]
    index: np.ndarray
    was: str

    def __call__(self, array: np.ndarray) -> np.ndarray:
        """A view of an array whose axes are (z, y, x) of the old grid."""
        steps = tuple(slice(None, None, -1 if flip else 1) for flip in self.flips)
        return array.T.transpose(self.order)[steps].T

    def note(self, grid: Grid) -> Grid:
        text = f"turned from {self.was} to LPS by flips and permutations"
        return grid.noting("orientation", text, was=self.was)


def to_lps(volume: Volume) -> Volume:
    """The same voxels with x to the left, y to posterior, z to superior; affine updated.

    Only flips and permutes axes, so no value changes. Returns `volume` itself when nothing is to
    be done. Raises UnreadableVolume as `check_affine` does.
    """
    turn = _turn(volume.affine, volume.array.shape, volume.positions_mm)
    if turn is None:
        return volume
    array = np.ascontiguousarray(turn(volume.array))
    return turn.note(volume.but(array=array, affine=volume.affine @ turn.index))


def canonical(slices: SliceStream, case: Case | None = None) -> SliceStream:
    """`slices` in LPS with a checked affine; the data set's table is consulted first.

    Flips and an exchange of x and y work slice by slice; where another axis has to become z, the
    volume is held in memory while it is read.
    """
    slices = use_table(slices, case)
    turn = _turn(slices.affine, slices.shape, slices.positions_mm)
    if turn is None:
        return slices
    if turn.order[2] == 2:
        turned = _turned_in_plane(slices, turn)
    else:
        turned = _turned_whole(slices, turn)
    return turn.note(turned.but(affine=slices.affine @ turn.index))


def tell_oblique(slices: SliceStream) -> SliceStream:
    """A decision about axes that do not run along the patient's; what is read stays as it is."""
    if (angle := oblique_deg(slices.affine)) <= _WORTH_TELLING_DEG:
        return slices
    return slices.noting(
        "geometry",
        f"the volume is rotated by {angle:.0f} degrees against the patient's axes: the voxel "
        "axes are kept, and the affine says where they point",
        degrees=round(angle, 1),
    )


def _turned_whole(slices: SliceStream, turn: _Turn) -> SliceStream:
    def read(numbers: Sequence[int]) -> Planes:
        array = turn(slices.collect().array)
        return ((number, np.ascontiguousarray(array[number])) for number in numbers)

    x, y, z = (slices.shape[::-1][axis] for axis in turn.order)
    return slices.but(shape=(z, y, x), read=read, descending=False, random=False)


def _turned_in_plane(slices: SliceStream, turn: _Turn) -> SliceStream:
    last, upside_down = slices.shape[0] - 1, turn.flips[2]
    flat = _Turn(turn.order, (*turn.flips[:2], False), turn.index, turn.was)

    def read(numbers: Sequence[int]) -> Planes:
        asked = sorted(last - n for n in numbers) if upside_down else numbers
        for number, plane in slices.read(asked):
            yield last - number if upside_down else number, flat(plane[None])[0]

    height, width = slices.shape[1:] if turn.order[0] == 0 else slices.shape[:0:-1]
    return slices.but(
        shape=(last + 1, height, width),
        read=read,
        descending=slices.descending != upside_down,
    )


def _turn(
    affine: np.ndarray, shape: tuple[int, ...], positions_mm: np.ndarray | None
) -> _Turn | None:
    """What brings a (z, y, x) grid to LPS; None where nothing has to be done."""
    check_affine(affine)
    matrix = affine[:3, :3]
    nearest = [int(np.argmax(np.abs(column))) for column in matrix.T]
    order = tuple(nearest.index(axis) for axis in range(3))
    flips = tuple(bool(matrix[axis, order[axis]] * _LPS_SIGNS[axis] < 0) for axis in range(3))
    if order == (0, 1, 2) and not any(flips):
        return None
    if positions_mm is not None and (order[2] != 2 or flips[2]):
        raise UnreadableVolume(
            "chosen slices cannot be turned: bring the volume to LPS before slices are chosen"
        )
    index = np.eye(4)
    index[:3, :3] = 0
    for axis, (old, flip) in enumerate(zip(order, flips, strict=True)):
        index[old, axis] = -1 if flip else 1
        index[old, 3] = shape[::-1][old] - 1 if flip else 0
    return _Turn(order, flips, index, orientation_of(affine))


def use_table(grid: Grid, case: Case | None) -> Grid:
    """Compare the header's spacing with the data set's table (`XYSpacing`, `ZSpacing` in mm).

    They agree within 1 %: noted. The header has the unit spacing of a file without geometry
    (CT-RATE's first release): the table is used, and the axes are taken as LPS, the order of the
    table's ImageOrientationPatient. Anything else raises UnreadableVolume.
    """
    table = _table_spacing(case)
    if table is None:
        return grid
    z, y, x = grid.spacing_mm
    header = np.array([x, y, z])
    told = " x ".join(f"{step:g}" for step in table)
    if np.allclose(header, table, rtol=0.01, atol=0):
        return grid.noting("geometry", f"header and table agree on {told} mm (x, y, z)")
    if np.allclose(header, 1.0, atol=1e-4):
        return grid.but(affine=lps_affine(table)).noting(
            "geometry",
            f"the header has unit spacing, so the table's {told} mm (x, y, z) is used; axes are "
            "taken as LPS",
        )
    had = " x ".join(f"{step:g}" for step in header)
    raise UnreadableVolume(
        f"the header says {had} mm and the data set's table {told} mm (x, y, z): one of them "
        "belongs to another volume"
    )


def _table_spacing(case: Case | None) -> tuple[float, float, float] | None:
    hints = case.hints if case is not None else {}
    plane, step = _numbers(hints.get("XYSpacing")), _numbers(hints.get("ZSpacing"))
    if not plane or not step:
        return None
    x, y = (plane * 2)[:2] if len(plane) == 1 else plane[:2]
    return x, y, step[0]


def _numbers(value: Any) -> list[float]:
    """Positive finite numbers of a cell such as `"[0.68, 0.68]"`, `0.68` or `(0.68, 0.68)`."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return []
    items = value if isinstance(value, (list, tuple)) else [value]
    numbers = [float(item) for item in items if isinstance(item, (int, float))]
    return numbers if numbers and all(np.isfinite(n) and n > 0 for n in numbers) else []
