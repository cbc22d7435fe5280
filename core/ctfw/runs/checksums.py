"""Whether the files of a checkpoint are those that were written.

A flipped bit in a weight is still a number: nothing else would see it, and a model that is resumed,
scored or exported would be another one. CRC-32, because it keeps up with any disk.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from isal import isal_zlib

from ctfw.errors import BadCheckpoint, UserError
from ctfw.runs.files import read_json, write_json

NAME = "checksums.json"
_AT_ONCE = 1 << 24


def checksums(folder: Path, *parts: str) -> dict[str, str]:
    """CRC-32, eight hex digits, of the files that `parts` name or hold, by path in the folder."""
    return {
        file.relative_to(folder).as_posix(): _crc32(file)
        for part in parts
        for file in [folder / part, *sorted((folder / part).rglob("*"))]
        if file.is_file()
    }


def write_checksums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write them beside the files."""
    write_json(folder / NAME, {"crc32": dict(sorted(sums.items()))})


def check_files(folder: Path, *parts: str) -> None:
    """Compare files with what was kept; a folder from before there were checksums passes.

    parts  names of files and folders in it, e.g. "model"
    Raises BadCheckpoint for a file that is missing or differs.
    """
    if not (folder / NAME).is_file():
        return
    try:
        kept = dict(read_json(folder / NAME)["crc32"])
    except (UserError, ValueError, TypeError, KeyError) as error:
        raise BadCheckpoint(f"{folder / NAME} is damaged: {error}") from error
    for name, told in kept.items():
        if any(name == part or name.startswith(f"{part}/") for part in parts):
            _check(folder / name, told)


def _check(file: Path, told: str) -> None:
    try:
        found = _crc32(file)
    except OSError as error:
        raise BadCheckpoint(f"{file} cannot be read: {error.strerror or error}") from error
    if found != told:
        raise BadCheckpoint(
            f"{file} is damaged: its CRC-32 is {found}, and was {told} when it was written. Copy "
            "it from where it is whole"
        )


def _crc32(file: Path) -> str:
    found = 0
    with file.open("rb", buffering=0) as stream:
        while block := stream.read(_AT_ONCE):
            found = isal_zlib.crc32(block, found)
    return f"{found:08x}"
