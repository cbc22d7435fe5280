"""The header of a NRRD file. Source: the format's definition at teem.sourceforge.net."""

from __future__ import annotations

import re
from pathlib import Path

from ctfw.errors import NotCT, UnreadableVolume
from ctfw_plugins.volumes.itk_stored import MAX_HEADER, Stored, beside, dtype_of, shape_of, unit_of

_TYPES = {
    "char": "i1", "int8": "i1", "uchar": "u1", "unsigned char": "u1", "uint8": "u1",
    "short": "i2", "int16": "i2", "ushort": "u2", "unsigned short": "u2", "uint16": "u2",
    "int": "i4", "int32": "i4", "uint": "u4", "unsigned int": "u4", "uint32": "u4",
    "longlong": "i8", "long long": "i8", "int64": "i8", "ulonglong": "u8",
    "unsigned long long": "u8", "uint64": "u8", "float": "f4", "double": "f8",
}  # fmt: skip
_SPATIAL = ("domain", "space", "???", "none")
_OTHER_NAMES = {"datafile": "data file", "byteskip": "byte skip", "lineskip": "line skip"}


def read_nrrd(path: Path) -> Stored:
    """Parse a `.nrrd` or `.nhdr`. Raises UnreadableVolume, NotCT, or ValueError for bad numbers."""
    fields, keys, end = _fields(path)
    _must_be_grey(fields, keys)
    shape = shape_of(fields.get("dimension"), fields.get("sizes"))
    if "none" in fields.get("space directions", "none").lower() and "spacings" not in fields:
        raise UnreadableVolume("the header has no space directions, so no spacing is known")
    encoding = fields.get("encoding", "").lower()
    if encoding not in ("raw", "gzip", "gz"):
        raise UnreadableVolume(f"its encoding is {encoding[:32]!r}: write it as raw or gzip")
    name = re.sub(
        r"^signed |_t$|(?<=short) int$|(?<=long) int$", "", fields.get("type", "").lower()
    )
    endian = fields.get("endian", "").lower()
    dtype = dtype_of(_TYPES, name, endian == "big")
    if dtype.itemsize > 1 and endian not in ("little", "big"):
        raise UnreadableVolume("the header does not say the byte order (endian): add it")
    data, start = _place(path, fields, end, packed=encoding != "raw")
    units = re.findall(r'"([^"]*)"', fields.get("space units", fields.get("units", "")))
    return Stored(
        "NRRD",
        shape,
        dtype,
        data,
        start,
        "raw" if encoding == "raw" else "gzip",
        oriented="space" in fields,
        to_mm=unit_of(units),
    )


def _fields(path: Path) -> tuple[dict[str, str], dict[str, str], int]:
    """(fields, key/value pairs, byte after the header); names in lower case."""
    with path.open("rb") as stream:
        content = stream.read(MAX_HEADER)
    if not re.match(rb"NRRD000[1-5]\r?\n", content):
        raise UnreadableVolume("not a NRRD file: its first line is not NRRD0001 to NRRD0005")
    blank = re.search(rb"\n\r?\n", content)
    if blank is None and len(content) == MAX_HEADER:
        raise UnreadableVolume("not a NRRD file: its header has no end")
    end = blank.end() if blank else len(content)
    fields: dict[str, str] = {}
    keys: dict[str, str] = {}
    for line in content[:end].decode("latin-1").split("\n")[1:]:
        found = re.match(r"([^#:][^:]*):(=?)(.*)", line)
        if found:
            name = found[1].strip().lower()
            target = keys if found[2] else fields
            target[_OTHER_NAMES.get(name, name)] = found[3].strip()
    return fields, keys, end


def _must_be_grey(fields: dict[str, str], keys: dict[str, str]) -> None:
    """Raise NotCT or UnreadableVolume for axes that are not places, and for other modalities."""
    odd = [kind for kind in fields.get("kinds", "").lower().split() if kind not in _SPATIAL]
    if any(kind not in ("list", "time") for kind in odd):
        raise NotCT("several values per voxel (a colour picture or vectors), not HU")
    if odd:
        count = re.sub(r"\s+", " x ", fields.get("sizes", ""))
        raise UnreadableVolume(
            f"4D with sizes {count[:60]}, one axis of time points: store the one to be read as a "
            "file of its own"
        )
    if keys.get("modality", "CT").upper() != "CT":
        raise NotCT(f"an image of modality {keys['modality'][:16]} by its header, not a CT")


def _place(path: Path, fields: dict[str, str], end: int, packed: bool) -> tuple[Path, int]:
    """(file with the voxels, their first byte)."""
    skip = int(fields.get("byte skip", "0"))
    if int(fields.get("line skip", "0")) or skip < -1 or (packed and skip):
        raise UnreadableVolume("a `line skip`, or a `byte skip` of compressed voxels: remove it")
    file = fields.get("data file")
    data = path if file is None else beside(path, file)
    return data, skip if skip < 0 or file is not None else end + skip
