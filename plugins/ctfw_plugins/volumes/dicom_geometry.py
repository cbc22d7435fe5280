"""Where the slices of a stack lie: order, steps, and the affine of the volume.

Geometry after DICOM PS3.3 C.7.6.2.1.1 (equation C.7.6.2.1-1); DICOM's LPS millimetres become RAS+.
Only positions count: neither SliceThickness nor SpacingBetweenSlices nor PatientPosition is read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ctfw.errors import UnreadableVolume
from ctfw_plugins.volumes.dicom_slices import Slice

SAME_PLACE_MM = 0.01
_HOLE = 1.5
_UNEVEN = 0.05
_UNEVEN_MM = 0.1
_TILT_DEG = 0.5
_SIDEWAYS_MM = 0.5
_FEW = 2
_SHOWN = 3
_TO_RAS = np.diag([-1.0, -1.0, 1.0])


def in_order(slices: Sequence[Slice]) -> list[Slice]:
    """The slices by their position along the common normal, with `along` set."""
    normal = normal_of(slices[0])
    placed = [replace(part, along=float(np.dot(part.position, normal))) for part in slices]
    return sorted(placed, key=lambda part: (part.along, part.instance))


def normal_of(part: Slice) -> np.ndarray:
    """(3,) unit vector, LPS."""
    normal = np.cross(*np.reshape(part.orientation, (2, 3)))
    return normal / np.linalg.norm(normal)


def is_axial(part: Slice) -> bool:
    """Whether the plane is nearer to axial than to any other plane of the patient."""
    return int(np.argmax(np.abs(normal_of(part)))) == 2


def step_mm(slices: Sequence[Slice]) -> float:
    """Mean distance along the normal; 0 for one slice."""
    return (slices[-1].along - slices[0].along) / max(1, len(slices) - 1)


def extent_mm(slices: Sequence[Slice]) -> float:
    """From the first to the last slice."""
    return slices[-1].along - slices[0].along


def unevenness(slices: Sequence[Slice]) -> str:
    """What keeps ordered slices from being one volume, naming the place; "" when nothing does.

    The rule: no two slices at the same place; no step above 1.5 times the usual one (a hole); and
    every slice within 5 % of the step, or 0.1 mm where that is more, of an even grid. The usual
    step is the lower median, so that a missing slice does not change it.
    """
    if len(slices) < 2:
        return ""
    at = np.array([part.along for part in slices])
    steps = np.diff(at)
    if steps.min() < SAME_PLACE_MM:
        where = at[int(np.argmin(steps))]
        count = int(np.count_nonzero(steps < SAME_PLACE_MM))
        return (
            f"duplicate slices: {count} pairs at the same place, the first at {where:.2f} mm, and "
            "no tag tells two stacks apart. Two reconstructions or time points may be mixed: give "
            "the folder of one"
        )
    usual = float(np.sort(steps)[(len(steps) - 1) // 2])
    wide = np.flatnonzero(steps > _HOLE * usual)
    if len(wide) and (len(wide) <= _FEW or len(wide) <= len(steps) / 4):
        return _holes(at, steps, usual, wide)
    index = np.arange(len(at))
    off = np.abs(at - np.polyval(np.polyfit(index, at, 1), index))
    if off.max() > max(_UNEVEN * float(np.median(steps)), _UNEVEN_MM):
        return (
            f"uneven slice steps, from {steps.min():.4g} to {steps.max():.4g} mm: a slice lies "
            f"{off.max():.2f} mm off an even grid at {at[int(np.argmax(off))]:.2f} mm. Resample "
            "the series to even steps first"
        )
    return ""


def _holes(at: np.ndarray, steps: np.ndarray, usual: float, wide: np.ndarray) -> str:
    places = [
        f"{steps[k]:.4g} mm between the slices at {at[k]:.2f} and {at[k + 1]:.2f} mm"
        for k in wide[:_SHOWN]
    ]
    more = f" and {len(wide) - _SHOWN} more places" if len(wide) > _SHOWN else ""
    return (
        f"a hole in the series: {'; '.join(places)}{more}, where {usual:.4g} mm is usual. Fetch "
        "the missing slices"
    )


def stack_affine(slices: Sequence[Slice]) -> np.ndarray:
    """4x4, voxel (x, y, z) -> mm in RAS+, of ordered slices.

    Raises UnreadableVolume for uneven steps, gantry tilt (its angle is named) and sideways shifts.
    """
    if wrong := unevenness(slices):
        raise UnreadableVolume(wrong)
    first = slices[0]
    normal = normal_of(first)
    positions = np.array([part.position for part in slices])
    step = (positions[-1] - positions[0]) / (len(slices) - 1)
    tilt = np.degrees(np.arccos(np.clip(np.dot(step, normal) / np.linalg.norm(step), -1, 1)))
    if tilt > _TILT_DEG:
        raise UnreadableVolume(
            f"gantry tilt: the slices are stacked {tilt:.1f} degrees off their normal, so the "
            "volume is sheared. Correct the tilt first (dcm2niix does)"
        )
    line = positions[0] + np.arange(len(slices))[:, None] * step
    sideways = (positions - line) - ((positions - line) @ normal)[:, None] * normal
    if np.abs(sideways).max() > _SIDEWAYS_MM:
        raise UnreadableVolume(
            f"slices are shifted sideways by {np.abs(sideways).max():.1f} mm against each other"
        )
    along_row, along_column = np.reshape(first.orientation, (2, 3))
    affine = np.eye(4)
    affine[:3, 0] = along_row * first.spacing[1]
    affine[:3, 1] = along_column * first.spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    affine[:3] = _TO_RAS @ affine[:3]
    return affine
