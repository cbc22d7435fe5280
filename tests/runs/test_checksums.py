"""A file of a checkpoint that is not what was written is found, whatever it is."""

from __future__ import annotations

import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.errors import BadCheckpoint
from ctfw.runs.checksums import NAME, check_files, checksums, write_checksums
from ctfw.runs.files import read_json


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "model" / "deep").mkdir(parents=True)
    (tmp_path / "model" / "weights").write_bytes(bytes(range(256)) * 8)
    (tmp_path / "model" / "deep" / "shape.json").write_text("{}")
    (tmp_path / "state").write_bytes(b"moments")
    write_checksums(tmp_path, checksums(tmp_path, "model", "state"))
    return tmp_path


def test_checksums_are_crc32_by_path(folder: Path) -> None:
    kept = read_json(folder / NAME)["crc32"]
    assert list(kept) == ["model/deep/shape.json", "model/weights", "state"]
    assert kept["model/weights"] == f"{zlib.crc32(bytes(range(256)) * 8):08x}"


def test_whole_files_pass(folder: Path) -> None:
    check_files(folder, "model", "state")


@given(place=st.integers(0, 2047), bit=st.integers(0, 7))
def test_any_flipped_bit_is_found_and_its_file_named(
    place: int, bit: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("checkpoint")
    content = bytearray(bytes(range(256)) * 8)
    (folder / "weights").write_bytes(content)
    write_checksums(folder, checksums(folder, "weights"))
    content[place] ^= 1 << bit
    (folder / "weights").write_bytes(content)
    with pytest.raises(BadCheckpoint, match=r"/weights is damaged: its CRC-32 is [0-9a-f]{8}, and"):
        check_files(folder, "weights")


def test_missing_file_is_named(folder: Path) -> None:
    (folder / "model" / "deep" / "shape.json").unlink()
    with pytest.raises(BadCheckpoint, match=r"shape.json cannot be read: No such file"):
        check_files(folder, "model")


def test_only_what_is_asked_for_is_read(folder: Path) -> None:
    (folder / "state").write_bytes(b"else")
    check_files(folder, "model")
    check_files(folder, "stat")  # the beginning of a name is not the name
    with pytest.raises(BadCheckpoint, match="/state is damaged"):
        check_files(folder, "state")


def test_folder_from_before_there_were_checksums_passes(folder: Path) -> None:
    (folder / NAME).unlink()
    (folder / "state").write_bytes(b"else")
    check_files(folder, "model", "state")


@pytest.mark.parametrize("content", ["", "[]", '{"crc32": 5}', "{}"])
def test_damaged_list_is_said_to_be_so(content: str, folder: Path) -> None:
    (folder / NAME).write_text(content)
    with pytest.raises(BadCheckpoint, match=r"checksums.json is damaged"):
        check_files(folder, "model")
