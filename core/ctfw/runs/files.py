"""Writing so that a reader, or a resumed run, never sees half a file."""

from __future__ import annotations

import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ctfw.errors import CannotWrite, UserError


def write_text(path: Path, text: str) -> None:
    """Write to a temporary name beside `path`, then rename. Raises CannotWrite."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name beside `path` to write to; the file gets its own when the block ends without an error.

    Raises CannotWrite for what the disk refuses; `path` is then still what it was.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """An empty folder beside `path` that gets its name when the block ends without an error.

    Raises CannotWrite for what the disk refuses. `path` must not hold anything yet.
    """
    temporary = path.parent / f".{path.name}.{os.getpid()}.tmp"
    try:
        temporary.mkdir(parents=True)
        yield temporary
        readable_by_umask(temporary)
        os.replace(temporary, path)
    except OSError as error:
        raise CannotWrite(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def readable_by_umask(folder: Path) -> None:
    """Give the files of a folder the permissions of any new file: safetensors writes some that
    their owner alone can read."""
    mask = os.umask(0)
    os.umask(mask)
    for file in folder.rglob("*"):
        if file.is_file():
            file.chmod(0o666 & ~mask | file.stat().st_mode & 0o111)


def write_json(path: Path, value: Any) -> None:
    """JSON with NaN as null, written atomically."""
    write_text(path, json.dumps(clean(value), indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Content of a JSON file. Raises UserError, naming the file, when it is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path} is damaged: {error}") from error


def append_line(path: Path, value: Mapping[str, Any]) -> None:
    """Add one object to a JSON-lines file, on a line of its own even after a kill cut the last.

    Raises CannotWrite, e.g. when the disk is full.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab+") as file:
            torn = False
            if file.seek(0, os.SEEK_END):
                file.seek(-1, os.SEEK_END)
                torn = file.read(1) != b"\n"
            line = json.dumps(clean(value), ensure_ascii=False) + "\n"
            file.write(("\n" * torn + line).encode())
    except OSError as error:
        raise CannotWrite(
            f"cannot write {path}: {error.strerror or error}. What is there already is kept: make "
            "room and start again"
        ) from error


def write_lines(path: Path, values: Iterable[Mapping[str, Any]]) -> None:
    """A whole JSON-lines file, written atomically."""
    lines = [json.dumps(clean(value), ensure_ascii=False) + "\n" for value in values]
    write_text(path, "".join(lines))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Objects of a JSON-lines file; a line that a kill cut short is left out."""
    return [line for line in each_line(path) if line is not None]


def read_fitting(
    path: Path, fits: Callable[[int, Mapping[str, Any]], bool]
) -> list[dict[str, Any]]:
    """Objects of a JSON-lines file up to the first that is damaged, or of which `fits(place,
    object)` is false: what follows a damaged line need not stand where it seems to."""
    found: list[dict[str, Any]] = []
    for place, line in enumerate(each_line(path)):
        if line is None or not fits(place, line):
            break
        found.append(line)
    return found


def each_line(path: Path) -> list[dict[str, Any] | None]:
    """What each line of a JSON-lines file holds; None where it is no object."""
    if not path.is_file():
        return []
    # Not splitlines(): a text may hold U+2028 and the like, which JSON leaves as they are.
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [_object(line) for line in (lines if lines[-1] else lines[:-1])]


def _object(line: str) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (json.JSONDecodeError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def clean(value: Any) -> Any:
    """JSON-ready copy: numpy to Python, paths to text, NaN and infinity to null."""
    if isinstance(value, Mapping):
        return {str(key): clean(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [clean(item) for item in value]
    if hasattr(value, "tolist"):
        return clean(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return str(value)
