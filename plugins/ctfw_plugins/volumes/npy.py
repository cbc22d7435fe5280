"""Arrays in `.npy` files, with geometry from a `.json` file beside them.

The sidecar is what `preprocessed-numpy` writes: `axes` ("zyx" or "zxy"), `affine` (4x4, voxel
(x, y, z) -> mm in RAS+) or `spacing_mm` ({"x": .., "y": .., "z": ..} or [x, y, z]), and, where
known, `intensity` and `positions_mm`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.errors import UnreadableVolume
from ctfw.types import UNKNOWN, Volume
from ctfw.volumes.geometry import lps_affine
from ctfw_plugins.volumes.arrays import finite, rescaled
from ctfw_plugins.volumes.configs import NpyConfig


class NpyLoader:
    """`.npy` -> Volume. The paper's store has axes (z, x, y); plain arrays are (z, y, x)."""

    def __init__(self, config: NpyConfig, context: Any = None) -> None:
        self.config = config

    def can_read(self, path: Path) -> bool:
        """By name: `.npy`."""
        return path.is_file() and path.suffix.lower() == ".npy"

    def load(self, path: Path) -> Volume:
        """Read one array. Raises UnreadableVolume (not an array of numbers, no geometry)."""
        sidecar = _sidecar(path.with_suffix(".json"))
        axes = self.config.axes
        if axes == "auto":
            axes = sidecar.get("axes", "zyx")
        if axes not in ("zyx", "zxy"):
            raise UnreadableVolume(f"the sidecar's axes are {axes!r}: known are 'zyx' and 'zxy'")
        stored = _array(path)
        array = finite(rescaled(stored.swapaxes(1, 2) if axes == "zxy" else stored, 1, 0))[0]
        affine, source = self._affine(path, sidecar)
        positions = sidecar.get("positions_mm")
        if positions is not None and len(positions) != array.shape[0]:
            raise UnreadableVolume(
                f"the sidecar has {len(positions)} positions for {array.shape[0]} slices"
            )
        return Volume(
            np.ascontiguousarray(array),
            affine,
            intensity=str(sidecar.get("intensity", UNKNOWN)),
            positions_mm=None if positions is None else np.asarray(positions, float),
        ).noting("load", f"array with axes ({', '.join(axes)}), {source}", axes=axes)

    def _affine(self, path: Path, sidecar: dict[str, Any]) -> tuple[np.ndarray, str]:
        """(4x4, where it comes from). Raises UnreadableVolume when nothing gives a spacing."""
        try:
            if "affine" in sidecar:
                affine = np.asarray(sidecar["affine"], float)
                if affine.shape != (4, 4):
                    raise ValueError(f"the affine is {affine.shape}, not 4x4")
                return affine, "affine from its sidecar"
            told = sidecar.get("spacing_mm", self.config.spacing_mm)
            if told is None:
                raise UnreadableVolume(
                    f"an array has no spacing of its own: put {path.with_suffix('.json').name} "
                    'with {"spacing_mm": [x, y, z]} beside it, or set the npy loader\'s '
                    "`spacing_mm`"
                )
            x, y, z = (float(told[k]) for k in ("xyz" if isinstance(told, dict) else range(3)))
        except (KeyError, TypeError, ValueError, IndexError) as error:
            raise UnreadableVolume(f"the sidecar's geometry cannot be read: {error}") from error
        where = "its sidecar" if "spacing_mm" in sidecar else "the settings"
        return lps_affine((x, y, z)), f"spacing from {where}, orientation taken as LPS"


def _array(path: Path) -> np.ndarray:
    """(n, n, n) numbers; pickled objects are refused."""
    try:
        stored = np.load(path, allow_pickle=False)
    except (ValueError, EOFError) as error:
        # NumPy's own words advise to load pickles, which runs whatever code they hold.
        raise UnreadableVolume(
            "not a plain NumPy array: it is cut short, or holds pickled Python objects, which "
            "are never loaded; save an array of numbers with numpy.save"
        ) from error
    if not isinstance(stored, np.ndarray) or stored.ndim != 3 or 0 in stored.shape:
        shape = getattr(stored, "shape", None)
        raise UnreadableVolume(f"the array's shape is {shape}: a volume has three axes")
    if stored.dtype.kind not in "iufb":
        raise UnreadableVolume(f"the array holds {stored.dtype}, not numbers")
    return stored


def _sidecar(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UnreadableVolume(f"its sidecar {path.name} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise UnreadableVolume(f"its sidecar {path.name} is not a JSON object")
    return content
