"""Landing for training: plain arrays with axes (z, x, y), as the paper stores them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np

from ctfw.paths import cache_dir
from ctfw.types import Case, Volume
from ctfw.volumes.stream import Planes, SliceStream, StartAgain
from ctfw_plugins.preprocess import landing
from ctfw_plugins.preprocess.configs import PreprocessedNumpyConfig
from ctfw_plugins.preprocess.half import to_float16


class PreprocessedNumpy:
    """Keeps what reaches it as `KEY.npy`, axes (z, x, y), and `KEY.json` in `folder`.

    Slices are written as they pass and read one by one: ten of them cost ten. The sidecar says
    the axes, the true spacing, the affine (for voxel index x, y, z), the intensity, the slice
    positions, the checksum of each slice and every decision; it is written last, and the `npy`
    loader reads the pair. An entry without it, or of another length, is made anew; a slice that
    does not have its checksum discards the entry. Passing a volume through rounds it to `dtype`,
    so that a run that makes the entry and one that finds it see the same numbers.
    """

    def __init__(self, config: PreprocessedNumpyConfig, context: Any = None) -> None:
        self.config = config
        self.folder = config.folder or cache_dir() / "preprocessed_numpy"
        self.dtype = np.dtype(config.dtype)

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        return SliceStream.of(volume).each(self._passed_on).collect()

    def find(self, key: str) -> Volume | None:
        """The volume under `key`, float32 (z, y, x); None when it is absent or damaged."""
        slices = self.open(key)
        try:
            return slices.collect() if slices is not None else None
        except StartAgain:
            return None

    def open(self, key: str) -> SliceStream | None:
        """The slices under `key`; None when it is absent or cut short."""
        data, side = self._paths(key)
        if not landing.complete(data, side):
            return None
        try:
            sidecar = landing.read(side)
            with data.open("rb") as file:
                shape, dtype, start = _header(file)
            if dtype != self.dtype or len(sidecar["plane_crc32"]) != shape[0]:
                return None
            entry = _Entry(data, side, shape, dtype, start, sidecar["plane_crc32"])
            depth, width, height = shape
            described = landing.described(sidecar)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # whatever is wrong with it, the entry can be made again
        return SliceStream((depth, height, width), read=entry.read, random=True, **described)

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
        """Write the array, then its sidecar."""
        self.through(key, SliceStream.of(volume)).drain()

    def through(self, key: str, slices: SliceStream) -> SliceStream:
        """The same slices, rounded; whoever reads them to the end has written the entry."""
        data, side = self._paths(key)

        def read(numbers: Sequence[int]) -> Planes:
            asked, crc = set(numbers), [0] * slices.shape[0]
            with landing.writing(data) as file:
                start = self._begin(file, data, slices.shape)
                for number, plane in slices.read(range(slices.shape[0])):
                    rounded = self._rounded(plane)
                    stored = np.ascontiguousarray(rounded.T)
                    with landing.said_plainly(data):
                        file.seek(start + number * stored.nbytes)
                        file.write(stored.data)
                    crc[number] = landing.checksum(stored)
                    if number in asked:
                        yield number, rounded.astype(np.float32, copy=False)
            landing.commit(side, data, slices, axes="zxy", dtype=self.dtype.name, plane_crc32=crc)

        return slices.but(read=read, random=False)

    def _begin(self, file: IO[bytes], path: Path, shape: tuple[int, int, int]) -> int:
        """Write the header of the .npy; where the first slice starts."""
        depth, height, width = shape
        header = np.lib.format.header_data_from_array_1_0(np.empty(0, self.dtype))
        with landing.said_plainly(path):
            np.lib.format.write_array_header_1_0(file, header | {"shape": (depth, width, height)})
        return file.tell()

    def _rounded(self, plane: np.ndarray) -> np.ndarray:
        if self.dtype == np.float16:
            return to_float16(plane)
        return plane.astype(self.dtype, copy=False)

    def _passed_on(self, plane: np.ndarray) -> np.ndarray:
        return self._rounded(plane).astype(np.float32, copy=False)

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}.npy", self.folder / f"{key}.json"


@dataclass
class _Entry:
    """Slices of a stored array."""

    data: Path
    side: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    start: int
    crc: list[int] = field(default_factory=list)

    def read(self, numbers: Sequence[int]) -> Planes:
        """Raises StartAgain, after discarding the entry, when a slice is not as it was written."""
        stored = np.empty(self.shape[1:], self.dtype)
        with self.data.open("rb", buffering=0) as file:
            for number in numbers:
                file.seek(self.start + number * stored.nbytes)
                got = file.readinto(stored.reshape(-1).view(np.uint8).data)
                if got != stored.nbytes or landing.checksum(stored) != self.crc[number]:
                    self.side.unlink(missing_ok=True)
                    raise StartAgain
                yield number, stored.T.astype(np.float32)


def _header(file: IO[bytes]) -> tuple[tuple[int, int, int], np.dtype[Any], int]:
    """((z, x, y), dtype, where the first slice starts) of a .npy that `through` wrote."""
    version = np.lib.format.read_magic(file)
    if version != (1, 0):
        raise ValueError("not written by this store")
    shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    depth, width, height = shape
    return (depth, width, height), dtype, file.tell()
