"""Planes of a file whose voxels lie one after the other, read with bounded memory.

What the loaders of arrays and of ITK files share: one pass over a stream, checksums compared at
its end, voxels that are not finite counted, values rescaled once.
"""

from __future__ import annotations

import io
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from isal import isal_zlib

from ctfw.errors import UnreadableVolume
from ctfw.types import Decision
from ctfw.volumes.stream import Planes
from ctfw_plugins.volumes.arrays import finite, nonfinite_voxels, rescaled

MAX_DIM = 4096
MAX_DEFLATE = 1032  # no deflate stream expands further
GZIP, ZLIB = 31, 15  # window bits, as zlib names the two wrappers of deflate
_MEMBER = b"\x1f\x8b\x08"
_CHUNK = 1 << 18
_BLOCK = 1 << 26  # bytes held at a time of an array whose planes lie interleaved
_DAMAGED: tuple[Any, ...] = (zlib.error, isal_zlib.error, zipfile.BadZipFile)
Opener = Callable[[], AbstractContextManager[BinaryIO]]


@dataclass
class StoredPlanes:
    """Planes of (n, rows, columns) stored values, and what was noticed while they were read.

    opened    -> a stream that stands at the first voxel
    shape     (n, rows, columns) as stored
    dtype     as stored, with its byte order
    seekable  planes can be reached by `seek`, relative to where `opened` stands
    fortran   the first axis runs fastest on disk, so that planes lie interleaved
    swapped   stored planes are (x, y) and are given as (y, x)
    slope     HU or whatever the file means = stored value x slope + intercept
    nonfinite value put in place of NaN and infinite voxels; None refuses the file
    crc32     CRC-32 of each stored plane in C order, or None
    """

    opened: Opener
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    seekable: bool = False
    fortran: bool = False
    swapped: bool = False
    slope: float = 1.0
    intercept: float = 0.0
    nonfinite: float | None = None
    crc32: Sequence[int] | None = None
    odd: int = 0
    seen: int = 0
    extra: int = 0

    def read(self, numbers: Sequence[int]) -> Planes:
        """(number, (y, x) plane: int16 for whole numbers that fit, else float32) of each.

        Raises UnreadableVolume, where the file has checksums at the latest after the last plane.
        """
        self.odd = self.seen = self.extra = 0
        asked = sorted(set(numbers))
        with said_plainly():
            for number, stored in self._interleaved(asked) if self.fortran else self._plain(asked):
                plane = self._checked(number, stored)
                # After one that cannot be used the rest is only read to be counted.
                if not self.odd or self.nonfinite is not None:
                    yield number, plane
        if self.odd and self.nonfinite is None:
            raise UnreadableVolume(nonfinite_voxels(self.odd, self.seen))

    def notes(self) -> tuple[Decision, ...]:
        """What only reading could tell."""
        found = []
        if self.odd:
            told = f"{self.odd} voxels that were not finite set to {self.nonfinite:g}"
            found.append(Decision("load", told, {"filled": self.odd}))
        if self.extra:
            found.append(Decision("load", f"{self.extra} bytes after the last voxel were ignored"))
        return tuple(found)

    def _plain(self, asked: Sequence[int]) -> Planes:
        at, wanted = 0, set(asked)
        waste = np.empty(self.shape[1:], self.dtype)
        with self.opened() as stream:
            for number in asked if self.seekable else range(self.shape[0]):
                if number > at:
                    stream.seek((number - at) * waste.nbytes, os.SEEK_CUR)
                stored = np.empty_like(waste) if number in wanted else waste
                fill(stream, stored)
                at = number + 1
                if number in wanted:
                    yield number, stored
            if at == self.shape[0]:
                self.extra = to_the_end(stream)

    def _interleaved(self, asked: Sequence[int]) -> Planes:
        """Several planes per pass, as many as fit into memory."""
        depth, rows, columns = self.shape
        count = max(1, _BLOCK // (rows * columns * self.dtype.itemsize))
        for start in range(0, len(asked), count):
            some = list(asked[start : start + count])
            block = np.empty((columns, rows, len(some)), self.dtype)
            page = np.empty((rows, depth), self.dtype)
            with self.opened() as stream:
                for column in range(columns):
                    fill(stream, page)
                    block[column] = page[:, some]
                self.extra = to_the_end(stream)
            for index, number in enumerate(some):
                yield number, np.ascontiguousarray(block[:, :, index].T)

    def _checked(self, number: int, stored: np.ndarray) -> np.ndarray:
        """The plane as it is meant."""
        if self.crc32 is not None:
            found = isal_zlib.crc32(stored.reshape(-1).view(np.uint8))
            if found != self.crc32[number]:
                raise UnreadableVolume(
                    f"plane {number} does not have the checksum that its sidecar records: the "
                    "array was damaged or changed; make it again"
                )
        plane = stored.T if self.swapped else stored
        plane, odd = finite(rescaled(plane, self.slope, self.intercept), self.nonfinite or 0.0)
        self.odd += odd
        self.seen += plane.size
        return plane


class Inflated(io.RawIOBase):
    """The bytes of a zlib stream (`wbits` 15) or of gzip members (31); what follows is counted.

    Members of gzip that follow each other are one file (RFC 1952, 2.2). Raises EOFError when the
    last one ends early and `isal_zlib.error` when one is damaged, which includes its checksum.
    """

    def __init__(self, raw: BinaryIO, wbits: int) -> None:
        self._raw = raw
        self._wbits = wbits
        self._engine = isal_zlib.decompressobj(wbits=wbits)
        self._waiting = b""
        self._consumed = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        while not self._engine.eof or self._next_member():
            feed = self._waiting or self._more(_CHUNK)
            got = self._engine.decompress(feed, len(view))
            self._waiting = self._engine.unused_data or self._engine.unconsumed_tail
            if got:
                view[: len(got)] = got
                return len(got)
            if not feed and not self._engine.eof:
                raise EOFError
        return 0

    def read(self, size: int = -1, /) -> bytes:
        """As many bytes as asked for; fewer only at the end."""
        if size < 0:
            return self.readall()
        out, done = bytearray(size), 0
        while done < size and (got := self.readinto(memoryview(out)[done:])):
            done += got
        return bytes(out[:done])

    def _more(self, count: int) -> bytes:
        got = self._raw.read(count)
        self._consumed += len(got)
        return got

    def _next_member(self) -> bool:
        """Whether another gzip member follows the one that came to its end."""
        self._waiting += self._more(max(0, len(_MEMBER) - len(self._waiting)))
        if self._wbits != GZIP or not self._waiting.startswith(_MEMBER):
            return False
        self._engine = isal_zlib.decompressobj(wbits=self._wbits)
        return True

    @property
    def size(self) -> int:
        """Bytes that the stream itself took, once it was read to its end."""
        return self._consumed - len(self._waiting)

    @property
    def trailing(self) -> int:
        """Bytes of the file after the stream, once it was read to its end."""
        here = self._raw.tell()
        return len(self._waiting) + self._raw.seek(0, os.SEEK_END) - here


@contextmanager
def said_plainly() -> Iterator[None]:
    """What goes wrong while voxels are read, in words."""
    try:
        yield
    except EOFError as error:
        raise UnreadableVolume("the file ends before its last voxel: fetch it again") from error
    except _DAMAGED as error:
        raise UnreadableVolume(f"the data are damaged ({error}): fetch the file again") from error


def fill(stream: Any, stored: np.ndarray) -> None:
    """Read exactly one contiguous array. Raises EOFError."""
    view = memoryview(stored.reshape(-1).view(np.uint8).data)
    done = 0
    while done < len(view):
        got = stream.readinto(view[done:])
        if not got:
            raise EOFError
        done += got


def to_the_end(stream: Any) -> int:
    """Bytes left over; reading to the end is what makes a stream compare its checksum."""
    extra = 0
    while rest := stream.read(_CHUNK):
        extra += len(rest)
    return extra + (stream.trailing if isinstance(stream, Inflated) else 0)


def must_be_a_volume(shape: Sequence[int]) -> None:
    """Raise UnreadableVolume for an axis that is empty or longer than any CT."""
    if any(not 1 <= n <= MAX_DIM for n in shape):
        words = " x ".join(str(n) for n in shape)
        raise UnreadableVolume(f"the size {words} is not that of a volume (1 to {MAX_DIM} each)")
