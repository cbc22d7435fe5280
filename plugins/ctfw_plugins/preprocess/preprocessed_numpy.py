"""Landing for training: plain arrays with axes (z, x, y), as the paper stores them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from ctfw.volumes.stream import SliceStream
from ctfw_plugins.preprocess.configs import PreprocessedNumpyConfig
from ctfw_plugins.preprocess.store import Packing, Shape, SliceStore, Stored


class PreprocessedNumpy(SliceStore):
    """Keeps what reaches it as `KEY.npy`, axes (z, x, y), and `KEY.json` in `folder`.

    Slices are written as they pass and read one by one: ten of them cost ten. The sidecar says
    the axes, the true spacing, the affine (for voxel index x, y, z), the intensity, the slice
    positions, the checksum of each slice and every decision; the `npy` loader reads the pair.
    """

    def __init__(self, config: PreprocessedNumpyConfig, context: Any = None) -> None:
        super().__init__("preprocessed-numpy", config.folder, ".npy", config.dtype)
        self.config = config

    def _packing(self, file: IO[bytes], slices: SliceStream) -> Packing:
        depth, height, width = slices.shape
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, self.dtype))
        np.lib.format.write_array_header_1_0(file, header | {"shape": (depth, width, height)})
        return _Npy(file)

    def _shape(self, data: Path, sidecar: Mapping[str, Any]) -> Shape:
        with data.open("rb") as file:
            if np.lib.format.read_magic(file) != (1, 0):
                raise ValueError("not written by this store")
            (depth, width, height), _, dtype = np.lib.format.read_array_header_1_0(file)
        if dtype != self.dtype:
            raise ValueError("of another dtype than the sidecar says")
        return depth, height, width

    def _stored(
        self, data: Path, shape: Shape, sidecar: Mapping[str, Any], numbers: Sequence[int]
    ) -> Stored:
        depth, height, width = shape
        size = height * width * self.dtype.itemsize
        start = sidecar["bytes"] - depth * size
        with data.open("rb", buffering=0) as file:
            for number in numbers:
                stored = np.empty((width, height), self.dtype)
                file.seek(start + number * size)
                if file.readinto(stored.reshape(-1).view(np.uint8).data) != size:
                    raise EOFError("a slice is missing")
                yield number, stored

    def _turned(self, plane: np.ndarray) -> np.ndarray:
        return plane.T


class _Npy:
    """An array whose header is written; slices find their place whatever order they come in."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.start = file.tell()

    def put(self, number: int, plane: np.ndarray) -> None:
        self.file.seek(self.start + number * plane.nbytes)
        self.file.write(plane.data)

    def close(self) -> dict[str, Any]:
        return {"axes": "zxy"}
