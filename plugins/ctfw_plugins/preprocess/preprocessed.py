"""Landing with geometry: NIfTI files that any viewer opens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
from isal import igzip, isal_zlib

from ctfw.errors import UserError
from ctfw.paths import cache_dir
from ctfw.types import HU, Case, Volume
from ctfw.volumes.stream import Planes, SliceStream, StartAgain
from ctfw_plugins.preprocess import landing
from ctfw_plugins.preprocess.configs import PreprocessedConfig

_LEVEL = 1
_START = 352
_DAMAGED: tuple[Any, ...] = (OSError, EOFError, ValueError, isal_zlib.error)


class Preprocessed:
    """Keeps what reaches it as `KEY.nii.gz` and `KEY.json` in `folder`.

    Axis order on disk is (x, y, z), as in every NIfTI file, with the affine in sform and qform.
    The sidecar has the same affine in full precision, the intensity, the slice positions, the
    checksum of each slice and every decision; it is written last. An entry without it, or of
    another length, is made anew; a slice that does not have its checksum discards the entry.
    Passing a volume through rounds it to `dtype`, so that a run that makes the entry and one that
    finds it see the same numbers.
    """

    def __init__(self, config: PreprocessedConfig, context: Any = None) -> None:
        self.config = config
        self.folder = config.folder or cache_dir() / "preprocessed"
        self.dtype = np.dtype(config.dtype)

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        self._check(volume.intensity)
        return SliceStream.of(volume).each(self._rounded).collect()

    def find(self, key: str) -> Volume | None:
        """The volume under `key`; None when it is absent or damaged."""
        slices = self.open(key)
        try:
            return slices.collect() if slices is not None else None
        except StartAgain:
            return None

    def open(self, key: str) -> SliceStream | None:
        """The slices under `key`; None when it is absent or cut short."""
        image, side = self._paths(key)
        if not landing.complete(image, side):
            return None
        try:
            sidecar = landing.read(side)
            width, height, depth = sidecar["shape_xyz"]
            if sidecar["dtype"] != self.config.dtype or len(sidecar["plane_crc32"]) != depth:
                return None
            described = landing.described(sidecar)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # whatever is wrong with it, the entry can be made again

        def read(numbers: Sequence[int]) -> Planes:
            return self._planes(key, (depth, height, width), sidecar, numbers)

        random = not self.config.compress
        return SliceStream((depth, height, width), read=read, random=random, **described)

    def has(self, key: str) -> bool:
        """Whether an entry is there and whole, by its sidecar and length; reads no voxel."""
        return landing.complete(*self._paths(key))

    def size(self, key: str) -> int:
        """Bytes that an entry takes on disk."""
        return landing.size(*self._paths(key))

    def sweep(self) -> None:
        """Remove what killed processes left unfinished."""
        landing.sweep(self.folder)

    def keep(self, key: str, volume: Volume) -> None:
        """Write the volume, then its sidecar."""
        self.through(key, SliceStream.of(volume)).drain()

    def through(self, key: str, slices: SliceStream) -> SliceStream:
        """The same slices, rounded; whoever reads them to the end has written the entry."""
        self._check(slices.intensity)
        image, side = self._paths(key)

        def read(numbers: Sequence[int]) -> Planes:
            # A gzip stream is written from its beginning: what comes upside down is held first.
            source = slices
            if slices.descending and self.config.compress:
                source = SliceStream.of(slices.collect())
            depth, height, width = slices.shape
            asked, crc = set(numbers), [0] * depth
            with landing.writing(image) as file, self._packing(file, image) as out:
                with landing.said_plainly(image):
                    out.write(_header(slices, self.dtype))
                for number, plane in source.read(range(depth)):
                    stored = np.ascontiguousarray(self._rounded(plane))
                    with landing.said_plainly(image):
                        if not self.config.compress:
                            out.seek(_START + number * stored.nbytes)
                        out.write(stored)
                    crc[number] = landing.checksum(stored)
                    if number in asked:
                        yield number, stored
            landing.commit(
                side,
                image,
                slices,
                axes_on_disk="x, y, z",
                shape_xyz=[width, height, depth],
                dtype=self.dtype.name,
                plane_crc32=crc,
            )

        return slices.but(read=read, random=False)

    def _planes(
        self, key: str, shape: tuple[int, int, int], sidecar: Mapping[str, Any], numbers: Any
    ) -> Planes:
        """Raises StartAgain, after discarding the entry, when a slice is not as it was written."""
        image, side = self._paths(key)
        asked, crc = set(numbers), sidecar["plane_crc32"]
        try:
            with igzip.open(image, "rb") if self.config.compress else image.open("rb") as file:
                file.read(_START)
                for number in range(shape[0]):
                    size = shape[1] * shape[2] * self.dtype.itemsize
                    if number not in asked and not self.config.compress:
                        file.seek(_START + (number + 1) * size)
                        continue
                    content = bytearray(file.read(size))
                    if number in asked:
                        stored = np.frombuffer(content, self.dtype).reshape(shape[1:])
                        if landing.checksum(stored) != crc[number]:
                            raise ValueError("a slice has another checksum")
                        yield number, stored
                file.read(1)  # at its end a gzip stream compares its own checksum
        except _DAMAGED as error:
            side.unlink(missing_ok=True)
            raise StartAgain from error

    @contextmanager
    def _packing(self, file: IO[bytes], path: Path) -> Iterator[Any]:
        """What to write into: the file, or a gzip stream in it whose bytes depend on nothing else
        than the voxels (no name, no time)."""
        if not self.config.compress:
            yield file
            return
        out = igzip.IGzipFile("", "wb", _LEVEL, file, mtime=0)
        try:
            yield out
        finally:
            with landing.said_plainly(path):
                out.close()

    def _check(self, intensity: str) -> None:
        if self.config.dtype == "int16" and intensity != HU:
            raise UserError(
                f"preprocessed with dtype int16 keeps whole HU, and the volume is '{intensity}': "
                "put it before hu-window, or use float32"
            )

    def _rounded(self, plane: np.ndarray) -> np.ndarray:
        if self.dtype == np.int16 and plane.dtype != np.int16:
            return np.clip(np.rint(plane), -32768, 32767).astype(np.int16)
        return plane.astype(self.dtype, copy=False)

    def _paths(self, key: str) -> tuple[Path, Path]:
        ending = ".nii.gz" if self.config.compress else ".nii"
        return self.folder / f"{key}{ending}", self.folder / f"{key}.json"


def _header(slices: SliceStream, dtype: np.dtype[Any]) -> bytes:
    """The 352 bytes in front of the voxels."""
    header = nib.Nifti1Header()
    header.set_data_dtype(dtype)
    header.set_data_shape(slices.shape[::-1])
    header.set_xyzt_units("mm")
    header.set_qform(slices.affine, code="scanner", strip_shears=True)
    header.set_sform(slices.affine, code="scanner")
    header.set_slope_inter(1, 0)
    header["vox_offset"], header["magic"] = _START, b"n+1"
    block: bytes = header.binaryblock + b"\0\0\0\0"
    return block
