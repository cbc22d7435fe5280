"""One CT series: which slices belong to it, and where each lies.

Geometry after DICOM PS3.3 C.7.6.2.1.1 (equation C.7.6.2.1-1); DICOM's LPS millimetres become RAS+.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.errors import NotCT, UnreadableVolume

_UNEVEN = 0.05
_HOLE = 1.5
_SAME_PLACE_MM = 0.01
_TILT_DEG = 0.5
_SIDEWAYS_MM = 0.5
_TO_RAS = np.diag([-1.0, -1.0, 1.0])


@dataclass(frozen=True)
class Slice:
    """What is needed of one file's header. `along` is set by `stack_affine`."""

    path: Path
    series: str
    localizer: bool
    rows: int
    columns: int
    spacing: tuple[float, float]
    orientation: tuple[float, ...]
    position: tuple[float, ...]
    slope: float
    intercept: float
    has_rescale: bool
    padding: int | None
    syntax: str
    along: float = 0.0

    @classmethod
    def of(cls, path: Path, dataset: Any) -> Slice:
        """Read a header. Raises NotCT (modality, colour) or UnreadableVolume (no geometry)."""
        modality = str(dataset.get("Modality", "") or "none")
        if modality != "CT":
            raise NotCT(f"a DICOM image of modality {modality[:16]}, not CT")
        kinds = [str(item).upper() for item in dataset.get("ImageType", None) or []]
        localizer = "LOCALIZER" in kinds
        if int(dataset.get("NumberOfFrames", 1) or 1) > 1:
            raise UnreadableVolume(
                "an enhanced multi-frame DICOM file: convert it to NIfTI first (dcm2niix)"
            )
        if str(dataset.get("PhotometricInterpretation", "MONOCHROME2")) != "MONOCHROME2":
            raise NotCT("the DICOM pixels are not plain grey values (MONOCHROME2), so not HU")
        spacing = _numbers(dataset, "PixelSpacing", 2)
        slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
        in_hu = str(dataset.get("RescaleType", "HU") or "HU").strip() in ("HU", "US")
        return cls(
            path=path,
            series=str(dataset.get("SeriesInstanceUID", "")),
            localizer=localizer,
            rows=int(dataset.Rows),
            columns=int(dataset.Columns),
            spacing=(spacing[0], spacing[1]),
            orientation=_numbers(dataset, "ImageOrientationPatient", 6),
            position=_numbers(dataset, "ImagePositionPatient", 3),
            slope=float(1 if slope is None else slope),
            intercept=float(0 if intercept is None else intercept),
            has_rescale=slope is not None and intercept is not None and in_hu,
            padding=_padding(dataset),
            syntax=str(getattr(dataset.file_meta.get("TransferSyntaxUID"), "name", "not named")),
        )


def one_series(slices: Sequence[Slice]) -> tuple[list[Slice], int]:
    """(the slices of the only series, how many localizers were left out).

    Raises UnreadableVolume when there are several series, one slice, or slices that differ in
    size, spacing or direction; NotCT when there are only localizers.
    """
    axial = [part for part in slices if not part.localizer]
    if not axial:
        raise NotCT(f"only localizer (scout) images: {len(slices)} of them")
    groups: dict[str, list[Slice]] = {}
    for part in axial:
        groups.setdefault(part.series, []).append(part)
    if len(groups) > 1:
        sizes = " + ".join(str(len(group)) for group in groups.values())
        raise UnreadableVolume(
            f"the folder mixes {len(groups)} series ({sizes} slices): give each a folder of its own"
        )
    if len(axial) == 1:
        raise UnreadableVolume(
            "a series of one slice: there is no spacing between slices, so no volume. Give the "
            "folder of the whole series"
        )
    first = axial[0]
    for part in axial:
        for what in ("rows", "columns", "has_rescale"):
            if getattr(part, what) != getattr(first, what):
                words = "a rescale" if what == "has_rescale" else f"the number of {what}"
                raise UnreadableVolume(f"the slices of the series differ in {words}")
        if not np.allclose(part.spacing, first.spacing, rtol=1e-3):
            raise UnreadableVolume("the slices of the series differ in pixel spacing")
        if not np.allclose(part.orientation, first.orientation, atol=1e-3):
            raise UnreadableVolume("the slices of the series differ in direction")
    return axial, len(slices) - len(axial)


def stack_affine(slices: Sequence[Slice]) -> tuple[np.ndarray, list[Slice]]:
    """(4x4 voxel (x, y, z) -> mm in RAS+, slices in order along the normal).

    Raises UnreadableVolume for duplicates, holes, uneven steps, gantry tilt and sideways shifts.
    """
    along_row, along_column = np.reshape(slices[0].orientation, (2, 3))
    normal = np.cross(along_row, along_column)
    size = np.linalg.norm(normal)
    if not 0.99 < size < 1.01:
        raise UnreadableVolume("the row and column directions are not at right angles")
    normal = normal / size
    placed = [replace(part, along=float(np.dot(part.position, normal))) for part in slices]
    placed.sort(key=lambda part: part.along)
    at = np.array([part.along for part in placed])
    _even_steps(at)
    positions = np.array([part.position for part in placed])
    step = (positions[-1] - positions[0]) / (len(placed) - 1)
    tilt = np.degrees(np.arccos(np.clip(np.dot(step, normal) / np.linalg.norm(step), -1, 1)))
    if tilt > _TILT_DEG:
        raise UnreadableVolume(
            f"gantry tilt: the slices are stacked {tilt:.1f} degrees off their normal, so the "
            "volume is sheared. Correct the tilt first (dcm2niix does)"
        )
    line = positions[0] + np.arange(len(placed))[:, None] * step
    sideways = (positions - line) - ((positions - line) @ normal)[:, None] * normal
    if np.abs(sideways).max() > _SIDEWAYS_MM:
        raise UnreadableVolume(
            f"slices are shifted sideways by {np.abs(sideways).max():.1f} mm against each other"
        )
    affine = np.eye(4)
    affine[:3, 0] = along_row * slices[0].spacing[1]
    affine[:3, 1] = along_column * slices[0].spacing[0]
    affine[:3, 2] = step
    affine[:3, 3] = positions[0]
    affine[:3] = _TO_RAS @ affine[:3]
    return affine, placed


def _even_steps(at: np.ndarray) -> None:
    """Raise UnreadableVolume, naming the place, unless the ascending positions are even."""
    steps = np.diff(at)
    if steps.min() < _SAME_PLACE_MM:
        where = at[int(np.argmin(steps))]
        count = int(np.count_nonzero(steps < _SAME_PLACE_MM))
        raise UnreadableVolume(
            f"duplicate slices: {count} pairs at the same place, the first at {where:.2f} mm. Two "
            "reconstructions or time points may be mixed"
        )
    usual = float(steps.min())
    worst = int(np.argmax(steps))
    if steps[worst] > _HOLE * usual:
        lacking = int(np.count_nonzero(steps > _HOLE * usual))
        raise UnreadableVolume(
            f"a hole in the series: {steps[worst]:g} mm between the slices at {at[worst]:.2f} and "
            f"{at[worst + 1]:.2f} mm, where {usual:g} mm is usual ({lacking} such places). Fetch "
            "the missing slices"
        )
    if steps[worst] > (1 + _UNEVEN) * usual + _SAME_PLACE_MM:
        raise UnreadableVolume(
            f"uneven slice steps, from {usual:g} to {steps[worst]:g} mm: resample the series first"
        )


def _numbers(dataset: Any, name: str, count: int) -> tuple[float, ...]:
    value = dataset.get(name)
    try:
        numbers = tuple(float(item) for item in value)
    except TypeError:
        numbers = ()
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise UnreadableVolume(f"a slice has no usable {name}, so its place is unknown")
    return numbers


def _padding(dataset: Any) -> int | None:
    """PixelPaddingValue as a stored pixel has it.

    Some writers put the unsigned bits of a negative value into a signed image (63536 for -2000).
    """
    value = dataset.get("PixelPaddingValue")
    if value is None or isinstance(value, (bytes, str)):
        return None
    number = int(value)
    bits = int(dataset.get("BitsAllocated", 16))
    if int(dataset.get("PixelRepresentation", 0)) == 1 and number >= 1 << (bits - 1):
        number -= 1 << bits
    return number
