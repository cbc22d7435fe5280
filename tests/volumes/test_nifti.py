"""NIfTI files are read exactly, or refused in words."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctfw.errors import NotCT, UnreadableVolume
from ctfw_plugins.volumes.configs import NiftiConfig
from ctfw_plugins.volumes.nifti import NiftiLoader

READER = NiftiLoader(NiftiConfig())
Write = Callable[..., Path]


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_array_and_affine_come_back(tmp_path: Path, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["i1", "u1", "i2", "u2", "i4", "f4", "f8", ">i2", ">f4"]))
    shape = data.draw(st.tuples(*[st.integers(1, 7)] * 3))
    values = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 100, shape)
    array = values.astype(dtype)
    signs = data.draw(st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3))
    spacing = data.draw(st.tuples(*[st.floats(0.2, 8)] * 3))
    affine = np.diag([*(s * step for s, step in zip(signs, spacing, strict=True)), 1.0])
    affine[:3, 3] = data.draw(st.tuples(*[st.floats(-500, 500)] * 3))
    kind = data.draw(st.sampled_from([nib.Nifti1Image, nib.Nifti2Image]))
    header = kind.header_class(endianness=">" if dtype[0] == ">" else "<")
    header.set_data_dtype(dtype)
    path = tmp_path / f"scan.nii{data.draw(st.sampled_from(['', '.gz']))}"
    nib.save(kind(array.T, affine, header), path)

    volume = READER.load(path)
    np.testing.assert_array_equal(volume.array, values)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-4)
    assert volume.array.dtype == (np.float32 if "f" in dtype else np.int16)


def test_header_slope_is_applied_once(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(60, dtype=np.uint8).reshape(5, 4, 3), np.eye(4))
    header = image.header
    header.set_slope_inter(2.5, -1024)
    raw = tmp_path / "scan.nii"
    with raw.open("wb") as out:
        header["vox_offset"] = 352
        out.write(header.binaryblock + b"\0" * 4 + np.arange(60, dtype=np.uint8).tobytes())
    volume = READER.load(raw)
    np.testing.assert_allclose(volume.array.ravel(), np.arange(60) * 2.5 - 1024)
    assert any("slope 2.5" in decision.text for decision in volume.provenance)


@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf])
def test_slope_that_means_none_is_ignored(tmp_path: Path, write_nifti: Write, slope: float) -> None:
    path = write_nifti(np.ones((3, 3, 3), np.int16), name="scan.nii")
    content = bytearray(path.read_bytes())
    content[112:116] = np.float32(slope).tobytes()
    path.write_bytes(content)
    assert READER.load(path).array.max() == 1


def test_every_bit_flip_in_the_body_is_noticed(write_nifti: Write, chest: np.ndarray) -> None:
    path = write_nifti(chest)
    good = path.read_bytes()
    for seed in range(24):
        rng = np.random.default_rng(seed)
        bad = bytearray(good)
        bad[int(rng.integers(20, len(bad)))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        with pytest.raises((UnreadableVolume, NotCT)):
            READER.load(path)


@pytest.mark.parametrize("keep", [0, 3, 40, 0.5, -1])
def test_cut_file_is_refused(write_nifti: Write, chest: np.ndarray, keep: float) -> None:
    path = write_nifti(chest)
    good = path.read_bytes()
    path.write_bytes(good[: int(len(good) * keep) if isinstance(keep, float) else keep])
    with pytest.raises(UnreadableVolume):
        READER.load(path)


def test_voxels_that_lack_behind_the_header_are_refused(tmp_path: Path, write_nifti: Write) -> None:
    path = write_nifti(np.zeros((4, 4, 4), np.int16), name="scan.nii")
    packed = tmp_path / "short.nii.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()[:-10]))
    with pytest.raises(UnreadableVolume, match="ends before its last voxel"):
        READER.load(packed)


def test_web_page_instead_of_a_scan_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_text("<html>" + "404 not found " * 50)
    with pytest.raises(UnreadableVolume, match="not a NIfTI file"):
        READER.load(path)


def test_size_beyond_the_file_is_refused_before_memory_is_taken(write_nifti: Write) -> None:
    path = write_nifti(np.zeros((4, 4, 4), np.int16), name="scan.nii")
    content = bytearray(path.read_bytes())
    content[42:48] = np.array([4000, 4000, 4000], "<i2").tobytes()
    path.write_bytes(content)
    with pytest.raises(UnreadableVolume, match="more than the file can hold"):
        READER.load(path)


def test_nan_is_counted_and_filled_only_on_request(write_nifti: Write) -> None:
    array = np.zeros((3, 3, 3), np.float32)
    array[0, 0, :2] = np.nan, np.inf
    path = write_nifti(array)
    with pytest.raises(UnreadableVolume, match="2 of 27 voxels"):
        READER.load(path)
    filled = NiftiLoader(NiftiConfig(nonfinite=-1024)).load(path)
    assert filled.array[0, 0].tolist() == [-1024, -1024, 0]
    assert any("2 voxels" in decision.text for decision in filled.provenance)


def test_units_become_millimetres(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.ones((3, 3, 3), np.int16), np.diag([0.001, 0.001, 0.002, 1]))
    image.header.set_xyzt_units("meter")
    nib.save(image, tmp_path / "scan.nii")
    assert READER.load(tmp_path / "scan.nii").spacing_mm == pytest.approx((2, 1, 1))


def test_voxel_size_against_the_sform_is_refused(write_nifti: Write) -> None:
    path = write_nifti(np.ones((3, 3, 3), np.int16), name="scan.nii")
    content = bytearray(path.read_bytes())
    content[88:92] = np.float32(1.25).tobytes()
    path.write_bytes(content)
    with pytest.raises(UnreadableVolume, match="voxel size"):
        READER.load(path)
    assert NiftiLoader(NiftiConfig(geometry="sform")).load(path).spacing_mm == (3, 2, 2)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("nibabel_odd_nifti/functional.nii", UnreadableVolume, "4D with 20 time points"),
        ("nibabel_odd_nifti/example4d.nii.gz", UnreadableVolume, "4D with 2 time points"),
        ("nibabel_odd_nifti/example_nifti2.nii.gz", UnreadableVolume, "4D with 2 time points"),
        ("nibabel_odd_nifti/resampled_anat_moved.nii", UnreadableVolume, "153 of 1071 voxels"),
        ("niivue_odd_nifti/ct_perfusion.nii.gz", NotCT, "colour picture"),
        ("niivue_odd_nifti/shear.nii.gz", UnreadableVolume, "sform and qform disagree"),
    ],
)
def test_odd_real_file_is_refused_in_words(
    real_data: Path, name: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        READER.load(real_data / name)


def test_real_uint8_ct_gets_its_slope_once(real_data: Path) -> None:
    path = real_data / "niivue_odd_nifti/shear.nii.gz"
    volume = NiftiLoader(NiftiConfig(geometry="qform")).load(path)
    expected = np.asarray(nib.load(path).dataobj, np.float32).T
    np.testing.assert_allclose(volume.array, expected, atol=1e-3)
    assert volume.array.min() == -1024


def test_real_big_endian_file_is_read(real_data: Path) -> None:
    path = real_data / "nibabel_odd_nifti/anatomical.nii"
    np.testing.assert_array_equal(READER.load(path).array, np.asarray(nib.load(path).dataobj).T)
