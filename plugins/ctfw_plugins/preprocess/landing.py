"""Files of a store: atomic, with a sidecar that is written last and says what is there."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import numpy as np
from isal import isal_zlib

from ctfw.errors import CannotWrite
from ctfw.types import Decision
from ctfw.volumes.stream import SliceStream

FORMAT = 2
_HOST = socket.gethostname().split(".")[0]

try:
    import fcntl
except ImportError:  # not on Windows: there a file is abandoned after a day
    fcntl = None  # type: ignore[assignment]

_TEMPORARY = re.compile(r"\..*\.([^.]*)\.\d+\.tmp")
_DAY_S = 86400


@contextmanager
def writing(path: Path) -> Iterator[IO[bytes]]:
    """A temporary file that takes the place of `path` when all went well: a reader sees all of it
    or nothing. Raises CannotWrite for a full disk, a read-only folder and the like."""
    temporary = path.with_name(f".{path.name}.{_HOST}.{os.getpid()}.tmp")
    try:
        with said_plainly(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = _claimed(temporary)
        try:
            yield file
            with said_plainly(path):
                file.flush()
                os.replace(temporary, path)
        finally:
            with suppress(OSError):  # what could not be written has been said already
                file.close()
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def sweep(folder: Path) -> None:
    """Remove what killed processes left: of this host if nobody holds it, else after a day."""
    with suppress(OSError):
        for entry in os.scandir(folder):
            found = _TEMPORARY.fullmatch(entry.name)
            if found is None:
                continue
            with suppress(OSError):
                old = time.time() - entry.stat().st_mtime > _DAY_S
                if old or (found[1] == _HOST and _abandoned(entry.path)):
                    os.unlink(entry.path)


def _claimed(path: Path) -> IO[bytes]:
    """A new file, locked as long as it is open: the lock goes with the process, however it ends."""
    while True:
        file = path.open("wb")
        # A sweep may have taken the file for an abandoned one before it was locked.
        if _lock(file) is not False and os.fstat(file.fileno()).st_nlink:
            return file
        file.close()


def _abandoned(path: str) -> bool:
    """Whether the process that made it is gone. Where files cannot be locked nobody can tell."""
    with open(path, "rb") as file:
        return _lock(file) is True


def _lock(file: IO[bytes]) -> bool | None:
    """Hold the file: False where another process does, None where files cannot be locked."""
    if fcntl is None:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@contextmanager
def said_plainly(path: Path) -> Iterator[None]:
    """What the operating system says while `path` is written, as CannotWrite."""
    try:
        yield
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from error


def commit(path: Path, data: Path, slices: SliceStream, **more: Any) -> None:
    """Write the sidecar. Its presence says that the array in `data` is complete.

    It holds the geometry, the intensity and every decision, and of the source nothing else.
    """
    z, y, x = slices.spacing_mm
    content = {
        "format": FORMAT,
        **more,
        "bytes": data.stat().st_size,
        "spacing_mm": {"x": x, "y": y, "z": z},
        "affine": slices.affine.tolist(),
        "intensity": slices.intensity,
        "positions_mm": None if slices.positions_mm is None else slices.positions_mm.tolist(),
        "provenance": [
            {"step": d.step, "text": d.text, "values": dict(d.values)} for d in slices.notes()
        ],
    }
    text = json.dumps(content, indent=1, default=_plain)
    with writing(path) as file, said_plainly(path):
        file.write(text.encode())


def complete(data: Path, side: Path) -> bool:
    """Whether an entry is there and as long as it was when it was committed. Reads no voxel."""
    try:
        return bool(data.stat().st_size == read(side)["bytes"])
    except (OSError, ValueError, KeyError):
        return False


def size(*files: Path) -> int:
    """Bytes of the files of an entry that are there."""
    return sum(file.stat().st_size for file in files if file.is_file())


def read(path: Path) -> dict[str, Any]:
    """The sidecar. Raises ValueError or OSError for anything but one this version wrote."""
    content = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ValueError("a sidecar of another version")
    return content


def described(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """What a stored entry says of itself, as fields of a `SliceStream`."""
    positions = sidecar["positions_mm"]
    decisions = tuple(Decision(d["step"], d["text"], d["values"]) for d in sidecar["provenance"])
    return {
        "affine": np.asarray(sidecar["affine"], float),
        "intensity": str(sidecar["intensity"]),
        "notes": lambda: decisions,
        "positions_mm": None if positions is None else np.asarray(positions, float),
    }


def checksum(array: np.ndarray) -> int:
    """CRC-32 of the bytes of a contiguous array."""
    return crc32(array.reshape(-1).view(np.uint8))


def crc32(content: bytes | np.ndarray) -> int:
    """CRC-32 of bytes."""
    return int(isal_zlib.crc32(content))


def _plain(value: Any) -> Any:
    """JSON form of what numpy and paths leave in a decision."""
    if isinstance(value, np.generic):
        return value.item()
    return value.tolist() if isinstance(value, np.ndarray) else str(value)
