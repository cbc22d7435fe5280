"""NIfTI-1 and NIfTI-2 files, read to their last byte.

Only the header comes from nibabel. The voxels are decompressed here, because a gzip stream must
be read to its end for its checksum and length to be compared: a damaged download otherwise turns
into plausible voxels (nibabel stops at the last voxel it needs).
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from isal import igzip, isal_zlib

from ctfw.errors import UnreadableVolume
from ctfw.types import Decision, Volume
from ctfw.volumes.stream import Planes, SliceStream
from ctfw_plugins.volumes.arrays import finite, nonfinite_voxels, rescaled
from ctfw_plugins.volumes.configs import NiftiConfig
from ctfw_plugins.volumes.nifti_header import (
    affine_of,
    must_fit_file,
    read_header,
    scaling_of,
    shape_of,
    voxels_at,
)

_GZIP = b"\x1f\x8b"
_CHUNK = 1 << 20
_DAMAGED: tuple[Any, ...] = (gzip.BadGzipFile, zlib.error, isal_zlib.error)


class NiftiLoader:
    """`.nii` and `.nii.gz` -> Volume; intensity "unknown", because NIfTI does not say HU.

    The header's slope and intercept are applied once, as the format demands; whether that made
    HU is for `rescale-hu` to decide. Planes are int16 where the values are whole numbers that
    fit, else float32. Which transform counts: the sform, else the qform; where both are set they
    must place every corner of the volume within half a voxel of each other.
    """

    def __init__(self, config: NiftiConfig, context: Any = None) -> None:
        self.config = config

    def can_read(self, path: Path) -> bool:
        """By name: `.nii` or `.nii.gz`. The content is checked when it is read."""
        return path.is_file() and path.name.lower().endswith((".nii", ".nii.gz"))

    def load(self, path: Path) -> Volume:
        """Read one file. Raises UnreadableVolume (damaged, 4D, geometry) or NotCT (colour)."""
        return self.stream(path).collect()

    def stream(self, path: Path) -> SliceStream:
        """The slices of one file, in the order of the third axis. Raises as `load`."""
        packed = _packed(path)
        with _said_plainly(), _opened(path, packed) as stream:
            header = read_header(stream)
        shape = shape_of(header)
        must_fit_file(header, shape, path.stat().st_size, packed)
        affine, source = affine_of(header, shape[::-1], self.config.geometry)
        file = _File(path, header, shape, packed, scaling_of(header), self.config.nonfinite)
        slices = SliceStream(
            shape[::-1], affine, read=file.read, notes=file.notes, random=not packed
        )
        return self._noted(slices, header, source)

    def _noted(self, slices: SliceStream, header: Any, geometry: str) -> SliceStream:
        dtype = header.get_data_dtype().name
        text = f"NIfTI, {dtype} on disk, geometry from the {geometry}"
        end = slices.notes
        slices = slices.but(notes=tuple).noting("load", text, dtype=dtype, geometry=geometry)
        slope, intercept = scaling_of(header)
        if (slope, intercept) != (1.0, 0.0):
            slices = slices.noting(
                "load",
                f"the header's slope {slope:g} and intercept {intercept:g} were applied once",
                slope=slope,
                intercept=intercept,
            )
        return slices.closing(end)


@dataclass
class _File:
    """Planes of a NIfTI file, and what was noticed while they were read."""

    path: Path
    header: Any
    shape: tuple[int, int, int]
    packed: bool
    scaling: tuple[float, float]
    nonfinite: float | None
    odd: int = 0
    seen: int = 0
    extra: int = 0

    def read(self, numbers: Sequence[int]) -> Planes:
        """Raises UnreadableVolume, for a packed file at the latest after the last plane."""
        self.odd = self.seen = self.extra = 0
        with _said_plainly(), _opened(self.path, self.packed) as stream:
            _skip(stream, voxels_at(self.header), self.packed)
            yield from self._planes(stream, numbers)
        if self.odd and self.nonfinite is None:
            raise UnreadableVolume(nonfinite_voxels(self.odd, self.seen))

    def _planes(self, stream: IO[bytes], numbers: Sequence[int]) -> Planes:
        x, y, z = self.shape
        dtype = self.header.get_data_dtype()
        asked, at = set(numbers), 0
        waste = np.empty((y, x), dtype)
        for number in range(z) if self.packed else sorted(asked):
            if number > at:
                _skip(stream, (number - at) * waste.nbytes, self.packed)
            stored = np.empty((y, x), dtype) if number in asked else waste
            _fill(stream, stored)
            at = number + 1
            if number in asked:
                plane = self._rescaled(stored)
                # After one that cannot be used the rest is only read to be counted.
                if not self.odd or self.nonfinite is not None:
                    yield number, plane
        if self.packed or at == z:
            self.extra = _to_the_end(stream)

    def _rescaled(self, stored: np.ndarray) -> np.ndarray:
        array, odd = finite(rescaled(stored, *self.scaling), self.nonfinite or 0.0)
        self.odd += odd
        self.seen += array.size
        return array

    def notes(self) -> tuple[Decision, ...]:
        found = []
        if self.odd:
            told = f"{self.odd} voxels that were not finite set to {self.nonfinite:g}"
            found.append(Decision("load", told, {"filled": self.odd}))
        if self.extra:
            told = f"{self.extra} bytes after the last voxel were ignored"
            found.append(Decision("load", told))
        return tuple(found)


def _packed(path: Path) -> bool:
    with path.open("rb") as probe:
        return probe.read(2) == _GZIP


def _opened(path: Path, packed: bool) -> Any:
    return igzip.open(path, "rb") if packed else path.open("rb")


@contextmanager
def _said_plainly() -> Iterator[None]:
    """What goes wrong while decompressing, in words."""
    try:
        yield
    except EOFError as error:
        raise UnreadableVolume("the file ends before its last voxel: fetch it again") from error
    except _DAMAGED as error:
        raise UnreadableVolume(
            f"the compressed data are damaged ({error}): fetch it again"
        ) from error


def _skip(stream: IO[bytes], count: int, packed: bool) -> None:
    """Go on by `count` bytes; a compressed stream has to be read."""
    if not packed:
        stream.seek(count, os.SEEK_CUR)
        return
    while count:
        got = len(stream.read(min(count, _CHUNK)))
        if not got:
            raise EOFError
        count -= got


def _fill(stream: Any, stored: np.ndarray) -> None:
    """Read exactly one plane."""
    view = memoryview(stored.reshape(-1).view(np.uint8).data)
    done = 0
    while done < len(view):
        got = stream.readinto(view[done:])
        if not got:
            raise EOFError
        done += got


def _to_the_end(stream: IO[bytes]) -> int:
    """Bytes left over; a gzip stream compares its checksum and length at its end."""
    extra = 0
    while rest := stream.read(_CHUNK):
        extra += len(rest)
    return extra
