"""NIfTI-1 and NIfTI-2 files, read to their last byte.

A gzip stream must be read to its end for its checksum and length to be compared: a damaged
download otherwise turns into plausible voxels (nibabel stops at the last voxel it needs).
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from ctfw.types import Volume
from ctfw.volumes.stream import SliceStream
from ctfw_plugins.volumes.configs import NiftiConfig
from ctfw_plugins.volumes.nifti_fields import NiftiFields
from ctfw_plugins.volumes.nifti_header import (
    affine_of,
    must_fit_file,
    read_header,
    scaling_of,
    shape_of,
    voxels_at,
)
from ctfw_plugins.volumes.planes import GZIP, Inflated, StoredPlanes, said_plainly

_GZIP_START = b"\x1f\x8b"


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
        with path.open("rb") as probe:
            packed = probe.read(2) == _GZIP_START
        with said_plainly(), _opened(path, packed) as stream:
            header = read_header(stream)
        shape = shape_of(header)
        must_fit_file(header, shape, path.stat().st_size, packed)
        affine, source = affine_of(header, shape[::-1], self.config.geometry)
        slope, intercept = scaling_of(header)
        assert header.dtype is not None
        planes = StoredPlanes(
            partial(_opened, path, packed, voxels_at(header)),
            shape[::-1],
            header.dtype,
            seekable=not packed,
            slope=slope,
            intercept=intercept,
            nonfinite=self.config.nonfinite,
        )
        slices = SliceStream(
            shape[::-1], affine, read=planes.read, notes=planes.notes, random=not packed
        )
        return self._noted(slices, header, source)

    def _noted(self, slices: SliceStream, header: NiftiFields, geometry: str) -> SliceStream:
        dtype = str(header.dtype and header.dtype.name)
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


@contextmanager
def _opened(path: Path, packed: bool, start: int = 0) -> Iterator[Any]:
    """The uncompressed bytes from `start` on."""
    with path.open("rb") as raw:
        stream = Inflated(raw, GZIP) if packed else raw
        if packed:
            stream.read(start)
        else:
            stream.seek(start)
        yield stream
