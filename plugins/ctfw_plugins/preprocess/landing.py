"""What the two stores share: atomic files, a sidecar written last, distrust of what is found."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from isal import isal_zlib

from ctfw.types import Decision, Volume

FORMAT = 1


def write(path: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a temporary file, then rename it: a reader sees all of it or nothing."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        fill(temporary)
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


def commit(path: Path, data: Path, volume: Volume, **more: Any) -> None:
    """Write the sidecar. Its presence says that the array in `data` is complete.

    It holds the geometry, the intensity and every decision, and of the source nothing else.
    """
    z, y, x = volume.spacing_mm
    content = {
        "format": FORMAT,
        **more,
        "bytes": data.stat().st_size,
        "spacing_mm": {"x": x, "y": y, "z": z},
        "affine": volume.affine.tolist(),
        "intensity": volume.intensity,
        "positions_mm": None if volume.positions_mm is None else volume.positions_mm.tolist(),
        "provenance": [
            {"step": d.step, "text": d.text, "values": dict(d.values)} for d in volume.provenance
        ],
    }
    text = json.dumps(content, indent=1, default=_plain)
    write(path, lambda temporary: _put(temporary, text))


def complete(data: Path, side: Path) -> bool:
    """Whether an entry is there and as long as it was when it was committed. Reads no voxel."""
    try:
        return bool(data.stat().st_size == read(side)["bytes"])
    except (OSError, ValueError, KeyError):
        return False


def read(path: Path) -> dict[str, Any]:
    """The sidecar. Raises ValueError or OSError for anything but one this version wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("a sidecar of another version")
    return content


def restored(array: np.ndarray, sidecar: dict[str, Any]) -> Volume:
    """The volume that was committed, given its (z, y, x) array."""
    positions = sidecar["positions_mm"]
    return Volume(
        array,
        np.asarray(sidecar["affine"], float),
        intensity=str(sidecar["intensity"]),
        provenance=tuple(
            Decision(d["step"], d["text"], d["values"]) for d in sidecar["provenance"]
        ),
        positions_mm=None if positions is None else np.asarray(positions, float),
    )


def checksum(array: np.ndarray) -> int:
    """CRC-32 of the bytes of a contiguous array."""
    return int(isal_zlib.crc32(np.ascontiguousarray(array).reshape(-1).view(np.uint8)))


def _put(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")


def _plain(value: Any) -> Any:
    """JSON form of what numpy and paths leave in a decision."""
    if isinstance(value, np.generic):
        return value.item()
    return value.tolist() if isinstance(value, np.ndarray) else str(value)
