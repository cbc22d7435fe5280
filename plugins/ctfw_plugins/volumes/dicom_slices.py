"""What is needed of a slice's header: where it lies and what its pixels mean."""

from __future__ import annotations

import math
from dataclasses import dataclass

from ctfw.errors import UnreadableVolume
from ctfw.types import HU, RAW, UNKNOWN
from ctfw_plugins.volumes.dicom_kinds import Get
from ctfw_plugins.volumes.dicom_storage import Storage, numbers_of

# Tags that tell two stacks apart which lie in the same place, the strongest first. Their values
# are compared and never shown.
MARKS = (
    "SeriesInstanceUID",
    "ConvolutionKernel",
    "SliceThickness",
    "KVP",
    "ImageType",
    "StackID",
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "FrameAcquisitionNumber",
    "AcquisitionTime",
    "SeriesNumber",
)


@dataclass(frozen=True)
class Slice:
    """One plane of the patient.

    spacing      mm between (rows, columns), as PixelSpacing has it
    orientation  direction cosines of a row, then of a column, in DICOM's LPS
    position     centre of the first pixel in mm, LPS
    intensity    "hu"; "raw" without a rescale; "unknown" when RescaleType says something else
    padding      lowest and highest pixel value that stands for no image, as stored
    space        study and frame of reference: positions compare only inside one
    marks        values of `MARKS`
    along        mm along the normal; set when slices are put in order
    """

    storage: Storage
    frame: int
    spacing: tuple[float, float]
    orientation: tuple[float, ...]
    position: tuple[float, ...]
    slope: float
    intercept: float
    intensity: str
    padding: tuple[int, int] | None
    space: tuple[str, str]
    marks: tuple[str, ...]
    instance: int
    along: float = 0.0

    @property
    def series(self) -> str:
        return self.marks[0]


def slice_of(storage: Storage, get: Get, frame: int = 0) -> Slice | None:
    """The slice that these tags describe, or None when they give it no place in the patient.

    Raises UnreadableVolume for a rescale that cannot be used.
    """
    spacing = numbers_of(get("PixelSpacing"), 2)
    orientation = numbers_of(get("ImageOrientationPatient"), 6)
    position = numbers_of(get("ImagePositionPatient"), 3)
    if not spacing or not position or min(spacing) <= 0 or not _at_right_angles(orientation):
        return None
    slope, intercept, intensity = _rescale(get)
    instance = numbers_of(get("InstanceNumber"), 1)
    return Slice(
        storage=storage,
        frame=frame,
        spacing=(spacing[0], spacing[1]),
        orientation=orientation,
        position=position,
        slope=slope,
        intercept=intercept,
        intensity=intensity,
        padding=_padding(get, storage),
        space=(_text(get, "StudyInstanceUID"), _text(get, "FrameOfReferenceUID")),
        marks=tuple(_text(get, name) for name in MARKS),
        instance=int(instance[0]) if instance and storage.frames == 1 else frame,
    )


def _at_right_angles(cosines: tuple[float, ...]) -> bool:
    """Whether a row's and a column's direction are unit vectors that span a plane."""
    row, column = cosines[:3], cosines[3:]
    unit = all(0.99 < math.hypot(*vector) < 1.01 for vector in (row, column))
    return unit and abs(sum(a * b for a, b in zip(row, column, strict=True))) < 0.01


def _rescale(get: Get) -> tuple[float, float, str]:
    """(slope, intercept, intensity). HU = stored x slope + intercept (DICOM PS3.3 C.11.1)."""
    given = get("RescaleSlope"), get("RescaleIntercept")
    if any(value is None or value == "" for value in given):
        return 1.0, 0.0, RAW
    slope, intercept = (numbers_of(value, 1) for value in given)
    if not slope or not intercept or slope[0] == 0:
        raise UnreadableVolume(
            "a slice has a RescaleSlope or RescaleIntercept that is no usable number: its HU "
            "cannot be known"
        )
    kind = str(get("RescaleType") or "HU").strip().upper()
    return slope[0], intercept[0], HU if kind == "HU" else UNKNOWN


def _padding(get: Get, storage: Storage) -> tuple[int, int] | None:
    """PixelPaddingValue and its limit as pixels have them (DICOM PS3.3 C.7.5.1.1.2).

    Some writers put the unsigned bits of a negative value into a signed image (63536 for -2000),
    or the reverse: the value is taken modulo 2 to the power of BitsAllocated.
    """
    values = [numbers_of(get(name), 1) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    span, half = 1 << storage.allocated, 1 << (storage.allocated - 1)
    wrapped = []
    for value in values:
        if value:
            number = int(value[0]) % span
            wrapped.append(number - span if storage.signed and number >= half else number)
    return (min(wrapped), max(wrapped)) if values[0] else None


def _text(get: Get, name: str) -> str:
    value = get(name)
    return "" if value is None else str(value)
