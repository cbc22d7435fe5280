"""Landing for training: plain arrays with axes (z, x, y), as the paper stores them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ctfw.paths import cache_dir
from ctfw.types import Case, Volume
from ctfw_plugins.preprocess import landing
from ctfw_plugins.preprocess.configs import PreprocessedNumpyConfig


class PreprocessedNumpy:
    """Keeps what reaches it as `KEY.npy`, axes (z, x, y), and `KEY.json` in `folder`.

    The sidecar says the axes, the true spacing, the affine (for voxel index x, y, z), the
    intensity, the slice positions and every decision; it is written last, and the `npy` loader
    reads the pair. An entry without it, or whose bytes do not have the recorded checksum, is made
    anew. Passing a volume through rounds it to `dtype`, so that a run that makes the entry and
    one that finds it see the same numbers.
    """

    def __init__(self, config: PreprocessedNumpyConfig, context: Any = None) -> None:
        self.config = config
        self.folder = config.folder or cache_dir() / "preprocessed_numpy"

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        return volume.but(array=self._rounded(volume.array).astype(np.float32, copy=False))

    def find(self, key: str) -> Volume | None:
        """The volume under `key`, float32 (z, y, x); None when it is absent or damaged."""
        data, side = self._paths(key)
        try:
            sidecar = landing.read(side)
            stored = np.load(data, allow_pickle=False)
            if stored.dtype != self.config.dtype or landing.checksum(stored) != sidecar["crc32"]:
                return None
            array = np.ascontiguousarray(stored.swapaxes(1, 2), np.float32)
            return landing.restored(array, sidecar)
        except Exception:  # whatever is wrong with it, the entry can be made again
            return None

    def has(self, key: str) -> bool:
        """Whether an entry is there and whole, by its sidecar and length; reads no voxel."""
        return landing.complete(*self._paths(key))

    def keep(self, key: str, volume: Volume) -> None:
        """Write the array, then its sidecar."""
        data, side = self._paths(key)
        data.parent.mkdir(parents=True, exist_ok=True)
        stored = np.ascontiguousarray(self._rounded(volume.array).swapaxes(1, 2))
        landing.write(data, lambda temporary: _save(temporary, stored))
        landing.commit(
            side, data, volume, axes="zxy", dtype=stored.dtype.name, crc32=landing.checksum(stored)
        )

    def _rounded(self, array: np.ndarray) -> np.ndarray:
        return array.astype(self.config.dtype, copy=False)

    def _paths(self, key: str) -> tuple[Path, Path]:
        return self.folder / f"{key}.npy", self.folder / f"{key}.json"


def _save(path: Path, array: np.ndarray) -> None:
    with path.open("wb") as stream:
        np.save(stream, array, allow_pickle=False)
