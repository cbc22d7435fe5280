"""A fixed number of voxels around the centre: cut where there are more, padded where fewer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ctfw.errors import UserError
from ctfw.types import Case, Volume
from ctfw.volumes.stream import Planes, SliceStream
from ctfw.volumes.voxels import AIR_HU
from ctfw_plugins.preprocess.anatomy import value_of
from ctfw_plugins.preprocess.configs import CropPadConfig


class CropPad:
    """(z, y, x) -> `size` (x, y, z); the affine follows.

    Of an odd difference the smaller half goes in front, as in CT-CLIP (crop from (n - t) // 2).
    """

    def __init__(self, config: CropPadConfig, context: Any = None) -> None:
        self.config = config

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        return self.stream(SliceStream.of(volume), case).collect()

    def stream(self, slices: SliceStream, case: Case | None = None) -> SliceStream:
        if slices.positions_mm is not None:
            raise UserError("crop-pad needs the whole volume: put it before `slices`")
        fill = self.config.fill
        if fill is None:
            fill = value_of(slices.intensity, slices.notes(), AIR_HU)
        size = self.config.size[::-1]
        starts = [_start(have, want) for have, want in zip(slices.shape, size, strict=True)]
        affine = slices.affine.copy()
        affine[:, 3] = slices.affine @ np.array([*starts[::-1], 1.0])
        z, y, x = size
        return slices.but(
            shape=(z, y, x), affine=affine, read=_reader(slices, starts, (z, y, x), fill)
        ).noting(
            "crop-pad",
            f"{' x '.join(map(str, slices.shape[::-1]))} to {x} x {y} x {z} voxels around the "
            f"centre, padded with {fill:g}",
            start=starts[::-1],
        )


def _start(have: int, want: int) -> int:
    """First voxel of the source that is kept; negative where voxels are put in front."""
    return (have - want) // 2 if have > want else -((want - have) // 2)


def _reader(
    slices: SliceStream, starts: Sequence[int], size: tuple[int, int, int], fill: float
) -> Any:
    depth = slices.shape[0]
    inside = [_overlap(*part) for part in zip(starts[1:], slices.shape[1:], size[1:], strict=True)]
    (to_y, from_y), (to_x, from_x) = inside

    def framed(plane: np.ndarray | None, dtype: Any) -> np.ndarray:
        out = np.full(size[1:], fill, dtype)
        if plane is not None:
            out[to_y, to_x] = plane[from_y, from_x]
        return out

    def read(numbers: Sequence[int]) -> Planes:
        shifted = [number + starts[0] for number in numbers]
        coming = slices.read([k for k in shifted if 0 <= k < depth])
        dtype: Any = np.float32 if not float(fill).is_integer() else np.int16
        for k in reversed(shifted) if slices.descending else shifted:
            plane = next(coming)[1] if 0 <= k < depth else None
            dtype = np.result_type(dtype, plane.dtype) if plane is not None else dtype
            yield k - starts[0], framed(plane, dtype)
        for _ in coming:  # whatever the source has to say at its end
            pass

    return read


def _overlap(start: int, have: int, want: int) -> tuple[slice, slice]:
    """(where in the result, where in the source) along one axis."""
    first, last = max(0, start), min(have, start + want)
    return slice(first - start, last - start), slice(first, last)
