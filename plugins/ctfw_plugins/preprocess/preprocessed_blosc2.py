"""Landing that saves space: each slice packed by Blosc2, and read alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import IO, Any

import blosc2
import numpy as np

from ctfw.volumes.stream import SliceStream
from ctfw_plugins.preprocess import landing
from ctfw_plugins.preprocess.configs import PreprocessedBlosc2Config
from ctfw_plugins.preprocess.store import InOrder, Packing, Shape, SliceStore, Stored

_CODECS = {"zstd": blosc2.Codec.ZSTD, "lz4": blosc2.Codec.LZ4}
_FILTERS = {
    "shuffle": (blosc2.Filter.SHUFFLE,),
    "bitshuffle": (blosc2.Filter.BITSHUFFLE,),
    "bytedelta": (blosc2.Filter.SHUFFLE, blosc2.Filter.BYTEDELTA),
}
_SLOTS = 6  # filters that a Blosc2 chunk has room for
_BLOCK = 1 << 17  # given, so that the bytes do not depend on what Blosc2 thinks best for a machine


class PreprocessedBlosc2(SliceStore):
    """Keeps what reaches it as `KEY.blosc2` and `KEY.json` in `folder`.

    The data file is one Blosc2 chunk per slice (y, x), from feet to head, and nothing else: the
    same voxels give the same bytes. The sidecar has the length and the checksum of each chunk,
    the checksum of each slice, the affine, the spacing, the intensity, the slice positions and
    every decision. Ten slices cost ten chunks.

    It is no Blosc2 frame, so that every byte can be checked before Blosc2 sees it: damage in a
    chunk or in the index of a frame can end the process.
    """

    def __init__(self, config: PreprocessedBlosc2Config, context: Any = None) -> None:
        super().__init__("preprocessed-blosc2", config.folder, ".blosc2", config.dtype)
        self.config = config

    def _packing(self, file: IO[bytes], slices: SliceStream) -> Packing:
        return _Chunks(file, slices.shape, _settings(self.config, self.dtype.itemsize))

    def _shape(self, data: Path, sidecar: Mapping[str, Any]) -> Shape:
        depth, height, width = sidecar["shape_zyx"]
        lengths = sidecar["chunk_bytes"]
        if len(lengths) != depth or len(sidecar["chunk_crc32"]) != depth:
            raise ValueError("not a chunk for each slice")
        return depth, height, width

    def _stored(
        self, data: Path, shape: Shape, sidecar: Mapping[str, Any], numbers: Sequence[int]
    ) -> Stored:
        lengths, crc = sidecar["chunk_bytes"], sidecar["chunk_crc32"]
        starts = list(accumulate(lengths, initial=0))
        with data.open("rb", buffering=0) as file:
            for number in numbers:
                file.seek(starts[number])
                chunk = file.read(lengths[number])
                if landing.crc32(chunk) != crc[number]:
                    raise ValueError("a chunk has another checksum")
                stored = np.empty(shape[1:], self.dtype)
                # Blosc2 writes as much as the chunk holds, whatever there is room for.
                if blosc2.get_cbuffer_sizes(chunk)[0] != stored.nbytes:
                    raise ValueError("a chunk of another shape than the sidecar says")
                blosc2.decompress2(chunk, stored, nthreads=1)
                yield number, stored


class _Chunks:
    """Chunks in ascending order; those that come too early wait in packed form."""

    def __init__(self, file: IO[bytes], shape: Shape, settings: Mapping[str, Any]) -> None:
        self.shape, self.settings = shape, settings
        self.length, self.crc = [0] * shape[0], [0] * shape[0]
        self.in_order = InOrder(file.write)

    def put(self, number: int, plane: np.ndarray) -> None:
        chunk = blosc2.compress2(plane, **self.settings)
        self.length[number], self.crc[number] = len(chunk), landing.crc32(chunk)
        self.in_order(number, chunk)

    def close(self) -> dict[str, Any]:
        return {
            "axes": "zyx",
            "shape_zyx": list(self.shape),
            "chunk_bytes": self.length,
            "chunk_crc32": self.crc,
        }


def _settings(config: PreprocessedBlosc2Config, itemsize: int) -> dict[str, Any]:
    """How Blosc2 packs, on one thread: there is a worker per core already."""
    used = _FILTERS[config.filter]
    free = _SLOTS - len(used)
    bytedelta = config.filter == "bytedelta"
    return {
        "codec": _CODECS[config.codec],
        "clevel": config.level,
        "filters": [blosc2.Filter.NOFILTER] * free + list(used),
        # the number of byte streams that bytedelta takes the differences in
        "filters_meta": [0] * (_SLOTS - 1) + [itemsize if bytedelta else 0],
        "typesize": itemsize,
        "blocksize": _BLOCK,
        "nthreads": 1,
    }
