"""What a source holds, as a hash: the same scan has the same identity wherever it lies.

A copy, a move or a touch of a data set then costs nothing, and duplicates share what was made of
them.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
    try:
        parts = [_Part.of(name, file) for name, file in _parts(path)]
        known = _memory(path, parts)
        if known is not None:
            with suppress(OSError, ValueError, KeyError, TypeError):
                return str(json.loads(known.read_text(encoding="utf-8"))["hash"])
        found = _hash(*(f"|{part.name}|{part.hash()}" for part in parts))
    except OSError as error:
        raise UnreadableVolume(f"{path}: cannot be read: {error.strerror or error}") from error
    if known is not None:
        _remember(known, found)
    return found


@dataclass(frozen=True, slots=True)
class _Part:
    """One file of a source; `packed` where its ends say all."""

    name: str
    file: Path
    size: int
    time: int
    start: bytes
    packed: bool

    @classmethod
    def of(cls, name: str, file: Path) -> _Part:
        facts = file.stat()
        with file.open("rb") as stream:
            start = stream.read(_ENDS)
        # bgzip writes many members, and the last one says nothing of the others.
        packed = start[:2] == _GZIP and start[12:14] != _BGZF
        return cls(name, file, facts.st_size, facts.st_mtime_ns, start, packed)

    def hash(self) -> str:
        with self.file.open("rb") as stream:
            if self.packed:
                stream.seek(max(0, self.size - _ENDS))
                return _hash(f"gzip {self.size} ", self.start, stream.read(_ENDS))
            digest = hashlib.blake2b(digest_size=16)
            while chunk := stream.read(_CHUNK):
                digest.update(chunk)
        return digest.hexdigest()


def _parts(path: Path) -> Iterator[tuple[str, Path]]:
    """(name, file) of everything that belongs to a source; the source's own name does not."""
    if path.is_dir():
        seen: set[str] = set()
        for folder, below, names in os.walk(path, followlinks=True):
            # A link may lead back into a folder that was walked already.
            below[:] = sorted(below) if (real := os.path.realpath(folder)) not in seen else []
            for name in sorted(names) if real not in seen else ():
                file = Path(folder) / name
                if file.is_file():
                    yield str(file.relative_to(path)), file
            seen.add(real)
        return
    yield path.suffix, path
    for suffix in _SIDECARS.get(path.suffix.lower(), ()):
        side = path.with_suffix(suffix)
        with suppress(OSError):  # a name may be too long for one more letter
            if side.is_file():
                yield suffix, side
    if pattern := _DETACHED.get(path.suffix.lower()):
        with path.open("rb") as header:
            found = re.search(pattern, header.read(1 << 16).decode("latin-1"), re.IGNORECASE)
        if found and (data := path.parent / found[1].strip()).is_file():
            yield found[1].strip(), data


def _memory(path: Path, parts: Sequence[_Part]) -> Path | None:
    """Where the hash of a source is remembered; None where it is had faster than looked up."""
    if sum(part.size for part in parts if not part.packed) < _REMEMBERED:
        return None
    facts = (f"|{part.name}|{part.size}|{part.time}" for part in parts)
    name = _hash(str(path.resolve()), *facts)
    return cache_dir() / "identities" / name[:2] / f"{name[2:]}.json"


def _remember(known: Path, found: str) -> None:
    with suppress(OSError):  # a cache that cannot be written costs time only
        known.parent.mkdir(parents=True, exist_ok=True)
        temporary = known.with_name(f"{known.name}.{os.getpid()}.tmp")
        temporary.write_text(json.dumps({"hash": found}), encoding="utf-8")
        os.replace(temporary, known)


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode(errors="surrogateescape"))
    return digest.hexdigest()
