"""What the stores do alike: round, write slices as they pass, check every slice that is read."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Protocol

import numpy as np
from isal import isal_zlib

from ctfw.errors import UserError
from ctfw.paths import cache_dir
from ctfw.types import HU, Case, Volume
from ctfw.volumes.stream import Planes, SliceStream, StartAgain
from ctfw_plugins.preprocess import landing
from ctfw_plugins.preprocess.half import to_float16, to_float32

Shape = tuple[int, int, int]
Stored = Iterator[tuple[int, np.ndarray]]
_DAMAGED: tuple[Any, ...] = (OSError, EOFError, ValueError, RuntimeError, isal_zlib.error)


class Packing(Protocol):
    """A data file that is being written, its beginning already in place."""

    def put(self, number: int, plane: np.ndarray) -> None:
        """Add a contiguous slice; whoever gave it may overwrite it afterwards."""

    def close(self) -> dict[str, Any]:
        """Write the end, also where slices are missing; what the sidecar has to tell of it."""


class SliceStore(ABC):
    """Keeps volumes as one data file and one sidecar each, `KEY` with `ending` and `KEY.json`.

    What passes is rounded to `dtype`, so that a run that makes an entry and one that finds it see
    the same numbers. The sidecar is written last: an entry without it, or of another length, is
    made anew. A slice that does not have the checksum it was written with discards the entry.

    A kind of store says how the data file is written (`_packing`), what shape it holds (`_shape`)
    and how its slices are read (`_stored`). float16 is read as float32.
    """

    random = True

    def __init__(self, name: str, folder: Path | None, ending: str, dtype: str) -> None:
        self.name, self.ending = name, ending
        self.folder = folder or cache_dir() / name.replace("-", "_")
        self.dtype: np.dtype[Any] = np.dtype(dtype)

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        self._check(volume.intensity)
        return SliceStream.of(volume).each(lambda plane: shown(self._rounded(plane))).collect()

    def find(self, key: str) -> Volume | None:
        """The volume under `key`; None when it is absent or damaged."""
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
            shape = self._shape(data, sidecar)
            if sidecar["dtype"] != self.dtype.name or len(sidecar["plane_crc32"]) != shape[0]:
                return None
            described = landing.described(sidecar)
        except (OSError, ValueError, KeyError, TypeError):
            return None  # whatever is wrong with it, the entry can be made again

        def read(numbers: Sequence[int]) -> Planes:
            return self._checked(key, shape, sidecar, numbers)

        return SliceStream(shape, read=read, random=self.random, **described)

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
        """Write the data file, then its sidecar."""
        self.through(key, SliceStream.of(volume)).drain()

    def through(self, key: str, slices: SliceStream) -> SliceStream:
        """The same slices, rounded; whoever reads them to the end has written the entry."""
        self._check(slices.intensity)
        data, side = self._paths(key)

        def read(numbers: Sequence[int]) -> Planes:
            asked, crc = set(numbers), [0] * slices.shape[0]
            with landing.writing(data) as file:
                with landing.said_plainly(data):
                    packing = self._packing(file, slices)
                try:
                    for number, plane in slices.read(range(slices.shape[0])):
                        rounded = self._rounded(plane)
                        stored = np.ascontiguousarray(self._turned(rounded))
                        with landing.said_plainly(data):
                            packing.put(number, stored)
                        crc[number] = landing.checksum(stored)
                        if number in asked:
                            yield number, shown(rounded)
                except BaseException:
                    with suppress(OSError, ValueError):  # the file is thrown away
                        packing.close()
                    raise
                with landing.said_plainly(data):
                    told = packing.close()
            landing.commit(side, data, slices, **told, dtype=self.dtype.name, plane_crc32=crc)

        return slices.but(read=read, random=False)

    def _checked(
        self, key: str, shape: Shape, sidecar: Mapping[str, Any], numbers: Sequence[int]
    ) -> Planes:
        """Raises StartAgain, after discarding the entry, when a slice is not as it was written."""
        data, side = self._paths(key)
        crc = sidecar["plane_crc32"]
        try:
            for number, stored in self._stored(data, shape, sidecar, numbers):
                if landing.checksum(stored) != crc[number]:
                    raise ValueError("a slice has another checksum")
                yield number, shown(self._turned(stored))
        except _DAMAGED as error:
            side.unlink(missing_ok=True)
            raise StartAgain from error

    def _check(self, intensity: str) -> None:
        if self.dtype == np.int16 and intensity != HU:
            raise UserError(
                f"{self.name} with dtype int16 keeps whole HU, and the volume is '{intensity}': "
                "put it before hu-window, or choose a dtype with fractions"
            )

    def _rounded(self, plane: np.ndarray) -> np.ndarray:
        """The plane in `dtype`; int16 is the nearest whole number that it can hold."""
        if self.dtype == np.float16:
            return to_float16(plane)
        if self.dtype == np.int16 and plane.dtype != np.int16:
            return np.clip(np.rint(plane), -32768, 32767).astype(np.int16)
        return plane.astype(self.dtype, copy=False)

    def _turned(self, plane: np.ndarray) -> np.ndarray:
        """(y, x) to the axes in the file and back."""
        return plane

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}{self.ending}", self.folder / f"{key}.json"

    @abstractmethod
    def _packing(self, file: IO[bytes], slices: SliceStream) -> Packing:
        """Begin the data file."""

    @abstractmethod
    def _shape(self, data: Path, sidecar: Mapping[str, Any]) -> Shape:
        """(z, y, x). Raises ValueError, KeyError or TypeError for what this store did not write."""

    @abstractmethod
    def _stored(
        self, data: Path, shape: Shape, sidecar: Mapping[str, Any], numbers: Sequence[int]
    ) -> Stored:
        """The slices as they were put; the array belongs to the reader. Raises ValueError,
        EOFError, RuntimeError or OSError for damage."""


class InOrder:
    """Hands on what comes in any order by ascending number, and holds what comes too early."""

    def __init__(self, hand_on: Callable[[bytes], Any]) -> None:
        self.hand_on = hand_on
        self.held: dict[int, bytes] = {}
        self.next = 0

    def __call__(self, number: int, content: bytes) -> None:
        self.held[number] = content
        while self.next in self.held:
            self.hand_on(self.held.pop(self.next))
            self.next += 1


def shown(plane: np.ndarray) -> np.ndarray:
    """What the steps after a store work with: float32 for float16, else as stored."""
    return to_float32(plane) if plane.dtype == np.float16 else plane
