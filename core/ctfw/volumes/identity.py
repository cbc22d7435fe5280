"""What a source holds, as a hash: the same scan has the same identity wherever it lies.

A copy, a move or a touch of a data set then costs nothing, and duplicates share what was made of
them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ctfw.errors import UnreadableVolume
from ctfw.paths import cache_dir

_GZIP = b"\x1f\x8b"
_BGZF = b"BC"
_ENDS = 4096
_CHUNK = 1 << 20
_REMEMBERED = 1 << 22  # bytes above which a hash is worth keeping
_SIDECARS = {".npy": (".json",), ".npz": (".json",)}
_DETACHED = {".mhd": r"ElementDataFile\s*=\s*(\S.*)", ".nhdr": r"data ?file\s*:\s*(\S.*)"}


def source_identity(path: Path) -> str:
    """Hash of the content of a file, of the files of a folder, and of a sidecar beside an array.

    A gzip file ends with the checksum and the length of all that is in it, so its ends and its
    size identify it and a CT-RATE volume costs microseconds. Anything else is read once and
    remembered under its path, size and time. Raises UnreadableVolume when it is missing.
    """
    path = Path(path)
    if not path.exists():
        raise UnreadableVolume(f"{path}: no such file or folder")
    digest = hashlib.blake2b(digest_size=16)
    try:
        for name, part in _parts(path):
            digest.update(f"|{name}|{_file(part)}".encode(errors="surrogateescape"))
    except OSError as error:
        raise UnreadableVolume(f"{path}: cannot be read: {error.strerror or error}") from error
    return digest.hexdigest()


def _parts(path: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of everything that belongs to a source; the source's own name does not."""
    if path.is_dir():
        for folder, below, names in os.walk(path):
            below.sort()
            for name in sorted(names):
                file = Path(folder) / name
                if file.is_file():
                    yield str(file.relative_to(path)), file
        return
    yield path.suffix, path
    for suffix in _SIDECARS.get(path.suffix.lower(), ()):
        if (side := path.with_suffix(suffix)).is_file():
            yield suffix, side
    if pattern := _DETACHED.get(path.suffix.lower()):
        with path.open("rb") as header:
            found = re.search(pattern, header.read(1 << 16).decode("latin-1"), re.IGNORECASE)
        if found and (data := path.parent / found[1].strip()).is_file():
            yield found[1].strip(), data


def _file(path: Path) -> str:
    """Hash of one file's content."""
    facts = path.stat()
    with path.open("rb") as file:
        start = file.read(_ENDS)
        # bgzip writes many members, and the last one says nothing of the others.
        if start[:2] == _GZIP and start[12:14] != _BGZF:
            file.seek(max(0, facts.st_size - _ENDS))
            return _hash(f"gzip {facts.st_size} ".encode(), start, file.read(_ENDS))
    if facts.st_size < _REMEMBERED:
        return _read(path)
    known = _memory(path, facts)
    with suppress(OSError, ValueError, KeyError, TypeError):
        return str(json.loads(known.read_text(encoding="utf-8"))["hash"])
    found = _read(path)
    with suppress(OSError):  # a cache that cannot be written costs time only
        known.parent.mkdir(parents=True, exist_ok=True)
        temporary = known.with_name(f"{known.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"hash": found}), encoding="utf-8")
        os.replace(temporary, known)
    return found


def _read(path: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _memory(path: Path, facts: os.stat_result) -> Path:
    """Where the hash of a large file is remembered."""
    text = f"{path.resolve()}|{facts.st_size}|{facts.st_mtime_ns}"
    name = _hash(text.encode(errors="surrogateescape"))
    return cache_dir() / "identities" / name[:2] / f"{name[2:]}.json"


def _hash(*parts: bytes) -> str:
    return hashlib.blake2b(b"".join(parts), digest_size=16).hexdigest()
