"""What is needed of a slice's header: where it lies, how its pixels are stored, what they mean."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom.uid import UID, ExplicitVRLittleEndian

from ctfw.errors import UnreadableVolume
from ctfw.types import HU, RAW, UNKNOWN
from ctfw_plugins.volumes.dicom_files import UNDEFINED, Header
from ctfw_plugins.volumes.dicom_kinds import Get

MAX_SIDE = 4096
_MOST = 1e6
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
class Storage:
    """How and where the pixels of a file are stored; sizes were checked against the file."""

    path: Path
    syntax: str
    vr: str
    offset: int
    frames: int
    rows: int
    columns: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    offsets: tuple[bytes, bytes] | None = None
    lossy: bool = False


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
    spacing = _numbers(get("PixelSpacing"), 2)
    orientation = _numbers(get("ImageOrientationPatient"), 6)
    position = _numbers(get("ImagePositionPatient"), 3)
    if not spacing or not orientation or not position or min(spacing) <= 0:
        return None
    slope, intercept, intensity = _rescale(get)
    instance = _numbers(get("InstanceNumber"), 1)
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


def storage_of(header: Header) -> Storage:
    """How a file stores its pixels.

    Raises UnreadableVolume when the header claims what no CT has or what the file cannot hold, so
    that nothing is allocated for a damaged or malicious size.
    """
    dataset = header.dataset
    allocated = _whole(dataset, "BitsAllocated", 16)
    stored = _whole(dataset, "BitsStored", allocated)
    storage = Storage(
        path=header.path,
        syntax=header.syntax,
        vr=header.vr,
        offset=header.offset,
        frames=_whole(dataset, "NumberOfFrames", 1) or 1,
        rows=_whole(dataset, "Rows", 0),
        columns=_whole(dataset, "Columns", 0),
        allocated=allocated,
        stored=stored,
        signed=_whole(dataset, "PixelRepresentation", 0) == 1,
        photometric=str(dataset.get("PhotometricInterpretation") or "MONOCHROME2").strip(),
        offsets=_offsets(dataset),
        lossy=str(dataset.get("LossyImageCompression") or "") == "01",
    )
    if not 0 < min(storage.rows, storage.columns) <= max(storage.rows, storage.columns) <= MAX_SIDE:
        raise UnreadableVolume(
            f"a slice claims {storage.rows} x {storage.columns} pixels (at most {MAX_SIDE} on a "
            "side are read): its header is damaged"
        )
    high = _whole(dataset, "HighBit", stored - 1)
    if allocated not in (8, 16, 32) or not 0 < stored <= allocated or high >= stored:
        raise UnreadableVolume(
            f"a slice claims {stored} bits stored in {allocated} with bit {high} as the highest "
            "(DICOM asks for one less than the bits stored): which bits count is not clear. "
            "Convert the series first (dcmconv of DCMTK, or gdcmconv)"
        )
    return _in_bounds(header, storage)


def _in_bounds(header: Header, storage: Storage) -> Storage:
    """`storage`, or raise UnreadableVolume when the file is shorter than its pixels."""
    there = header.size - header.offset
    if not 0 < storage.frames <= 1 << 16 or there <= 0:
        raise UnreadableVolume(
            f"a file claims {storage.frames} frames and has {max(0, there)} bytes of pixels: it "
            "is damaged"
        )
    plain, compressed = _is_plain(storage.syntax), header.length == UNDEFINED
    if compressed and (plain or not storage.syntax):
        raise UnreadableVolume(
            "the pixels are compressed and the file does not say how (its file meta header is "
            "missing or wrong): fetch it from its source again"
        )
    needed = storage.frames * storage.rows * storage.columns * storage.allocated // 8
    has = min(there, header.length)
    if plain and has < needed:
        raise UnreadableVolume(
            f"a file is cut short: its pixels need {needed} bytes and it has {has}. Fetch it again"
        )
    if not plain and not compressed and has >= needed:
        # Decompressed by a tool that kept the name of the compression.
        return replace(storage, syntax=str(ExplicitVRLittleEndian))
    return storage


def _is_plain(syntax: str) -> bool:
    try:
        return not UID(syntax).is_compressed
    except ValueError:  # not the UID of a transfer syntax
        return False


def _rescale(get: Get) -> tuple[float, float, str]:
    """(slope, intercept, intensity). HU = stored x slope + intercept (DICOM PS3.3 C.11.1)."""
    given = get("RescaleSlope"), get("RescaleIntercept")
    if any(value is None or value == "" for value in given):
        return 1.0, 0.0, RAW
    slope, intercept = (_numbers(value, 1) for value in given)
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
    values = [_numbers(get(name), 1) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    span, half = 1 << storage.allocated, 1 << (storage.allocated - 1)
    wrapped = []
    for value in values:
        if value:
            number = int(value[0]) % span
            wrapped.append(number - span if storage.signed and number >= half else number)
    return (min(wrapped), max(wrapped)) if values[0] else None


def _offsets(dataset: Any) -> tuple[bytes, bytes] | None:
    table = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    return table if all(isinstance(part, bytes) for part in table) else None


def _whole(dataset: Any, name: str, otherwise: int) -> int:
    """A whole number of the header. Raises UnreadableVolume when there is something else."""
    value = dataset.get(name)
    if value is None or value == "":
        return otherwise
    numbers = _numbers(value, 1)
    if not numbers or numbers[0] != int(numbers[0]):
        raise UnreadableVolume(f"a slice has a {name} that is no whole number: it is damaged")
    return int(numbers[0])


def _numbers(value: Any, count: int) -> tuple[float, ...]:
    """`count` finite numbers of a believable size; empty when there is anything else."""
    if value is None or isinstance(value, (bytes, bytearray)):
        return ()
    items = [value] if isinstance(value, (str, int, float)) else value
    try:
        numbers = tuple(float(item) for item in items)
    except (TypeError, ValueError, OverflowError):
        return ()
    good = len(numbers) == count and all(math.isfinite(n) and abs(n) <= _MOST for n in numbers)
    return numbers if good else ()


def _text(get: Get, name: str) -> str:
    value = get(name)
    return "" if value is None else str(value)
