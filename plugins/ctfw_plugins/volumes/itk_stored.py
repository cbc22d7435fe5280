"""How the voxels of an ITK file lie on disk, bounded and compared with what is there.

SimpleITK fills voxels that it cannot unpack with zeros, or leaves them unset, without an error.
So the bytes are counted here, and read here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import Any, Literal

import numpy as np

from ctfw.errors import UnreadableVolume
from ctfw_plugins.volumes.planes import MAX_DEFLATE, must_be_a_volume

MAX_HEADER = 1 << 20
_TO_MM = {"mm": 1.0, "cm": 10.0, "m": 1000.0, "um": 1e-3, "µm": 1e-3, "": 1.0, "?": 1.0}


@dataclass(frozen=True)
class Stored:
    """What the header of a file says about its voxels.

    kind         "MetaImage" or "NRRD"
    shape        (x, y, z)
    dtype        with its byte order
    data         the file that holds the voxels
    start        their first byte; negative: they end with the file
    packing      "raw", "zlib" or "gzip"
    packed_size  bytes of the packed voxels; 0: not said
    oriented     whether the header says a direction
    to_mm        millimetres of the header's unit
    """

    kind: Literal["MetaImage", "NRRD"]
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    data: Path
    start: int
    packing: Literal["raw", "zlib", "gzip"] = "raw"
    packed_size: int = 0
    oriented: bool = True
    to_mm: float = 1.0
    slope: float = 1.0
    intercept: float = 0.0

    def checked(self) -> Stored:
        """The same with a `start` counted from the beginning of the file.

        Raises UnreadableVolume when bytes are lacking or too many, before memory is taken.
        """
        if not self.data.is_file():
            raise UnreadableVolume(f"its voxels should lie in {self.data.name}, which is not there")
        wanted = math.prod(self.shape) * self.dtype.itemsize
        there = self.data.stat().st_size
        start = self.start if self.start >= 0 else there - wanted
        have = max(there - start, 0)
        if self.packing != "raw":
            if wanted > have * MAX_DEFLATE:
                raise UnreadableVolume(
                    f"the header promises {wanted / 1e6:.1f} MB of voxels, more than the file can "
                    "hold: it was cut short"
                )
        elif start < 0 or have != wanted:
            raise UnreadableVolume(
                f"the header promises {wanted} bytes of voxels and {min(have, there)} are there: "
                "the file was cut short, or its header is of another file"
            )
        return replace(self, start=start)


def shape_of(rank: str | None, sizes: str | None) -> tuple[int, int, int]:
    """(x, y, z) from a number of axes and their lengths. Raises UnreadableVolume."""
    shape = [int(n) for n in (sizes or "").split()]
    if not shape or str(len(shape)) != (rank or "").strip():
        raise UnreadableVolume("the header does not say its size")
    must_be_a_volume(shape)
    if any(n > 1 for n in shape[3:]):
        raise UnreadableVolume(
            f"4D with {math.prod(shape[3:])} time points of {shape[0]} x {shape[1]} x {shape[2]} "
            "voxels: store the one to be read as a file of its own"
        )
    if len(shape) < 3:
        raise UnreadableVolume(f"{len(shape)}D, a single picture: a volume needs three axes")
    return shape[0], shape[1], shape[2]


def dtype_of(known: Mapping[str, str], name: str, big_endian: bool) -> np.dtype[Any]:
    """The type called `name`. Raises UnreadableVolume."""
    if name not in known:
        raise UnreadableVolume(f"voxels of type {name[:32] or 'unknown'!r} cannot be read")
    return np.dtype(known[name]).newbyteorder(">" if big_endian else "<")


def beside(path: Path, name: str) -> Path:
    """The file that holds the voxels. Raises UnreadableVolume unless it lies with the header."""
    if name.upper().startswith("LIST") or "%" in name or re.search(r"\s\d+\s+\d+", name):
        raise UnreadableVolume(
            "its voxels are spread over several files (a list or a pattern): write one file"
        )
    parts = PurePosixPath(name)
    if not name or parts.is_absolute() or ".." in parts.parts or re.search(r"[\\:\0]", name):
        raise UnreadableVolume(
            f"its voxels should lie in {name[:80]!r}: only a file in the header's folder is read"
        )
    return path.parent / name


def unit_of(names: Sequence[str]) -> float:
    """Millimetres of a unit. Raises UnreadableVolume for one that is not known, or several."""
    factors = {_TO_MM.get(name.strip().lower(), 0.0) for name in names} or {1.0}
    factor = factors.pop()
    if factors or not factor:
        raise UnreadableVolume(f"its unit of length is {', '.join(names)[:40]!r}: write it in mm")
    return factor
