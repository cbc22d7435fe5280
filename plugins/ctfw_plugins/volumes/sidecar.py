"""The `.json` file beside an array, which says what an array cannot: where it lies.

It is what `preprocessed-numpy` writes: `axes` ("zyx" or "zxy"), `affine` (4x4, voxel (x, y, z) ->
mm in RAS+) or `spacing_mm` ({"x": .., "y": .., "z": ..} or [x, y, z]), and, where known,
`intensity`, `unit_hu`, `positions_mm` and `plane_crc32`.
"""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.errors import UnreadableVolume
from ctfw.types import HU, NORMALISED, RAW, UNKNOWN
from ctfw.volumes.geometry import lps_affine
from ctfw_plugins.volumes.configs import NpyConfig

_MAX_BYTES = 1 << 24
_BAD = (KeyError, TypeError, ValueError, IndexError, OverflowError)


class Sidecar:
    """The settings of the loader and the sidecar of one array; the settings win where both speak.

    Raises UnreadableVolume when the sidecar is there and is not a JSON object.
    """

    def __init__(self, path: Path, config: NpyConfig) -> None:
        self.name = path.with_suffix(".json").name
        self.content = _content(path.with_suffix(".json"))
        self.config = config

    @property
    def axes(self) -> str:
        """Order of the axes on disk: zyx or zxy."""
        axes = self.config.axes
        if axes == "auto":
            axes = self.content.get("axes", "zyx")
        if axes not in ("zyx", "zxy"):
            raise UnreadableVolume(f"the sidecar's axes are {axes!r}: known are 'zyx' and 'zxy'")
        return str(axes)

    @property
    def unit_hu(self) -> float:
        """HU that 1.0 stands for; 1 where nobody says."""
        told = self.config.unit_hu or self.content.get("unit_hu", 1.0)
        if not isinstance(told, (int, float)) or not 0 < told < 1e6:
            raise UnreadableVolume(
                f"the sidecar's unit_hu is {told!r}: it is the number of HU that 1.0 stands for"
            )
        return float(told)

    @property
    def intensity(self) -> str:
        """What the sidecar calls the values; unknown again once they were scaled back."""
        told = self.content.get("intensity", UNKNOWN)
        if told not in (HU, RAW, NORMALISED, UNKNOWN):
            raise UnreadableVolume(
                f"the sidecar's intensity is {told!r}: known are hu, raw, normalised and unknown"
            )
        return UNKNOWN if told == NORMALISED and self.unit_hu != 1 else str(told)

    def affine(self) -> tuple[np.ndarray, str]:
        """(4x4, where it comes from). Raises UnreadableVolume when nothing gives a spacing."""
        try:
            if "affine" in self.content:
                affine = np.asarray(self.content["affine"], float)
                if affine.shape != (4, 4) or (affine[3] != (0, 0, 0, 1)).any():
                    raise ValueError("an affine is 4x4 with the last row 0, 0, 0, 1")
                return affine, "affine from its sidecar"
            told = self.content.get("spacing_mm", self.config.spacing_mm)
            if told is None:
                raise UnreadableVolume(
                    f"an array has no spacing of its own: put {self.name} with "
                    '{"spacing_mm": [x, y, z]} beside it, or set the npy loader\'s `spacing_mm`'
                )
            x, y, z = _three(told)
        except _BAD as error:
            raise UnreadableVolume(f"the sidecar's geometry cannot be read: {error}") from error
        where = "its sidecar" if "spacing_mm" in self.content else "the settings"
        return lps_affine((x, y, z)), f"spacing from {where}, orientation taken as LPS"

    def positions(self, depth: int) -> np.ndarray | None:
        """(z,) mm of each slice, or None where they are even."""
        told = self.content.get("positions_mm")
        if told is None:
            return None
        try:
            positions = np.asarray(told, float).reshape(-1)
        except _BAD as error:
            raise UnreadableVolume(f"the sidecar's positions cannot be read: {error}") from error
        if len(positions) != depth:
            raise UnreadableVolume(f"the sidecar has {len(positions)} positions for {depth} slices")
        steps = np.diff(positions)
        if not np.isfinite(positions).all() or not ((steps > 0).all() or (steps < 0).all()):
            raise UnreadableVolume(
                "the sidecar's positions do not rise or fall from slice to slice"
            )
        return positions

    def plane_crc32(self, depth: int) -> list[int] | None:
        """CRC-32 of each plane along the first axis on disk, where they were recorded."""
        told = self.content.get("plane_crc32")
        if told is None:
            return None
        if not isinstance(told, list) or not all(type(item) is int for item in told):
            raise UnreadableVolume("the sidecar's plane_crc32 is not a list of whole numbers")
        if len(told) != depth:
            raise UnreadableVolume(f"the sidecar has {len(told)} checksums for {depth} planes")
        return told


def _three(told: Any) -> tuple[float, float, float]:
    """Spacing along x, y, z of {"x": .., "y": .., "z": ..} or [x, y, z]. Raises ValueError."""
    items: Any = [told.get(axis) for axis in "xyz"] if isinstance(told, dict) else told
    numbers = isinstance(items, (list, tuple)) and all(
        isinstance(item, (int, float)) and not isinstance(item, bool) for item in items
    )
    if not numbers or len(items) != 3:
        raise ValueError(
            f'spacing_mm is {json.dumps(told)[:60]}, not three numbers, [x, y, z] or {{"x": .., '
            '"y": .., "z": ..}'
        )
    x, y, z = items
    return float(x), float(y), float(z)


def _content(path: Path) -> dict[str, Any]:
    try:
        if not path.is_file():
            return {}
        if path.stat().st_size > _MAX_BYTES:
            raise UnreadableVolume(f"its sidecar {path.name} is larger than 16 MB: no sidecar")
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UnreadableVolume(f"its sidecar {path.name} is not readable JSON: {error}") from error
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return {}  # the array's name leaves no room for such a file beside it
        raise UnreadableVolume(
            f"its sidecar {path.name} cannot be read: {error.strerror}"
        ) from error
    if not isinstance(content, dict):
        raise UnreadableVolume(f"its sidecar {path.name} is not a JSON object")
    return content
