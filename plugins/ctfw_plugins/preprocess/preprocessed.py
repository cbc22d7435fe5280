"""Landing with geometry: NIfTI files that any viewer opens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

from ctfw.errors import UserError
from ctfw.paths import cache_dir
from ctfw.types import HU, Case, Volume
from ctfw_plugins.preprocess import landing
from ctfw_plugins.preprocess.configs import PreprocessedConfig

_LEVEL = 1


class Preprocessed:
    """Keeps what reaches it as `KEY.nii.gz` and `KEY.json` in `folder`.

    Axis order on disk is (x, y, z), as in every NIfTI file, with the affine in sform and qform.
    The sidecar has the same affine in full precision, the intensity, the slice positions and
    every decision; it is written last. An entry without it, or whose voxels do not have the
    recorded checksum, is made anew. Passing a volume through rounds it to `dtype`, so that a run
    that makes the entry and one that finds it see the same numbers.
    """

    def __init__(self, config: PreprocessedConfig, context: Any = None) -> None:
        self.config = config
        self.folder = config.folder or cache_dir() / "preprocessed"

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        if self.config.dtype == "int16":
            if volume.intensity != HU:
                raise UserError(
                    f"preprocessed with dtype int16 keeps whole HU, and the volume is "
                    f"'{volume.intensity}': put it before hu-window, or use float32"
                )
            whole = np.clip(np.rint(volume.array), -32768, 32767).astype(np.int16)
            return volume.but(array=whole)
        return volume.but(array=volume.array.astype(np.float32, copy=False))

    def find(self, key: str) -> Volume | None:
        """The volume under `key`; None when it is absent or damaged."""
        image, side = self._paths(key)
        try:
            sidecar = landing.read(side)
            if sidecar["dtype"] != self.config.dtype:
                return None
            array = _read(image, tuple(sidecar["shape_xyz"]), np.dtype(sidecar["dtype"]))
            intact = landing.checksum(array) == sidecar["crc32"]
            return landing.restored(array, sidecar) if intact else None
        except Exception:  # whatever is wrong with it, the entry can be made again
            return None

    def has(self, key: str) -> bool:
        """Whether an entry is there and whole, by its sidecar and length; reads no voxel."""
        return landing.complete(*self._paths(key))

    def keep(self, key: str, volume: Volume) -> None:
        """Write the volume, then its sidecar."""
        image, side = self._paths(key)
        image.parent.mkdir(parents=True, exist_ok=True)
        array = np.ascontiguousarray(self(volume).array)
        landing.write(image, lambda temporary: self._write(temporary, array, volume.affine))
        landing.commit(
            side,
            image,
            volume,
            axes_on_disk="x, y, z",
            shape_xyz=list(array.shape[::-1]),
            dtype=array.dtype.name,
            crc32=landing.checksum(array),
        )

    def _write(self, path: Path, array: np.ndarray, affine: np.ndarray) -> None:
        header = nib.Nifti1Header()
        header.set_data_dtype(array.dtype)
        header.set_data_shape(array.shape[::-1])
        header.set_xyzt_units("mm")
        header.set_qform(affine, code="scanner", strip_shears=True)
        header.set_sform(affine, code="scanner")
        header.set_slope_inter(1, 0)
        header["vox_offset"], header["magic"] = 352, b"n+1"
        packed = self.config.compress
        with igzip.open(path, "wb", compresslevel=_LEVEL) if packed else path.open("wb") as out:
            out.write(header.binaryblock + b"\0\0\0\0")
            out.write(array.tobytes())

    def _paths(self, key: str) -> tuple[Path, Path]:
        ending = ".nii.gz" if self.config.compress else ".nii"
        return self.folder / f"{key}{ending}", self.folder / f"{key}.json"


def _read(path: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
    """(z, y, x) voxels of a file that `keep` wrote. Raises ValueError when bytes are lacking."""
    packed = path.suffix == ".gz"
    with igzip.open(path, "rb") if packed else path.open("rb") as stream:
        content = stream.read()
    return np.frombuffer(bytearray(content), dtype, offset=352).reshape(shape[::-1])
