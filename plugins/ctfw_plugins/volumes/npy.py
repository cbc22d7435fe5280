"""Arrays in `.npy` and `.npz` files, with geometry from a `.json` file beside them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ctfw.types import Volume
from ctfw.volumes.stream import SliceStream
from ctfw_plugins.volumes.configs import NpyConfig
from ctfw_plugins.volumes.numpy_file import find_array
from ctfw_plugins.volumes.planes import StoredPlanes
from ctfw_plugins.volumes.sidecar import Sidecar


class NpyLoader:
    """`.npy` and `.npz` -> Volume. The paper's store has axes (z, x, y); plain arrays (z, y, x).

    Planes of a `.npy` are reached by `seek`, one at a time: neither a memory map nor the whole
    file. Those of a `.npz` come in order, because its checksum is over all of them. Pickled
    objects are never loaded. An array does not say whether it holds HU: the sidecar's `intensity`
    may, and `rescale-hu` looks at the voxels.
    """

    def __init__(self, config: NpyConfig, context: Any = None) -> None:
        self.config = config

    def can_read(self, path: Path) -> bool:
        """By name: `.npy` or `.npz`."""
        return path.suffix.lower() in (".npy", ".npz") and path.is_file()

    def load(self, path: Path) -> Volume:
        """Read one array. Raises UnreadableVolume (not an array of numbers, no geometry)."""
        return self.stream(path).collect()

    def stream(self, path: Path) -> SliceStream:
        """The slices of one array. Raises as `load`."""
        sidecar = Sidecar(path, self.config)
        axes, unit_hu = sidecar.axes, sidecar.unit_hu
        found = find_array(path, self.config.key)
        depth, rows, columns = found.shape
        planes = StoredPlanes(
            found.opened,
            found.shape,
            found.dtype,
            seekable=found.seekable,
            fortran=found.fortran,
            swapped=axes == "zxy",
            slope=unit_hu,
            nonfinite=self.config.nonfinite,
            crc32=sidecar.plane_crc32(depth),
        )
        affine, source = sidecar.affine()
        slices = SliceStream(
            (depth, columns, rows) if axes == "zxy" else found.shape,
            affine,
            read=planes.read,
            intensity=sidecar.intensity,
            random=found.seekable and not found.fortran,
            positions_mm=sidecar.positions(depth),
        )
        text = f"{found.name} with axes ({', '.join(axes)}), {found.dtype.name} on disk, {source}"
        slices = slices.noting("load", text, axes=axes, dtype=found.dtype.name)
        if unit_hu != 1:
            slices = slices.noting("load", f"multiplied by {unit_hu:g} HU", unit_hu=unit_hu)
        return slices.closing(planes.notes)
