"""DICOM files are found by what is in them, in a folder and below, in bounded time."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ctfw.errors import UnreadableVolume
from ctfw_plugins.volumes import dicom_files
from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.dicom import DicomLoader

READER = DicomLoader(DicomConfig())
Write = Callable[..., Path]
RAMP = np.arange(4 * 5 * 3, dtype=np.int16).reshape(4, 5, 3)


def told(volume: Any) -> str:
    return " | ".join(decision.text for decision in volume.provenance)


def without_meta(data: FileDataset) -> None:
    """Leave out the preamble, the mark and the file meta header."""
    data.preamble = None
    data.file_meta.clear()


@pytest.mark.parametrize("name", ["{}", "IM{:04d}", "{}.ima", "slice {}.dcm.bak", "{}.DCM"])
def test_name_of_a_file_does_not_matter(write_series: Write, name: str) -> None:
    folder = write_series(RAMP, name=name.format)
    assert READER.can_read(folder)
    np.testing.assert_array_equal(READER.load(folder).array, RAMP - 1024)


@pytest.mark.parametrize(
    ("implicit", "little"), [(True, True), (False, True), (False, False)], ids=str
)
def test_files_without_a_meta_header_are_read(
    tmp_path: Path, make_slice: Callable[..., FileDataset], implicit: bool, little: bool
) -> None:
    for k, plane in enumerate(RAMP):
        data = make_slice(plane, ImagePositionPatient=[-20, -30, 2 * k], PixelPaddingValue=-2000)
        if not little:
            data.PixelData = plane.astype(">i2").tobytes()
        without_meta(data)
        pydicom.dcmwrite(
            tmp_path / str(k), data, implicit_vr=implicit, little_endian=little, force_encoding=True
        )
    assert (tmp_path / "0").read_bytes()[128:132] != b"DICM"
    assert READER.can_read(tmp_path)
    volume = READER.load(tmp_path)
    np.testing.assert_array_equal(volume.array, RAMP - 1024)
    assert volume.array.dtype == np.int16


@pytest.mark.parametrize(
    "syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]
)
def test_uncompressed_transfer_syntaxes_are_read(
    tmp_path: Path, make_slice: Callable[..., FileDataset], syntax: Any
) -> None:
    for k, plane in enumerate(RAMP):
        data = make_slice(plane, ImagePositionPatient=[-20, -30, 2 * k])
        data.file_meta.TransferSyntaxUID = syntax
        little = syntax != ExplicitVRBigEndian
        data.PixelData = plane.astype("<i2" if little else ">i2").tobytes()
        pydicom.dcmwrite(
            tmp_path / str(k),
            data,
            implicit_vr=syntax == ImplicitVRLittleEndian,
            little_endian=little,
            force_encoding=True,
        )
    np.testing.assert_array_equal(READER.load(tmp_path).array, RAMP - 1024)


def test_slices_in_subfolders_make_one_series(write_series: Write) -> None:
    folder = write_series(RAMP[:2], z=[0, 2.5], series=["1.2", "1.2"])
    write_series(RAMP[2:], "series/disk 2/more", z=[5, 7.5], series=["1.2", "1.2"])
    np.testing.assert_array_equal(READER.load(folder).array, RAMP - 1024)


def test_hidden_files_and_the_directory_file_are_not_looked_at(write_series: Write) -> None:
    folder = write_series(RAMP)
    twin = next(folder.iterdir()).read_bytes()
    for name in (".hidden.dcm", "._copy.dcm", "DICOMDIR", "dicomdir"):
        (folder / name).write_bytes(twin)
    (folder / ".git").mkdir()
    (folder / ".git" / "x.dcm").write_bytes(twin)
    assert "left out" not in told(READER.load(folder))


def test_other_files_are_left_out_and_counted(write_series: Write) -> None:
    folder = write_series(RAMP)
    (folder / "notes.txt").write_text("x")
    (folder / "empty").write_bytes(b"")
    assert "left out: files that are not DICOM: 2" in told(READER.load(folder))


def test_file_named_dcm_without_dicom_in_it_is_not_passed_over(write_series: Write) -> None:
    folder = write_series(RAMP)
    (folder / "zz.dcm").write_bytes(b"<html>404</html>")
    for path in (folder, folder / "zz.dcm"):
        assert READER.can_read(path)
        with pytest.raises(UnreadableVolume, match=r"1 of the files named \.dcm hold no DICOM"):
            READER.load(path)


def test_single_file_does_not_pull_in_its_siblings(write_series: Write) -> None:
    folder = write_series(RAMP)
    with pytest.raises(UnreadableVolume, match="a series of one slice"):
        READER.load(next(folder.iterdir()))


@pytest.mark.skipif(not hasattr(os, "symlink"), reason="no symbolic links on this system")
def test_links_that_lead_back_do_not_hang(write_series: Write) -> None:
    folder = write_series(RAMP)
    (folder / "a").mkdir()
    (folder / "a" / "up").symlink_to(folder, target_is_directory=True)
    (folder / "self").symlink_to(folder / "self")
    np.testing.assert_array_equal(READER.load(folder).array, RAMP - 1024)


def test_too_deep_and_too_many_are_refused(
    write_series: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_series(RAMP)
    monkeypatch.setattr(dicom_files, "MAX_FILES", 3)
    with pytest.raises(UnreadableVolume, match="more than 3 files"):
        READER.load(folder)
    monkeypatch.undo()
    (folder / "/".join("abcdefghij")).mkdir(parents=True)
    with pytest.raises(UnreadableVolume, match="folders more than 8 deep"):
        READER.load(folder)


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"\x08\x00\x05\x00CS\x02\x00AB",
        b"\x08\x00\x16\x00UI\x1a\x001.2.840.10008.5.1.4.1.1.2\0" + b"\x28\x00\x10\x00US\x02\0\0\2",
        b"\0" * 128 + b"DICM",
    ],
    ids=["zeros", "first tag", "some tags", "mark only"],
)
def test_huge_file_of_something_else_is_not_read_whole(tmp_path: Path, start: bytes) -> None:
    file = tmp_path / "disk.img"
    with file.open("wb") as stream:
        stream.write(start)
        stream.truncate(1 << 40)  # sparse: takes no room
    begun = time.monotonic()
    with pytest.raises(UnreadableVolume):
        READER.load(tmp_path)
    assert time.monotonic() - begun < 2


def test_can_read_says_no_without_raising(tmp_path: Path) -> None:
    (tmp_path / "table.csv").write_text("id,label\n1,0\n")
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "bare").write_bytes(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100" + b"\xff" * 500)
    assert not READER.can_read(tmp_path)
    assert not any(READER.can_read(file) for file in tmp_path.iterdir())
    assert not READER.can_read(tmp_path / "absent")


def test_folder_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVolume, match=r"the folder cannot be read \(No such file"):
        READER.load(tmp_path / "absent")


def test_folder_without_dicom_says_so(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVolume, match="empty"):
        READER.load(tmp_path)
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(UnreadableVolume, match="only: files that are not DICOM: 1"):
        READER.load(tmp_path)


def test_deflated_file_is_refused_in_words(
    tmp_path: Path, make_slice: Callable[..., FileDataset]
) -> None:
    data = make_slice(RAMP[0])
    data.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.1.99"
    data.save_as(tmp_path / "x", enforce_file_format=True)
    with pytest.raises(UnreadableVolume, match="compressed as a whole"):
        READER.load(tmp_path)
