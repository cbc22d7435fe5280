"""Landing with geometry: NIfTI files that any viewer opens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import nibabel as nib
import numpy as np
from isal import igzip

from ctfw.volumes.stream import SliceStream
from ctfw_plugins.preprocess.configs import PreprocessedConfig
from ctfw_plugins.preprocess.store import InOrder, Packing, Shape, SliceStore, Stored

_LEVEL = 1
_START = 352


class Preprocessed(SliceStore):
    """Keeps what reaches it as `KEY.nii.gz` and `KEY.json` in `folder`.

    Axis order on disk is (x, y, z), as in every NIfTI file, with the affine in sform and qform.
    The sidecar has the same affine in full precision, the intensity, the slice positions, the
    checksum of each slice and every decision.
    """

    def __init__(self, config: PreprocessedConfig, context: Any = None) -> None:
        ending = ".nii.gz" if config.compress else ".nii"
        super().__init__("preprocessed", config.folder, ending, config.dtype)
        self.config = config
        self.random = not config.compress

    def _packing(self, file: IO[bytes], slices: SliceStream) -> Packing:
        header = _header(slices, self.dtype)
        if self.config.compress:
            return _Gzipped(file, header, slices.shape)
        file.write(header)
        return _Plain(file, slices.shape)

    def _shape(self, data: Path, sidecar: Mapping[str, Any]) -> Shape:
        width, height, depth = sidecar["shape_xyz"]
        return depth, height, width

    def _stored(
        self, data: Path, shape: Shape, sidecar: Mapping[str, Any], numbers: Sequence[int]
    ) -> Stored:
        asked = set(numbers)
        size = shape[1] * shape[2] * self.dtype.itemsize
        with igzip.open(data, "rb") if self.config.compress else data.open("rb") as file:
            file.read(_START)
            for number in range(shape[0]):
                if number not in asked and not self.config.compress:
                    file.seek(_START + (number + 1) * size)
                    continue
                content = bytearray(file.read(size))
                if number in asked:
                    yield number, np.frombuffer(content, self.dtype).reshape(shape[1:])
            file.read(1)  # at its end a gzip stream compares its own checksum


def _told(shape: Shape) -> dict[str, Any]:
    depth, height, width = shape
    return {"axes_on_disk": "x, y, z", "shape_xyz": [width, height, depth]}


class _Plain:
    """A .nii whose header is written."""

    def __init__(self, file: IO[bytes], shape: Shape) -> None:
        self.file, self.shape = file, shape

    def put(self, number: int, plane: np.ndarray) -> None:
        self.file.seek(_START + number * plane.nbytes)
        self.file.write(plane.data)

    def close(self) -> dict[str, Any]:
        return _told(self.shape)


class _Gzipped:
    """A .nii.gz, which can only be written from its beginning. Its bytes depend on nothing else
    than the voxels: it holds no name and no time."""

    def __init__(self, file: IO[bytes], header: bytes, shape: Shape) -> None:
        self.shape = shape
        self.out = igzip.IGzipFile("", "wb", _LEVEL, file, mtime=0)
        self.out.write(header)
        self.in_order = InOrder(self.out.write)

    def put(self, number: int, plane: np.ndarray) -> None:
        self.in_order(number, plane.tobytes())

    def close(self) -> dict[str, Any]:
        self.out.close()
        return _told(self.shape)


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
