"""DICOM files in a folder: found by their content, parsed in bounds, nothing of a patient kept.

Only the tags of `WANTED` are parsed. No name, id, date or free text of a header is among them, so
none can reach a message; texts of foreign exceptions, which may quote header values, are dropped.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydicom.datadict import tag_for_keyword
from pydicom.filereader import read_partial
from pydicom.uid import (
    UID,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from ctfw.errors import UnreadableVolume
from ctfw_plugins.volumes.dicom_quiet import quiet

MAX_FILES = 20_000
MAX_DEPTH = 8
UNDEFINED = 0xFFFFFFFF
_LOOKED_AT = 256
_MAX_VALUE = 1 << 26
_SHORT = 1024  # pydicom looks for the end of long values in chunks that may pass the file's end
_MAX_READS = 500_000
_MAX_EMPTY = 10_000
_EMPTY = bytes(8)  # an element of tag (0000,0000) without a value: a region of zeros
_MAX_ELEMENTS = 20_000
_MAX_DISORDER = 64
_PIXELS = {
    0x7FE00008: "FloatPixelData",
    0x7FE00009: "DoubleFloatPixelData",
    0x7FE00010: "PixelData",
}
_BARE = re.compile(
    rb"(?:[\x02\x08]\x00.\x00|\x00[\x02\x08]\x00.)(?:[A-Z]{2}|..\x00\x00)", re.DOTALL
)
WANTED = (
    "SOPClassUID",
    "ImageType",
    "Modality",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "FrameOfReferenceUID",
    "AcquisitionNumber",
    "AcquisitionTime",
    "TemporalPositionIdentifier",
    "InstanceNumber",
    "KVP",
    "ConvolutionKernel",
    "SliceThickness",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "PixelPresentation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "RescaleType",
    "LossyImageCompression",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
)
_TAGS: list[Any] = [tag_for_keyword(name) for name in WANTED]


@dataclass(frozen=True)
class Header:
    """The wanted tags of one file, and where its pixels lie.

    syntax    transfer syntax UID; "" when the file does not name one and it cannot be told
    keyword   name of the pixel element, "" when there is none
    offset    first byte of its value
    length    bytes of its value as written; `UNDEFINED` for compressed pixels
    """

    path: Path
    size: int
    dataset: Any
    syntax: str
    keyword: str = ""
    vr: str = "OW"
    offset: int = 0
    length: int = 0


def files_below(folder: Path) -> Iterator[Path]:
    """Files of a folder and of those inside it, by name; hidden ones and DICOMDIR left out.

    A folder that is reached twice (a link that leads back) is read once. Raises UnreadableVolume
    for more than `MAX_FILES` files or folders deeper than `MAX_DEPTH`.
    """
    seen: set[tuple[int, int]] = set()
    waiting, count = [(folder, 0)], 0
    while waiting:
        here, depth = waiting.pop()
        facts = here.stat()
        if (facts.st_dev, facts.st_ino) in seen:
            continue
        seen.add((facts.st_dev, facts.st_ino))
        inside = []
        for path in sorted(here.iterdir()):
            if path.name.startswith(".") or path.name.upper() == "DICOMDIR":
                continue
            if path.is_dir():
                inside.append((path, depth + 1))
            elif path.is_file():
                count += 1
                yield path
        if count > MAX_FILES or (inside and depth >= MAX_DEPTH):
            raise UnreadableVolume(
                f"more than {MAX_FILES} files, or folders more than {MAX_DEPTH} deep: give the "
                "folder of one study"
            )
        waiting += reversed(inside)


def holds_dicom(path: Path) -> bool:
    """Whether the file, or one of the first files of the folder, looks like DICOM. Cheap."""
    try:
        files = [path] if path.is_file() else files_below(path)
        return any(_looks_dicom(file) for file, _ in zip(files, range(_LOOKED_AT)))
    except (OSError, UnreadableVolume):
        return False


def _looks_dicom(file: Path) -> bool:
    """By name; by `DICM` after the preamble; or, without one, by a header that names an image."""
    if file.suffix.lower() == ".dcm":
        return True
    with file.open("rb") as stream:
        start = stream.read(132)
    if start[128:] == b"DICM":
        return True
    return bool(_BARE.match(start)) and read_header(file) is not None


def read_header(file: Path) -> Header | None:
    """The wanted tags of a file; None when it is no DICOM.

    Pixels are not read, and a file that only begins like DICOM is left after few bytes. Raises
    UnreadableVolume when a file that calls itself DICOM cannot be parsed.
    """
    marked = False
    try:
        with _Bounded(file) as stream:
            start = stream.read(132)
            marked = start[128:] == b"DICM"
            if not marked and not _BARE.match(start):
                return None
            stream.seek(0)
            with quiet():
                header = _parsed(file, stream)
    except OSError as error:
        raise UnreadableVolume(f"a file cannot be opened ({error.strerror})") from None
    except Exception as error:
        if not marked:
            return None
        raise UnreadableVolume(
            f"a file has a DICOM header that cannot be parsed ({type(error).__name__}): it is "
            "damaged, or compressed as a whole (deflated). Fetch it again"
        ) from None
    return header if marked or _names_an_image(header) else None


def _names_an_image(header: Header) -> bool:
    """What a file without the `DICM` mark must have to be believed."""
    dataset = header.dataset
    known = str(dataset.get("SOPClassUID", "")).startswith("1.2.840.10008.")
    return known and "Rows" in dataset and "Columns" in dataset and bool(header.keyword)


def _parsed(file: Path, stream: _Bounded) -> Header:
    """Read up to the pixel element. Elements in disorder mean that this is no DICOM."""
    found: dict[str, Any] = {}
    last, count, disorder = 0, 0, 0

    def stop(at: Any, vr: str | None, length: int) -> bool:
        nonlocal last, count, disorder
        tag = int(at)  # pydicom's own type compares slowly
        count, disorder, last = count + 1, disorder + (tag <= last), tag
        if count > _MAX_ELEMENTS or disorder > _MAX_DISORDER:
            raise ValueError("too many elements")
        if tag in _PIXELS:
            found.update(keyword=_PIXELS[tag], vr=vr or "OW", length=length, offset=stream.tell())
        return tag >= 0x7FE00008

    dataset = read_partial(stream, stop_when=stop, force=True, specific_tags=_TAGS)
    named = dataset.file_meta.get("MediaStorageSOPClassUID")
    if named and "SOPClassUID" not in dataset:
        dataset.SOPClassUID = named
    syntax = str(dataset.file_meta.get("TransferSyntaxUID", "") or "")
    if not syntax and found.get("length") != UNDEFINED:
        implicit, little = dataset.original_encoding
        plain = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
        syntax = str(ImplicitVRLittleEndian if implicit else plain)
    return Header(file, stream.size, dataset, syntax, **found)


def syntax_name(syntax: str) -> str:
    """How DICOM calls a transfer syntax; never what a header says of its own."""
    name = str(UID(syntax).name)
    return "not named" if not syntax else "an unknown one" if name == syntax else name


class _Bounded(io.BufferedReader):
    """A file whose reads stay in bounds, whatever lengths its header claims."""

    def __init__(self, path: Path) -> None:
        super().__init__(io.FileIO(path))
        self.size = os.fstat(self.fileno()).st_size
        self.reads = self.empty = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if size is None or not 0 <= size <= _MAX_VALUE:
            raise ValueError("a value that no header has")
        value = super().read(size)
        if 0 < len(value) < size <= _SHORT:
            raise ValueError("the file ends inside a value")
        self.empty += value == _EMPTY
        if self.reads > _MAX_READS or self.empty > _MAX_EMPTY:
            raise ValueError("more elements than a header has")
        return value
