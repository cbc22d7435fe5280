"""The header of a MetaImage file. Source: MetaIO's documentation of MetaImage."""

from __future__ import annotations

import math
import re
from pathlib import Path

from ctfw.errors import NotCT, UnreadableVolume
from ctfw_plugins.volumes.itk_stored import MAX_HEADER, Stored, beside, dtype_of, shape_of, unit_of

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4",
    "MET_UINT": "u4", "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8",
    "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
_NOT_CT = {"MET_MOD_MR": "an MR", "MET_MOD_NM": "a nuclear", "MET_MOD_US": "an ultrasound"}
_LAST = "ElementDataFile"


def read_metaimage(path: Path) -> Stored:
    """Parse a `.mha` or `.mhd`. Raises UnreadableVolume, NotCT, or ValueError for bad numbers."""
    fields, end = _fields(path)
    _must_be_grey(fields)
    if not {"ElementSpacing", "ElementSize"} & set(fields):
        raise UnreadableVolume("the header has no ElementSpacing, so no spacing is known: add it")
    big = fields.get("BinaryDataByteOrderMSB", fields.get("ElementByteOrderMSB", "False"))
    packed = _yes(fields.get("CompressedData", "False"))
    data, start = _place(path, fields, end, packed)
    return Stored(
        "MetaImage",
        shape_of(fields.get("NDims"), fields.get("DimSize")),
        dtype_of(_TYPES, fields.get("ElementType", ""), _yes(big)),
        data,
        start,
        "zlib" if packed else "raw",
        int(fields.get("CompressedDataSize", "0")) if packed else 0,
        oriented=bool({"TransformMatrix", "Rotation", "Orientation"} & set(fields)),
        to_mm=unit_of([fields.get("DistanceUnits", "")]),
        slope=_number(fields.get("ElementToIntensityFunctionSlope", "1")),
        intercept=_number(fields.get("ElementToIntensityFunctionOffset", "0")),
    )


def _fields(path: Path) -> tuple[dict[str, str], int]:
    """(key -> text, byte after the header)."""
    with path.open("rb") as stream:
        content = stream.read(MAX_HEADER)
    fields: dict[str, str] = {}
    at = 0
    while _LAST not in fields:
        end = content.find(b"\n", at)
        line = content[at:end].decode("latin-1")
        parts = re.split("[=:]", line, maxsplit=1)
        if end < 0 or (len(parts) < 2 and line.strip()):
            raise UnreadableVolume(f"not a MetaImage file: its header has no {_LAST}")
        if len(parts) == 2:
            fields[parts[0].strip()] = parts[1].strip()
        at = end + 1
    return fields, at


def _must_be_grey(fields: dict[str, str]) -> None:
    """Raise NotCT or UnreadableVolume for what is no grey-value volume in binary form."""
    channels = fields.get("ElementNumberOfChannels", "1")
    if channels != "1" or fields.get("ElementType", "").endswith("_ARRAY"):
        raise NotCT("several values per voxel (a colour picture or vectors), not HU")
    modality = fields.get("Modality", "")
    if modality in _NOT_CT:
        raise NotCT(f"{_NOT_CT[modality]} image by its header's Modality, not a CT")
    if not _yes(fields.get("BinaryData", "True")):
        raise UnreadableVolume("its voxels are written as text: write it with BinaryData = True")


def _place(path: Path, fields: dict[str, str], end: int, packed: bool) -> tuple[Path, int]:
    """(file with the voxels, their first byte)."""
    local = fields[_LAST].upper() == "LOCAL"
    skip = int(fields.get("HeaderSize", "0"))
    if skip < -1 or (skip and (local or packed)):
        raise UnreadableVolume(f"HeaderSize = {skip} does not go with such voxels: remove it")
    return (path, end) if local else (beside(path, fields[_LAST]), skip)


def _yes(text: str) -> bool:
    return text[:1] in ("T", "t", "1")


def _number(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text} is not finite")
    return value
