"""What lies in a `.npy` or `.npz` file: headers only, bounded before any memory is taken.

Formats: NumPy's NEP 1 (`.npy`), and a zip archive of such files (`.npz`).
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format

from ctfw.errors import UnreadableVolume
from ctfw_plugins.volumes.planes import MAX_DEFLATE, Opener, must_be_a_volume, said_plainly

_ENDING = ".npy"
_ENCRYPTED = 0x1
_SHOWN = 8
_MAX_HEADER = 1 << 16


@dataclass(frozen=True)
class Header:
    """Shape, type and order of one array, and how many bytes its header takes."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool
    length: int

    @property
    def voxel_bytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{self.dtype} {' x '.join(str(n) for n in self.shape) or 'single value'}"


@dataclass(frozen=True)
class FoundArray:
    """An array with three axes that fits into its file; see `StoredPlanes` for the fields."""

    name: str
    opened: Opener
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    fortran: bool
    seekable: bool


def find_array(path: Path, key: str | None) -> FoundArray:
    """The array of a `.npy`, or the one called `key` (None: the only volume) of a `.npz`.

    Raises UnreadableVolume for pickled objects, anything but three axes of numbers, sizes that
    the file cannot hold, and a `.npz` in which the choice is not clear.
    """
    size = path.stat().st_size
    if path.suffix.lower() == ".npz":
        return _of_archive(path, size, key)
    with path.open("rb") as stream:
        header = _header(stream)
    shape = _must_be_numbers(header)
    lacking = header.length + header.voxel_bytes - size
    if lacking > 0:
        raise UnreadableVolume(
            f"the header promises {header.voxel_bytes} bytes of voxels and {lacking} of them are "
            "lacking: the file was cut short"
        )
    opened = partial(_npy_voxels, path, header.length)
    return FoundArray("array", opened, shape, header.dtype, header.fortran, True)


def _of_archive(path: Path, size: int, key: str | None) -> FoundArray:
    with said_plainly():
        try:
            with zipfile.ZipFile(path) as archive:
                members = _members(archive, size)
                name, header = _chosen(archive, members, key)
        except (NotImplementedError, RuntimeError, ValueError, OverflowError) as error:
            raise UnreadableVolume(f"the zip archive cannot be read: {error}") from error
    shape = _must_be_numbers(header)
    if members[name].file_size != header.length + header.voxel_bytes:
        raise UnreadableVolume(
            f"array {name!r} promises {header.voxel_bytes} bytes of voxels, the directory of the "
            f"archive {members[name].file_size - header.length}: it is damaged"
        )
    opened = partial(_npz_voxels, path, members[name].filename, header.length)
    return FoundArray(f"array {name!r}", opened, shape, header.dtype, header.fortran, False)


def _members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Name without `.npy` -> entry. Raises UnreadableVolume for sizes that cannot be true."""
    entries = [info for info in archive.infolist() if info.filename.endswith(_ENDING)]
    for info in entries:
        if info.flag_bits & _ENCRYPTED or info.compress_type not in (
            zipfile.ZIP_STORED,
            zipfile.ZIP_DEFLATED,
        ):
            raise UnreadableVolume(
                f"{info.filename} in the archive is encrypted or packed in an unusual way: write "
                "it with numpy.savez or numpy.savez_compressed"
            )
        packed = info.compress_type == zipfile.ZIP_DEFLATED
        most = info.compress_size * (MAX_DEFLATE if packed else 1)
        placed = 0 <= info.header_offset <= size - info.compress_size
        if not placed or info.file_size > most:
            raise UnreadableVolume(
                f"{info.filename} is said to hold {info.file_size} bytes, more than the archive "
                "can: it is damaged, or made to exhaust the memory"
            )
    return {info.filename.removesuffix(_ENDING): info for info in entries}


def _chosen(
    archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo], key: str | None
) -> tuple[str, Header]:
    if key is not None and key not in members:
        raise UnreadableVolume(
            f"the archive has no array {key!r} (the npy loader's `key`). It has "
            f"{_listed(archive, members)}"
        )
    if key is None and len(members) != 1:
        headers = {name: _member_header(archive, info) for name, info in members.items()}
        volumes = [name for name, header in headers.items() if len(header.shape) == 3]
        if len(volumes) != 1:
            raise UnreadableVolume(
                f"{len(volumes)} arrays of the archive have three axes: say which is the scan with "
                f"the npy loader's `key`. It has {_listed(archive, members)}"
            )
        return volumes[0], headers[volumes[0]]
    name = key if key is not None else next(iter(members))
    return name, _member_header(archive, members[name])


def _listed(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> str:
    """Names and shapes, for a message."""
    told = [
        f"{name!r} ({_member_header(archive, info)})"
        for name, info in list(members.items())[:_SHOWN]
    ]
    more = f" and {len(members) - _SHOWN} more" if len(members) > _SHOWN else ""
    return (", ".join(told) or "no arrays") + more


def _member_header(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Header:
    with archive.open(info) as stream:
        return _header(stream)


def _header(stream: Any) -> Header:
    """Raises UnreadableVolume for anything that `numpy.save` did not write."""
    counted = _Counted(stream)
    try:
        version = npy_format.read_magic(counted)
        # Version 3 exists for names of fields alone, and an array with fields is no volume.
        read = {
            (1, 0): npy_format.read_array_header_1_0,
            (2, 0): npy_format.read_array_header_2_0,
        }[version]
        shape, fortran, dtype = read(counted)
    except zipfile.BadZipFile:
        raise
    except Exception as error:  # NumPy raises what its parser raises
        # NumPy's own words advise to load pickles, which runs whatever code they hold.
        raise UnreadableVolume(
            "not a plain NumPy array (its header cannot be read): save an array of numbers with "
            "numpy.save"
        ) from error
    return Header(tuple(int(n) for n in shape), dtype, bool(fortran), counted.done)


def _must_be_numbers(header: Header) -> tuple[int, int, int]:
    """(n, n, n). Raises UnreadableVolume."""
    if header.dtype.hasobject:
        raise UnreadableVolume(
            "not a plain NumPy array: it holds pickled Python objects, which are never loaded; "
            "save an array of numbers with numpy.save"
        )
    if header.dtype.kind not in "iufb":
        raise UnreadableVolume(f"the array holds {header.dtype}, not numbers")
    if len(header.shape) != 3:
        raise UnreadableVolume(f"the array's shape is {header.shape}: a volume has three axes")
    must_be_a_volume(header.shape)
    first, second, third = header.shape
    return first, second, third


class _Counted:
    """Reads a header and counts, for streams that cannot tell where they stand."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.done = 0

    def read(self, size: int = -1, /) -> bytes:
        if not 0 <= size <= _MAX_HEADER:
            raise ValueError("a header of this length cannot be")
        got: bytes = self.stream.read(size)
        self.done += len(got)
        return got


@contextmanager
def _npy_voxels(path: Path, start: int) -> Iterator[BinaryIO]:
    with path.open("rb") as stream:
        stream.seek(start)
        yield stream


@contextmanager
def _npz_voxels(path: Path, member: str, start: int) -> Iterator[Any]:
    with zipfile.ZipFile(path) as archive, archive.open(member) as stream:
        stream.read(start)
        yield stream
