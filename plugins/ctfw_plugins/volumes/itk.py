"""MetaImage (.mha, .mhd) and NRRD (.nrrd, .nhdr) files.

SimpleITK says where the volume lies. The voxels are read here, byte by byte accounted for.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.errors import UnreadableVolume
from ctfw.types import Decision, Volume
from ctfw.volumes.stream import SliceStream
from ctfw_plugins.volumes.configs import ItkConfig
from ctfw_plugins.volumes.itk_metaimage import read_metaimage
from ctfw_plugins.volumes.itk_nrrd import read_nrrd
from ctfw_plugins.volumes.itk_stored import Stored
from ctfw_plugins.volumes.planes import GZIP, ZLIB, Inflated, StoredPlanes

_WBITS = {"zlib": ZLIB, "gzip": GZIP}
_PIXELS = {
    "i1": "sitkInt8", "u1": "sitkUInt8", "i2": "sitkInt16", "u2": "sitkUInt16", "i4": "sitkInt32",
    "u4": "sitkUInt32", "i8": "sitkInt64", "u8": "sitkUInt64", "f4": "sitkFloat32",
    "f8": "sitkFloat64",
}  # fmt: skip
_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


class ItkLoader:
    """`.mha`, `.mhd`, `.nrrd`, `.nhdr` -> Volume; intensity "unknown", the formats do not say HU.

    ITK's LPS millimetres become RAS+. Uncompressed voxels must be there to the byte; compressed
    ones are read to the end of their stream, so that its checksum is compared. Voxels in a file
    of their own must lie in the header's folder.
    """

    def __init__(self, config: ItkConfig, context: Any = None) -> None:
        self.config = config

    def can_read(self, path: Path) -> bool:
        """By name. The content is checked when it is read."""
        return path.suffix.lower() in (".mha", ".mhd", ".nrrd", ".nhdr") and path.is_file()

    def load(self, path: Path) -> Volume:
        """Read one file. Raises UnreadableVolume (damaged, 4D, geometry) or NotCT (colour, MR)."""
        return self.stream(path).collect()

    def stream(self, path: Path) -> SliceStream:
        """The slices of one file. Raises as `load`."""
        stored = _stored(path)
        affine = _affine(path, stored)
        planes = StoredPlanes(
            partial(_opened, stored),
            stored.shape[::-1],
            stored.dtype,
            seekable=stored.packing == "raw",
            slope=stored.slope,
            intercept=stored.intercept,
            nonfinite=self.config.nonfinite,
        )
        slices = SliceStream(
            stored.shape[::-1], affine, read=planes.read, random=stored.packing == "raw"
        )
        where = "" if stored.oriented else ", no direction in the header, taken as LPS"
        slices = slices.noting(
            "load", f"{stored.kind}, {stored.dtype.name} on disk{where}", dtype=stored.dtype.name
        )
        if (stored.slope, stored.intercept) != (1.0, 0.0):
            told = (
                f"the header's slope {stored.slope:g} and intercept {stored.intercept:g} were "
                "applied once"
            )
            slices = slices.closing(lambda: (Decision("load", told),))
        return slices.closing(planes.notes)


def _stored(path: Path) -> Stored:
    """The header, compared with the file. Raises UnreadableVolume or NotCT."""
    parse = read_nrrd if path.suffix.lower() in (".nrrd", ".nhdr") else read_metaimage
    try:
        return parse(path).checked()
    except (ValueError, OverflowError) as error:
        raise UnreadableVolume(f"the header cannot be read: {str(error)[:200]}") from error


@contextmanager
def _opened(stored: Stored) -> Iterator[Any]:
    with stored.data.open("rb") as raw:
        raw.seek(stored.start)
        if stored.packing == "raw":
            yield raw
            return
        stream = Inflated(raw, _WBITS[stored.packing])
        yield stream
        if stored.packed_size not in (0, stream.size):
            raise UnreadableVolume(
                f"the compressed voxels take {stream.size} bytes, the header says "
                f"{stored.packed_size}: it is of another file, or damaged"
            )


def _affine(path: Path, stored: Stored) -> np.ndarray:
    """4x4 voxel (x, y, z) -> mm in RAS+. Raises UnreadableVolume."""
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(f"{'Nrrd' if stored.kind == 'NRRD' else 'Meta'}ImageIO")
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1][:200]
        if reason.startswith("Reason:"):  # of the operating system, which was not asked for any
            reason = "a field has a value that cannot be"
        raise UnreadableVolume(f"SimpleITK cannot read the header: {reason}") from error
    size = reader.GetSize()
    if size[:3] != stored.shape or any(n != 1 for n in size[3:]):
        raise UnreadableVolume(f"the header's size is ambiguous: {size} or {stored.shape}")
    pixel = getattr(SimpleITK, _PIXELS[stored.dtype.str[1:]])
    if reader.GetPixelID() != pixel:
        raise UnreadableVolume("the header's type of voxel is ambiguous, or several per voxel")
    rank = len(size)
    affine = np.eye(4)
    direction = np.reshape(reader.GetDirection(), (rank, rank))[:3, :3]
    affine[:3, :3] = direction * np.array(reader.GetSpacing()[:3])
    affine[:3, 3] = reader.GetOrigin()[:3]
    affine[:3] *= stored.to_mm
    return _TO_RAS @ affine
