"""How the pixels of a file are stored, checked against the file before anything is read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydicom.uid import (
    UID,
    ExplicitVRLittleEndian,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLSNearLossless,
)

from ctfw.errors import UnreadableVolume
from ctfw_plugins.volumes.dicom_files import UNDEFINED, Header

MAX_SIDE = 4096
_MOST = 1e6
_LOSSY = (str(JPEGBaseline8Bit), str(JPEGExtended12Bit), str(JPEGLSNearLossless))


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
        lossy=str(dataset.get("LossyImageCompression") or "") == "01" or header.syntax in _LOSSY,
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


def _offsets(dataset: Any) -> tuple[bytes, bytes] | None:
    table = dataset.get("ExtendedOffsetTable"), dataset.get("ExtendedOffsetTableLengths")
    return table if all(isinstance(part, bytes) for part in table) else None


def _whole(dataset: Any, name: str, otherwise: int) -> int:
    """A whole number of the header. Raises UnreadableVolume when there is something else."""
    value = dataset.get(name)
    if value is None or value == "":
        return otherwise
    numbers = numbers_of(value, 1)
    if not numbers or numbers[0] != int(numbers[0]):
        raise UnreadableVolume(f"a slice has a {name} that is no whole number: it is damaged")
    return int(numbers[0])


def numbers_of(value: Any, count: int) -> tuple[float, ...]:
    """`count` finite numbers of a believable size; empty when there is anything else."""
    if value is None or isinstance(value, (bytes, bytearray)):
        return ()
    several = hasattr(value, "__iter__") and not isinstance(value, str)
    items = value if several else [value]
    try:
        numbers = tuple(float(item) for item in items)
    except (TypeError, ValueError, OverflowError):
        return ()
    good = len(numbers) == count and all(math.isfinite(n) and abs(n) <= _MOST for n in numbers)
    return numbers if good else ()
