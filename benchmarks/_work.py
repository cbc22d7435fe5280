"""What the work of the preprocessing benchmark is, and what several peers need for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

LOW, HIGH, SCALE = -1000.0, 1000.0, 1000.0


@dataclass(frozen=True)
class Source:
    """A file with what its data set's table says of it; tuples are in the order (x, y, z)."""

    path: Path
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    target_mm: tuple[float, float, float]
    slope: float
    intercept: float

    @property
    def size_zxy(self) -> tuple[int, int, int]:
        """Voxels afterwards by CT-CLIP's rule: int(n * spacing / target)."""
        x, y, z = (
            int(n * s / t)
            for n, s, t in zip(self.shape, self.spacing_mm, self.target_mm, strict=True)
        )
        return z, x, y


Work = Callable[[Source, Path], None]


def one_threaded_torch() -> Any:
    import torch

    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)
    return torch


def isal() -> Any:
    from isal import igzip

    return igzip


def stored(source: Source) -> np.ndarray:
    """(z, y, x) int16 of a NIfTI-1 file, decompressed by isal straight into the array."""
    voxels = np.empty(source.shape[::-1], "<i2")
    target = memoryview(voxels.reshape(-1).view(np.uint8).data)
    with isal().open(source.path, "rb") as stream:
        head = stream.read(348)
        stream.read(int(np.frombuffer(head, "<f4", 1, 108)[0]) - 348)
        done = 0
        while done < len(target):
            done += stream.readinto(target[done:]) or _ended(source.path)
    return voxels


def _ended(path: Path) -> int:
    raise EOFError(f"{path.name} ends before its last voxel")


def finish(voxels: np.ndarray, source: Source) -> None:
    """Stored values to [-1, 1] in place: HU, clamp and scale."""
    voxels *= np.float32(source.slope / SCALE)
    voxels += np.float32(source.intercept / SCALE)
    np.clip(voxels, LOW / SCALE, HIGH / SCALE, out=voxels)


def save(folder: Path, zxy: np.ndarray) -> None:
    np.save(folder / "volume.npy", np.ascontiguousarray(zxy))
