"""Damaged, odd and hostile NIfTI files, from the file to HU: read right, or refused in words.

The rows are those that other readers of CT get wrong without an error: cut and flipped bytes,
geometry that contradicts itself, headers that promise what the file does not hold.
"""

from __future__ import annotations

import gzip
import os
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

from ctfw.errors import UnreadableVolume
from ctfw.types import Case, Volume
from ctfw.volumes.open import open_slices
from ctfw.volumes.pipeline import VolumePipeline
from ctfw_plugins.preprocess.configs import PreprocessedNumpyConfig, RescaleHuConfig
from ctfw_plugins.preprocess.preprocessed_numpy import PreprocessedNumpy
from ctfw_plugins.preprocess.rescale_hu import RescaleHu
from ctfw_plugins.volumes.configs import NiftiConfig
from ctfw_plugins.volumes.nifti import NiftiLoader

SPACING = (0.7, 0.9, 1.5)
LPS = np.diag([-0.7, -0.9, 1.5, 1.0])
Patch = Callable[[bytes], bytes]
PACK: Patch = partial(gzip.compress, compresslevel=1, mtime=0)


def read(path: Path, case: Case | None = None, **settings: Any) -> Volume:
    """The file in LPS and HU, as a run would see it."""
    loaders = [("nifti", NiftiLoader(NiftiConfig(**settings)))]
    steps = [RescaleHu(RescaleHuConfig())]
    return VolumePipeline(partial(open_slices, loaders=loaders), steps, ["rescale-hu"])(path, case)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """(array (z, y, x), affine, ...) -> path; `patch` changes the bytes before they are packed."""

    def write(
        array: np.ndarray,
        affine: np.ndarray = LPS,
        kind: type = nib.Nifti1Image,
        qform: int = 0,
        patch: Patch = bytes,
        packed: Patch = PACK,
    ) -> Path:
        image = kind(array.T, affine)
        image.header.set_xyzt_units("mm")
        image.header.set_slope_inter(1, 0)
        image.set_qform(affine, qform)
        path = tmp_path / "scan.nii.gz"
        path.write_bytes(packed(patch(image.to_bytes())))
        return path

    return write


def put(at: int, values: Any, kind: str) -> Patch:
    """Overwrite header fields from byte `at`."""
    new = np.asarray(values, kind).tobytes()
    return lambda content: content[:at] + new + content[at + len(new) :]


def must_be(volume: Volume, chest: np.ndarray, spacing: tuple[float, ...] = SPACING) -> None:
    np.testing.assert_array_equal(volume.array, np.maximum(chest, -1024))
    assert volume.orientation == "LPS"
    assert volume.intensity == "hu"
    np.testing.assert_allclose(volume.spacing_mm, spacing[::-1], rtol=1e-5)


# What the bytes say of themselves: length and checksum.


@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9, 0.999])
def test_truncated_gzip_is_refused(save: Any, chest: np.ndarray, share: float) -> None:
    path = save(chest)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(UnreadableVolume, match=r"scan\.nii\.gz: "):
        read(path)


@pytest.mark.parametrize("seed", range(24))
def test_bit_flip_in_the_body_is_refused(save: Any, chest: np.ndarray, seed: int) -> None:
    path = save(chest)
    content = bytearray(path.read_bytes())
    rng = np.random.default_rng(seed)
    content[int(rng.integers(200, len(content) - 8))] ^= 1 << int(rng.integers(8))
    path.write_bytes(content)
    with pytest.raises(UnreadableVolume):
        read(path)


@pytest.mark.parametrize("byte", [-8, -5, -4, -1])
def test_wrong_checksum_or_length_in_the_trailer_is_refused(
    save: Any, chest: np.ndarray, byte: int
) -> None:
    path = save(chest)
    content = bytearray(path.read_bytes())
    content[byte] ^= 1
    path.write_bytes(content)
    with pytest.raises(UnreadableVolume, match="damaged"):
        read(path)


@pytest.mark.parametrize("lacking", [1, 4, 8])
def test_cut_trailer_is_refused(save: Any, chest: np.ndarray, lacking: int) -> None:
    path = save(chest)
    path.write_bytes(path.read_bytes()[:-lacking])
    with pytest.raises(UnreadableVolume, match="fetch it again"):
        read(path)


@pytest.mark.parametrize("lacking", [1, 2, 5000])
def test_fewer_voxels_than_the_header_promises_are_refused(
    save: Any, chest: np.ndarray, lacking: int
) -> None:
    with pytest.raises(UnreadableVolume, match="ends before its last voxel"):
        read(save(chest, patch=lambda content: content[:-lacking]))


@pytest.mark.parametrize("garbage", [b"garbage", b"\x1f", b"<html>" * 99])
def test_garbage_after_the_gzip_stream_is_noted(
    save: Any, chest: np.ndarray, garbage: bytes
) -> None:
    path = save(chest)
    path.write_bytes(path.read_bytes() + garbage)
    volume = read(path)
    must_be(volume, chest)
    assert any(str(len(garbage)) in d.text and "ignored" in d.text for d in volume.provenance)


def test_zeros_after_the_gzip_stream_are_padding(save: Any, chest: np.ndarray) -> None:
    path = save(chest)
    path.write_bytes(path.read_bytes() + bytes(512))
    must_be(read(path), chest)


def test_gzip_in_several_members_is_read_as_one(save: Any, chest: np.ndarray) -> None:
    def in_three(content: bytes) -> bytes:
        parts = content[:1000], content[1000:30000], content[30000:]
        return b"".join(gzip.compress(part) for part in parts)

    must_be(read(save(chest, packed=in_three)), chest)


@pytest.mark.parametrize("packed", [bytes, gzip.compress])
@pytest.mark.parametrize("content", [b"", b"\0", b"<html>404</html>" * 40, bytes(400)])
def test_what_is_no_scan_is_refused(tmp_path: Path, packed: Patch, content: bytes) -> None:
    path = tmp_path / "scan.nii.gz"
    path.write_bytes(packed(content))
    with pytest.raises(UnreadableVolume, match=r"not a NIfTI file|ends before"):
        read(path)


def test_plain_nifti_under_a_gzip_name_is_read(save: Any, chest: np.ndarray) -> None:
    must_be(read(save(chest, packed=bytes)), chest)


# Values.


def test_block_of_nan_is_refused_and_filled_only_on_request(save: Any, chest: np.ndarray) -> None:
    array = chest.astype(np.float32)
    array[3, 4:6, 7:10] = np.nan
    with pytest.raises(UnreadableVolume, match=r"6 of \d+ voxels are NaN or infinite"):
        read(save(array))
    volume = read(save(array), nonfinite=-1000)
    must_be(volume, np.where(np.isnan(array), -1000, array))
    assert any("6 voxels that were not finite" in d.text for d in volume.provenance)


@pytest.mark.parametrize("slope", [0.0, np.nan, np.inf])
def test_slope_that_means_none_is_ignored(save: Any, chest: np.ndarray, slope: float) -> None:
    must_be(read(save(chest, patch=put(112, [slope, -1024], "<f4"))), chest)


def test_slope_and_intercept_of_the_header_are_applied_once(save: Any, chest: np.ndarray) -> None:
    """Also where the data set's table repeats them."""
    even = chest // 2 * 2
    path = save((even + 1024) // 2, patch=put(112, [2, -1024], "<f4"))
    table = {"RescaleSlope": 2, "RescaleIntercept": -1024}
    for case in (None, Case("c", "p", path, "", hints=table)):
        volume = read(path, case)
        must_be(volume, even)
        assert sum("applied once" in d.text for d in volume.provenance) == 1


# Sizes.


@pytest.mark.parametrize("dims", [(-48, 48, 24), (48, 0, 24), (48, 48, -1), (0, 0, 0)])
def test_negative_and_zero_sizes_are_refused(
    save: Any, chest: np.ndarray, dims: tuple[int, ...]
) -> None:
    with pytest.raises(UnreadableVolume, match="size"):
        read(save(chest, patch=put(42, dims, "<i2")))


@pytest.mark.parametrize("dims", [(32000, 32000, 2400), (4096, 4096, 4096), (512, 512, 4000)])
def test_size_beyond_the_file_is_refused_before_memory_is_taken(
    save: Any, chest: np.ndarray, dims: tuple[int, ...]
) -> None:
    path = save(chest, patch=put(42, dims, "<i2"))
    tracemalloc.start()
    try:
        with pytest.raises(UnreadableVolume, match=r"size|more than the file can hold"):
            read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 8e6


def test_two_time_points_are_refused_and_one_is_read(save: Any, chest: np.ndarray) -> None:
    with pytest.raises(UnreadableVolume, match="4D with 2 time points of 48 x 48 x 12"):
        read(save(chest, patch=put(40, [4, 48, 48, 12, 2], "<i2")))
    must_be(read(save(chest, patch=put(40, [4, 48, 48, 24, 1], "<i2"))), chest)
    must_be(read(save(chest, patch=put(40, [5, 48, 48, 24, 1, 1], "<i2"))), chest)


def test_picture_is_refused_and_one_slice_is_read(save: Any, chest: np.ndarray) -> None:
    with pytest.raises(UnreadableVolume, match="2D, a single picture"):
        read(save(chest, patch=put(40, [2, 48, 48 * 24, 1], "<i2")))
    wide = np.tile(chest[:1], (1, 2, 2))
    must_be(read(save(wide)), wide)


@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_both_versions_of_nifti_are_read(save: Any, chest: np.ndarray, kind: type) -> None:
    must_be(read(save(chest, kind=kind)), chest)


def test_bad_magic_and_voxels_inside_the_header_are_refused(save: Any, chest: np.ndarray) -> None:
    with pytest.raises(UnreadableVolume, match=r"not in this file|no NIfTI"):
        read(save(chest, patch=put(344, list(b"ni1\0"), "u1")))
    with pytest.raises(UnreadableVolume, match="NIfTI"):
        read(save(chest, patch=put(344, list(b"xyz\0"), "u1")))
    for start in (0, 100, -352, np.nan):
        with pytest.raises(UnreadableVolume, match="said to start at byte"):
            read(save(chest, patch=put(108, start, "<f4")))


# Geometry.


def test_spacing_of_zero_is_refused(save: Any, chest: np.ndarray) -> None:
    def flat(content: bytes) -> bytes:
        return put(320, 0, "<f4")(put(88, 0, "<f4")(content))

    with pytest.raises(UnreadableVolume, match=r"spacing 0\.7 x 0\.9 x 0 mm"):
        read(save(chest, patch=flat))


@pytest.mark.parametrize("qform", [0, 1])
@pytest.mark.parametrize("pixdim", [(0, 0, 0), (0.7, 0.9, 0), (0.7, -0.9, 1.5), (np.nan,) * 3])
def test_unusable_pixdim_beside_a_good_sform_is_passed_over(
    save: Any, chest: np.ndarray, pixdim: tuple[float, ...], qform: int
) -> None:
    must_be(read(save(chest, qform=qform, patch=put(80, pixdim, "<f4"))), chest)


def test_unit_is_converted_and_a_wrong_one_refused(save: Any, chest: np.ndarray) -> None:
    metres = LPS / [[1000], [1000], [1000], [1]]
    path = save(chest, metres, patch=put(123, 1, "u1"))
    must_be(read(path), chest)
    micrometres = LPS * [[1000], [1000], [1000], [1]]
    must_be(read(save(chest, micrometres, patch=put(123, 3, "u1"))), chest)
    with pytest.raises(UnreadableVolume, match="spacing"):
        read(save(chest, metres))


def test_sheared_axes_are_refused(save: Any, chest: np.ndarray) -> None:
    tilted = LPS.copy()
    tilted[1, 2] = 1.5 * np.tan(np.radians(12))
    with pytest.raises(UnreadableVolume, match=r"sheared by 12\.0 degrees"):
        read(save(chest, tilted))


def test_oblique_volume_keeps_its_voxels_and_its_affine(save: Any, chest: np.ndarray) -> None:
    c, s = np.cos(np.radians(15)), np.sin(np.radians(15))
    affine = np.array([[1, 0, 0, 0], [0, c, -s, 0], [0, s, c, 0], [0, 0, 0, 1]]) @ LPS
    for qform in (0, 1):
        volume = read(save(chest, affine, qform=qform))
        must_be(volume, chest)
        np.testing.assert_allclose(volume.affine, affine, atol=1e-5)


@pytest.mark.parametrize(
    ("turn", "affine"),
    [
        (np.s_[:, ::-1, ::-1], np.diag([0.7, 0.9, 1.5, 1])),
        (np.s_[::-1], np.diag([-0.7, -0.9, -1.5, 1])),
        (np.s_[::-1, :, ::-1], np.diag([0.7, -0.9, -1.5, 1])),
    ],
    ids=["right-anterior-superior", "feet last", "mirrored and feet last"],
)
def test_same_anatomy_in_another_order_is_the_same_volume(
    save: Any, chest: np.ndarray, turn: Any, affine: np.ndarray
) -> None:
    chest = chest + np.arange(24)[:, None, None].astype(np.int16)
    must_be(read(save(chest[turn], affine)), chest)


def test_sagittal_storage_is_the_same_volume(save: Any, chest: np.ndarray) -> None:
    """On disk the slowest axis runs from right to left, with its own spacing."""
    stored = chest.transpose(2, 0, 1)  # (x, z, y)
    affine = np.array([[0, 0, -0.7, 0], [-0.9, 0, 0, 0], [0, 1.5, 0, 0], [0, 0, 0, 1.0]])
    must_be(read(save(stored, affine)), chest)


def test_sform_and_qform_that_disagree_are_refused(save: Any, chest: np.ndarray) -> None:
    thick = save(chest, qform=1, patch=put(88, 2.5, "<f4"))
    with pytest.raises(UnreadableVolume, match="sform and qform disagree"):
        read(thick)
    must_be(read(thick, geometry="sform"), chest)
    must_be(read(thick, geometry="qform"), chest, (0.7, 0.9, 2.5))
    with pytest.raises(UnreadableVolume, match="voxel size"):
        read(save(chest, qform=0, patch=put(88, 2.5, "<f4")))


# What lies at the path.


def test_folder_with_the_name_of_a_scan_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scan.nii.gz").mkdir()
    with pytest.raises(UnreadableVolume, match=r"scan\.nii\.gz: no volume loader reads this"):
        read(tmp_path / "scan.nii.gz")


def test_symbolic_links_are_followed_unless_they_lead_nowhere(
    save: Any, chest: np.ndarray, tmp_path: Path
) -> None:
    (tmp_path / "link.nii.gz").symlink_to(save(chest))
    must_be(read(tmp_path / "link.nii.gz"), chest)
    (tmp_path / "loop.nii.gz").symlink_to(tmp_path / "loop.nii.gz")
    (tmp_path / "dangling.nii.gz").symlink_to(tmp_path / "absent.nii.gz")
    for name in ("loop.nii.gz", "dangling.nii.gz"):
        with pytest.raises(UnreadableVolume, match="no such file or folder"):
            read(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["胸部CT スキャン.nii.gz", "Lunge – größer (2).nii.gz", "a" * 248 + ".nii.gz"]
)
def test_unusual_names_are_read_and_stored(
    save: Any, chest: np.ndarray, tmp_path: Path, name: str
) -> None:
    assert len(name) <= 255
    path = save(chest).rename(tmp_path / name)
    must_be(read(path), chest)
    loaders = [("nifti", NiftiLoader(NiftiConfig()))]
    store = PreprocessedNumpy(PreprocessedNumpyConfig(folder=tmp_path / "store", dtype="float32"))
    pipeline = VolumePipeline(partial(open_slices, loaders=loaders), [store], ["store"])
    np.testing.assert_array_equal(pipeline(path).array, chest)
    assert pipeline.stored(path)


def test_name_that_no_file_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableVolume):
        read(tmp_path / ("a" * 300 + ".nii.gz"))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read every file")
def test_file_that_may_not_be_read_is_refused(save: Any, chest: np.ndarray) -> None:
    path = save(chest)
    path.chmod(0)
    with pytest.raises(UnreadableVolume, match="cannot read it: Permission denied"):
        read(path)
