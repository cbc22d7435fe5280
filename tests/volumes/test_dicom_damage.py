"""Damaged DICOM ends in words: quickly, without a crash, and never as made-up voxels."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset
from pydicom.uid import RLELossless

from ctfw.errors import UnreadableVolume, UserError
from ctfw.types import Volume
from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.dicom import DicomLoader

READER = DicomLoader(DicomConfig())
Write = Callable[..., Path]
NOISE = np.random.default_rng(5).integers(-1000, 1000, (3, 16, 12)).astype(np.int16)
SECONDS = 5


@pytest.fixture
def good(write_series: Write) -> Path:
    return write_series(NOISE, name=lambda k: f"{k}.dcm")


def read(folder: Path) -> Volume | UserError:
    """The volume or the refusal; anything else that is raised fails the test."""
    begun = time.monotonic()
    try:
        result: Volume | UserError = READER.load(folder)
    except UserError as error:
        result = error
    assert time.monotonic() - begun < SECONDS
    assert READER.can_read(folder) in (True, False)
    return result


FUZZ = settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@FUZZ
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 1200), st.binary(min_size=1, max_size=6)), min_size=1, max_size=8
    )
)
@example(changes=[(132, b"\xff\xff\xff\xff")])
@example(changes=[(140, b"\x00\x00\x00\x00\x00\x00")])
def test_changed_bytes_of_a_header_end_in_words_or_in_a_volume(
    good: Path, tmp_path: Path, changes: list[tuple[int, bytes]]
) -> None:
    assert_survives(good, tmp_path, changes)


@FUZZ
@given(
    changes=st.lists(
        st.tuples(st.integers(0, 1200), st.binary(min_size=1, max_size=6)), min_size=1, max_size=8
    )
)
def test_changed_bytes_of_a_compressed_file_end_in_words_or_in_a_volume(
    write_series: Write, tmp_path: Path, changes: list[tuple[int, bytes]]
) -> None:
    def change(data: FileDataset) -> None:
        data.compress(RLELossless, generate_instance_uid=False)

    folder = tmp_path / "series"
    if not folder.exists():
        write_series(NOISE, change=change, name=lambda k: f"{k}.dcm")
    assert_survives(folder, tmp_path, changes)


def assert_survives(good: Path, tmp_path: Path, changes: list[tuple[int, bytes]]) -> None:
    folder = tmp_path / "damaged"
    shutil.copytree(good, folder, dirs_exist_ok=True)
    data = bytearray((folder / "1.dcm").read_bytes())
    for at, value in changes:
        data[at : at + len(value)] = value
    (folder / "1.dcm").write_bytes(data)
    result = read(folder)
    if isinstance(result, Volume):
        assert result.array.ndim == 3
        assert np.isfinite(result.array).all()
        assert np.isfinite(result.affine).all()


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(share=st.floats(0, 1, exclude_max=True))
@example(share=0.0)
@example(share=0.999)
def test_a_cut_file_is_refused_wherever_it_is_cut(good: Path, tmp_path: Path, share: float) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(good, folder, dirs_exist_ok=True)
    data = (folder / "2.dcm").read_bytes()
    (folder / "2.dcm").write_bytes(data[: int(len(data) * share)])
    assert isinstance(read(folder), UserError)


@pytest.mark.parametrize(
    ("tags", "words"),
    [
        ({"Rows": 65535, "Columns": 65535}, "claims 65535 x 65535 pixels"),
        ({"Rows": 4000, "Columns": 4000}, "cut short: its pixels need 32000000 bytes"),
        ({"NumberOfFrames": 999_999}, "claims 999999 frames"),
        ({"NumberOfFrames": 2**31 - 1}, "NumberOfFrames that is no whole number"),
        ({"NumberOfFrames": -3}, "claims -3 frames"),
        ({"BitsAllocated": 64}, "bits stored in 64"),
        ({"BitsAllocated": 7, "BitsStored": 7}, "bits stored in 7"),
        ({"BitsStored": 17, "HighBit": 16}, "17 bits stored in 16"),
        ({"BitsStored": 0}, "0 bits stored"),
    ],
)
def test_absurd_sizes_are_refused_before_anything_is_allocated(
    write_series: Write, tags: dict[str, int], words: str
) -> None:
    folder = write_series(NOISE, tags=tags)
    with pytest.raises(UnreadableVolume, match=words):
        READER.stream(folder)


def test_one_damaged_file_is_not_passed_over(good: Path) -> None:
    whole = (good / "2.dcm").read_bytes()
    (good / "2.dcm").write_bytes(whole[:132] + b"\xff" * 600)
    with pytest.raises(UnreadableVolume):
        READER.load(good)


@pytest.mark.parametrize("tag", ["PixelData", "Rows", "Modality", "SOPClassUID"])
def test_ct_header_without_what_every_ct_has_is_not_passed_over(
    write_series: Write, tag: str
) -> None:
    def change(data: FileDataset) -> None:
        if data.InstanceNumber == 3:
            del data[tag]
            data.preamble = b"\0" * 128
            if tag == "SOPClassUID":
                del data.file_meta.MediaStorageSOPClassUID

    folder = write_series(NOISE, change=change, name=str, file_format=False)
    with pytest.raises(UnreadableVolume, match="ends too early"):
        READER.load(folder)


def test_extra_bytes_after_the_pixels_do_no_harm(good: Path) -> None:
    for file in good.iterdir():
        file.write_bytes(file.read_bytes() + b"\0" * 100)
    np.testing.assert_array_equal(READER.load(good).array, NOISE - 1024)


def test_folder_that_changes_while_it_is_read_ends_in_words(good: Path) -> None:
    stream = READER.stream(good)
    (good / "1.dcm").write_bytes(b"gone")
    with pytest.raises(
        UnreadableVolume, match=r"pixels of the slice at 2\.50 mm cannot be decoded"
    ):
        stream.collect()
