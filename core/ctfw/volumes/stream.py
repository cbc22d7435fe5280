"""A volume read slice by slice, so that memory does not grow with the number of slices.

A loader offers the slices of a file, steps pass them on, and a store writes them as they come:
nobody holds the volume. Whatever cannot work that way takes the whole (`SliceStream.collect`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ctfw.types import UNKNOWN, Decision, Volume

Planes = Iterator[tuple[int, np.ndarray]]
Read = Callable[[Sequence[int]], Planes]
Notes = Callable[[], tuple[Decision, ...]]


class StartAgain(Exception):
    """A first look at the slices misled a step: read the source once more, looking at all first.

    `VolumePipeline` catches it; it never reaches a user.
    """


def _nothing() -> tuple[Decision, ...]:
    return ()


@dataclass(frozen=True)
class SliceStream:
    """What a `Volume` says of itself, and its slices on demand.

    shape         (z, y, x)
    affine        4x4, voxel index (x, y, z, 1) -> millimetres in RAS+, as in `Volume`
    read          ascending slice numbers -> (number, plane (y, x)) of each, in the order of the
                  source. May be called again, which reads anew. Whoever reads must read to the
                  end: only then has the source compared its checksum. A plane belongs to the
                  reader, who may overwrite it. Dtypes may differ between planes (whole numbers
                  that fit are int16, others float32)
    notes         () -> decisions so far, oldest first; complete once `read` has come to its end
    descending    the source gives the highest number first
    random        reading some slices costs those slices; else everything before them is read too
    look_first    a step that must know all slices before it passes one on has to read them all
                  first, instead of judging by a few and raising `StartAgain`
    positions_mm  (z,) as in `Volume`
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    read: Read
    intensity: str = UNKNOWN
    notes: Notes = _nothing
    descending: bool = False
    random: bool = False
    look_first: bool = False
    positions_mm: np.ndarray | None = None

    @classmethod
    def of(cls, volume: Volume) -> SliceStream:
        """The slices of a volume in memory."""

        def read(numbers: Sequence[int]) -> Planes:
            for number in numbers:
                yield number, volume.array[number].copy()

        depth, height, width = volume.array.shape
        return cls(
            (depth, height, width),
            volume.affine,
            read,
            volume.intensity,
            lambda: volume.provenance,
            random=True,
            positions_mm=volume.positions_mm,
        )

    @property
    def spacing_mm(self) -> tuple[float, float, float]:
        """Distance between voxel centres along (z, y, x)."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(z), float(y), float(x)

    def but(self, **changes: Any) -> SliceStream:
        """A copy with some fields replaced."""
        return replace(self, **changes)

    def noting(self, step: str, text: str, **values: Any) -> SliceStream:
        """A copy with one more decision."""
        return self.closing(lambda: (Decision(step, text, values),))

    def closing(self, more: Notes) -> SliceStream:
        """A copy with decisions that are known only once the slices were read."""
        before = self.notes
        return self.but(notes=lambda: (*before(), *more()))

    def each(self, change: Callable[[np.ndarray], np.ndarray]) -> SliceStream:
        """A copy whose planes went through `change`."""
        source = self.read

        def read(numbers: Sequence[int]) -> Planes:
            for number, plane in source(numbers):
                yield number, change(plane)

        return self.but(read=read)

    def drain(self) -> None:
        """Read every slice and keep none, for what reading does on the way."""
        for _ in self.read(range(self.shape[0])):
            pass

    def collect(self) -> Volume:
        """The whole volume in memory: int16 if every plane is, else float32."""
        array: np.ndarray | None = None
        for number, plane in self.read(range(self.shape[0])):
            if array is None:
                array = np.empty(self.shape, plane.dtype)
            elif array.dtype != plane.dtype:
                array = array.astype(np.result_type(array, plane), copy=False)
            array[number] = plane
        if array is None:
            raise ValueError("a volume has at least one slice")
        return Volume(
            array, self.affine, self.intensity, self.notes(), positions_mm=self.positions_mm
        )


def gathered(
    source: Read,
    descending: bool,
    needs: Mapping[int, range],
    on_arrival: Callable[[np.ndarray], np.ndarray] = lambda plane: plane,
) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Each result's number with the source planes it is made of, in the order of the source.

    needs       result -> source slices; a higher result needs no lower slices
    on_arrival  done once with each plane; results share planes, so they must not be overwritten

    A plane is held as long as a result to come needs it. The source is read to its end.
    """
    coming = source(sorted({k for rows in needs.values() for k in rows}))
    held: dict[int, np.ndarray] = {}
    for number in sorted(needs, reverse=descending):
        rows = needs[number]
        for gone in [k for k in held if (k > rows[-1] if descending else k < rows[0])]:
            del held[gone]
        while any(k not in held for k in rows):
            k, plane = next(coming)
            held[k] = on_arrival(plane)
        yield number, [held[k] for k in rows]
    for _ in coming:  # whatever the source has to say at its end
        pass
