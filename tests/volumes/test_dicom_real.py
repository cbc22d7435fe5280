"""Real DICOM, plain and odd: read right, or refused with the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from ctfw.errors import NotCT, UnreadableVolume
from ctfw.volumes.geometry import check_affine
from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.dicom import DicomLoader

READER = DicomLoader(DicomConfig())
KEEPER = DicomLoader(DicomConfig(fill_padding=False))
LARGEST = DicomLoader(DicomConfig(series="largest"))


@pytest.mark.parametrize(
    ("name", "slices", "step", "padding"),
    [("0001", 16, 2.5, False), ("0002", 12, 1.25, True), ("0003", 11, 2.5, False)],
)
def test_lidc_series_is_read(
    real_data: Path, name: str, slices: int, step: float, padding: bool
) -> None:
    volume = READER.load(real_data / f"lidc_idri_subset/LIDC-IDRI-{name}")
    assert volume.array.shape == (slices, 512, 512)
    assert volume.spacing_mm[0] == pytest.approx(step)
    assert (volume.intensity, volume.orientation) == ("hu", "LPS")
    assert any("set to air" in d.text for d in volume.provenance) == padding


@pytest.mark.parametrize(
    "name",
    [
        "lidc_idri_subset/LIDC-IDRI-0001",
        "lidc_idri_subset/LIDC-IDRI-0002",
        "lidc_idri_subset/LIDC-IDRI-0003",
        "dicom_odd/pydicom/dicomdirtests_CT5N",
    ],
)
def test_gdcm_reads_the_same_voxels_in_the_same_places(real_data: Path, name: str) -> None:
    sitk = pytest.importorskip("SimpleITK")
    volume = KEEPER.load(real_data / name)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(real_data / name)))
    image = reader.Execute()
    np.testing.assert_allclose(
        volume.array, sitk.GetArrayFromImage(image).astype(np.float64), atol=1e-5
    )
    np.testing.assert_allclose(volume.affine, affine_of(image), atol=1e-4)


def affine_of(image: Any) -> np.ndarray:
    """ITK's origin, spacing and direction as a 4x4 in RAS+."""
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
    affine[:3, 3] = image.GetOrigin()
    return np.diag([-1.0, -1, 1, 1]) @ affine


def test_largest_of_three_patients_is_the_longest_scan(real_data: Path) -> None:
    folder = real_data / "lidc_idri_subset"
    with pytest.raises(UnreadableVolume, match="3 stacks of slices lie here: 16 slices of 512 x"):
        READER.stream(folder)
    assert LARGEST.stream(folder).shape == (16, 512, 512)


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("dicom2nifti_sliceincrement", UnreadableVolume, "a hole .* 10 mm between"),
        ("pydicom/dicomdirtests_CT2", UnreadableVolume, r"a hole .* 202.5 mm between .* -99\.48"),
        ("pydicom/dicomdirtests_CT2N", NotCT, "only localizer"),
        ("highdicom", UnreadableVolume, "one slice"),
        ("pydicom/CT_small.dcm", UnreadableVolume, "one slice"),
        ("pydicom/ExplVR_BigEnd.dcm", NotCT, r"ultrasound images \(US\): 1"),
        ("pydicom/no_meta.dcm", UnreadableVolume, "hold no DICOM header"),
        ("../nibabel_odd_nifti/decimal_rescale.dcm", NotCT, "MR images: 1"),
    ],
)
def test_odd_dicom_is_refused_in_words(
    real_data: Path, name: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        READER.load(real_data / "dicom_odd" / name)


@pytest.mark.parametrize("name", ["intercept", "slope"])
def test_rescale_differs_between_slices(real_data: Path, name: str) -> None:
    folder = real_data / f"dicom_odd/panimg_dicom_{name}"
    volume = READER.load(folder)
    for k, file in enumerate(("1.dcm", "2.dcm")):
        data = pydicom.dcmread(folder / file)
        by_hand = data.pixel_array * float(data.RescaleSlope) + float(data.RescaleIntercept)
        np.testing.assert_allclose(volume.array[k], by_hand, atol=1e-5)


def test_head_first_series_beside_scouts_is_read(real_data: Path, tmp_path: Path) -> None:
    for name in ("dicomdirtests_CT5N", "dicomdirtests_CT2N"):
        (tmp_path / name).symlink_to(real_data / "dicom_odd/pydicom" / name)
    volume = READER.load(tmp_path)
    assert volume.array.shape == (5, 16, 16)
    assert "localizers (scouts): 2" in str(volume.provenance)


def test_jpeg2000_with_the_wrong_signedness_is_decoded(real_data: Path, tmp_path: Path) -> None:
    source = pydicom.dcmread(real_data / "dicom_odd/pydicom/J2K_pixelrep_mismatch.dcm")
    row, column = np.reshape(np.asarray(source.ImageOrientationPatient, float), (2, 3))
    start = np.asarray(source.ImagePositionPatient, float)
    for k in range(3):
        at = start + 5 * k * np.cross(row, column)
        source.ImagePositionPatient = [round(float(value), 4) for value in at]
        source.save_as(tmp_path / f"{9 - k}.dcm")
    volume = READER.load(tmp_path)
    assert volume.array.shape == (3, 512, 512)
    # The range that pydicom's own test of this file gives.
    assert (volume.array.min(), volume.array.max()) == (-2000, 1896)
    assert "3 of 3 compressed slices say another sign" in str(volume.provenance)
    with pytest.raises(UnreadableVolume, match="rotated by 22 degrees"):
        check_affine(volume.affine)


def test_stack_under_gantry_tilt_is_named_with_its_angle(real_data: Path, tmp_path: Path) -> None:
    source = pydicom.dcmread(real_data / "dicom_odd/pydicom/J2K_pixelrep_mismatch.dcm")
    for k in range(3):
        source.ImagePositionPatient = [-110.2153, -98.1898, 72.1446 + 5 * k]
        source.save_as(tmp_path / f"{k}.dcm")
    assert source.GantryDetectorTilt == -22
    with pytest.raises(UnreadableVolume, match=r"gantry tilt: .* 22\.0 degrees off"):
        READER.load(tmp_path)
