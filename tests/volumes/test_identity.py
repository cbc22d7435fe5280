"""A source is known by what is in it: not by where it lies, and not by when it was written."""

from __future__ import annotations

import gzip
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from ctfw.errors import UnreadableVolume
from ctfw.volumes import identity
from ctfw.volumes.identity import source_identity


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CTFW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def packed(path: Path, seed: int = 0, size: int = 300_000) -> Path:
    content = np.random.default_rng(seed).integers(0, 9, size).astype("u1").tobytes()
    path.write_bytes(gzip.compress(content, 6, mtime=0))
    return path


def test_copy_or_touch_changes_nothing(tmp_path: Path) -> None:
    one = packed(tmp_path / "one.nii.gz")
    two = Path(shutil.copy(one, tmp_path / "two.nii.gz"))
    os.utime(two, (1, 1))
    assert source_identity(one) == source_identity(two)


def test_one_changed_voxel_shows_in_the_end_of_the_stream(tmp_path: Path) -> None:
    plain = bytearray(np.random.default_rng(0).integers(0, 9, 300_000).astype("u1").tobytes())
    seen = set()
    for place in (None, 10, 150_000, 299_999):
        if place is not None:
            plain[place] ^= 1
        path = tmp_path / "scan.nii.gz"
        path.write_bytes(gzip.compress(bytes(plain), 6, mtime=0))
        seen.add(source_identity(path))
    assert len(seen) == 4


def test_bgzip_is_read_whole_because_its_last_member_says_nothing(tmp_path: Path) -> None:
    extra = b"\x1f\x8b\x08\x04" + bytes(6) + b"\x06\x00" + b"BC\x02\x00\x00\x00"
    middle = bytearray(20_000)
    found = set()
    for value in (0, 1):
        middle[9_000] = value
        path = tmp_path / "scan.nii.gz"
        path.write_bytes(extra + bytes(middle))
        found.add(source_identity(path))
    assert len(found) == 2


def test_array_and_its_sidecar_are_one_source(tmp_path: Path) -> None:
    path = tmp_path / "scan.npy"
    np.save(path, np.zeros((2, 3, 4)))
    alone = source_identity(path)
    path.with_suffix(".json").write_text('{"spacing_mm": [1, 1, 2]}')
    with_spacing = source_identity(path)
    path.with_suffix(".json").write_text('{"spacing_mm": [1, 1, 3]}')
    assert len({alone, with_spacing, source_identity(path)}) == 3


def test_header_and_its_detached_data_are_one_source(tmp_path: Path) -> None:
    (tmp_path / "other name.raw").write_bytes(b"\0" * 24)
    path = tmp_path / "scan.mhd"
    path.write_text("NDims = 3\nElementDataFile = other name.raw\n")
    before = source_identity(path)
    (tmp_path / "other name.raw").write_bytes(b"\1" * 24)
    assert source_identity(path) != before


def test_folder_is_known_by_its_files_and_survives_a_loop(tmp_path: Path) -> None:
    folder = tmp_path / "series"
    (folder / "sub").mkdir(parents=True)
    (folder / "a.dcm").write_bytes(b"a")
    (folder / "sub" / "b.dcm").write_bytes(b"b")
    before = source_identity(folder)
    (folder / "sub" / "again").symlink_to(folder, target_is_directory=True)
    assert source_identity(folder) == before
    (folder / "sub" / "b.dcm").write_bytes(b"c")
    assert source_identity(folder) != before


def test_large_plain_file_is_read_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "scan.nii"
    path.write_bytes(np.random.default_rng(0).bytes(5 << 20))
    found = source_identity(path)
    assert len(list(cache.rglob("*.json"))) == 1
    monkeypatch.setattr(identity._Part, "hash", lambda self: pytest.fail("read again"))
    assert source_identity(path) == found


def test_missing_source_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVolume, match="no such file or folder"):
        source_identity(tmp_path / "absent")
