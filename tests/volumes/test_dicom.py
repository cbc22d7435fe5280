"""A plain CT series becomes a volume in HU; anything else is refused by name, never by patient."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctfw.errors import NotCT, UnreadableVolume
from ctfw.volumes.geometry import canonical
from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.dicom import DicomLoader

READER = DicomLoader(DicomConfig())
SECRETS = ("planted", "person", "4711", "19330322", "20010101")
Write = Callable[..., Path]


def ramp(depth: int = 4, rows: int = 5, columns: int = 3) -> np.ndarray:
    return np.arange(depth * rows * columns, dtype=np.int16).reshape(depth, rows, columns)


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    depth=st.integers(2, 6),
    step=st.floats(0.5, 7),
    row=st.floats(0.3, 1),
    column=st.floats(0.3, 1),
    number=st.integers(0, 10**9),
)
def test_series_comes_back(
    write_series: Write, depth: int, step: float, row: float, column: float, number: int
) -> None:
    stored = ramp(depth)
    z = np.round(np.arange(depth) * step, 4)
    folder = write_series(
        stored, f"s{number}", z=z, row_mm=round(row, 6), column_mm=round(column, 6)
    )
    volume = READER.load(folder)
    for file in folder.iterdir():
        file.unlink()
    np.testing.assert_array_equal(volume.array, stored.astype(int) - 1024)
    expected = np.diag([-column, -row, step, 1.0])
    expected[:3, 3] = 20, 30, 0
    np.testing.assert_allclose(volume.affine, expected, atol=1e-3)
    assert (volume.intensity, volume.array.dtype, volume.orientation) == ("hu", np.int16, "LPS")


def test_order_is_that_of_positions_not_of_names(write_series: Write) -> None:
    stored = ramp()
    volume = READER.load(write_series(stored, z=[7.5, 0, 5, 2.5]))
    np.testing.assert_array_equal(volume.array, stored[[1, 3, 2, 0]].astype(int) - 1024)


def test_each_slice_has_its_own_rescale(write_series: Write) -> None:
    stored = np.full((2, 3, 3), 100, np.int16)
    volume = READER.load(write_series(stored, slope=[1, 2.5], intercept=[-1024, 3]))
    assert volume.array[:, 0, 0].tolist() == [-924, 253]


@pytest.mark.parametrize("tag", [-2000 & 0xFFFF, 63536])
def test_unsigned_padding_value_of_a_signed_image_is_air(write_series: Write, tag: int) -> None:
    stored = ramp() + 1000
    stored[:, 0] = -2000
    volume = READER.load(write_series(stored, tags={"PixelPaddingValue": tag}))
    assert (volume.array[:, 0] == -1024).all()
    assert volume.array[:, 1:].min() == 1003 - 1024


def test_padding_value_inside_tissue_is_not_believed(write_series: Write) -> None:
    stored = np.full((3, 3, 3), 1024, np.int16)
    volume = READER.load(write_series(stored, tags={"PixelPaddingValue": 1024}))
    assert (volume.array == 0).all()


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"z": [0, 5, 10, 20]}, UnreadableVolume, "a hole .* 10 mm between .* 10.00 and 20.00"),
        ({"z": [0, 5, 10, 10]}, UnreadableVolume, "duplicate slices: 1 pairs"),
        ({"z": [0, 5, 10, 16]}, UnreadableVolume, "uneven slice steps, from 5 to 6 mm"),
        ({"shift_y": 1.0}, UnreadableVolume, "gantry tilt: .* 21.8 degrees"),
        ({"series": ["1.2", "1.2", "1.3", "1.3"]}, UnreadableVolume, r"2 series \(2 \+ 2 slices\)"),
        ({"tags": {"Modality": "MR"}}, NotCT, "modality MR"),
        ({"tags": {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}}, NotCT, "localizer"),
        ({"tags": {"NumberOfFrames": 2}}, UnreadableVolume, "multi-frame"),
        ({"tags": {"PixelSpacing": None}}, UnreadableVolume, "no usable PixelSpacing"),
        ({"tags": {"PixelData": b"\0\0"}}, UnreadableVolume, "cannot be decoded"),
        ({"normal": (1, 0, 0, 0.5, 0.5, 0)}, UnreadableVolume, "right angles"),
    ],
)
def test_bad_series_is_refused_without_naming_the_patient(
    write_series: Write, change: dict, error: type[Exception], words: str
) -> None:
    folder = write_series(ramp(), **change)
    with pytest.raises(error, match=words) as caught:
        READER.load(folder)
    chain: BaseException | None = caught.value
    while chain is not None:
        assert not any(secret in str(chain).lower() for secret in SECRETS)
        chain = chain.__cause__


@pytest.mark.filterwarnings("ignore:Invalid value for VR AS")  # pydicom's, while writing it
def test_nothing_of_the_patient_is_kept_or_warned(
    write_series: Write, capfd: pytest.CaptureFixture[str]
) -> None:
    folder = write_series(ramp(), tags={"PatientAge": "PLANTED"})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        volume = READER.load(folder)
    told = f"{volume.provenance} {capfd.readouterr()}".lower()
    assert not any(secret in told for secret in SECRETS)


def test_one_slice_has_no_spacing(write_series: Write) -> None:
    with pytest.raises(UnreadableVolume, match="one slice"):
        READER.load(write_series(ramp(1)))


def test_scout_beside_a_series_is_left_out(write_series: Write) -> None:
    folder = write_series(ramp())
    scout = write_series(ramp(1), "scout", tags={"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]})
    next(scout.iterdir()).rename(folder / "scout.dcm")
    (folder / "notes.txt").write_text("x")
    volume = READER.load(folder)
    assert len(volume.array) == 4
    told = " ".join(decision.text for decision in volume.provenance)
    assert "1 localizer" in told
    assert "1 files that are not DICOM" in told


@pytest.mark.parametrize(
    ("name", "slices", "step", "padding"),
    [("0001", 16, 2.5, False), ("0002", 12, 1.25, True), ("0003", 11, 2.5, False)],
)
def test_real_lidc_series_is_read(
    real_data: Path, name: str, slices: int, step: float, padding: bool
) -> None:
    volume = READER.load(real_data / f"lidc_idri_subset/LIDC-IDRI-{name}")
    assert volume.array.shape == (slices, 512, 512)
    assert volume.spacing_mm[0] == pytest.approx(step)
    assert (volume.intensity, volume.orientation) == ("hu", "LPS")
    assert any("padding value" in d.text for d in volume.provenance) == padding


@pytest.mark.parametrize(
    ("name", "error", "words"),
    [
        ("dicom2nifti_sliceincrement", UnreadableVolume, "a hole .* 10 mm between"),
        ("pydicom/dicomdirtests_CT2", UnreadableVolume, "a hole .* 202.5 mm"),
        ("pydicom/dicomdirtests_CT2N", NotCT, "only localizer"),
        ("highdicom", UnreadableVolume, "one slice"),
        ("pydicom/CT_small.dcm", UnreadableVolume, "one slice"),
        ("pydicom/eCT_Supplemental.dcm", UnreadableVolume, "multi-frame"),
        ("pydicom/ExplVR_BigEnd.dcm", NotCT, "modality US"),
        ("pydicom/no_meta.dcm", UnreadableVolume, "file meta"),
    ],
)
def test_odd_real_dicom_is_refused_in_words(
    real_data: Path, name: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=words):
        READER.load(real_data / "dicom_odd" / name)


def test_real_rescale_differs_between_slices(real_data: Path) -> None:
    volume = READER.load(real_data / "dicom_odd/panimg_dicom_intercept")
    np.testing.assert_allclose(volume.array[:, 0, 0], [0, 0.01], atol=1e-6)


def test_real_jpeg2000_with_wrong_signedness_is_decoded(real_data: Path, tmp_path: Path) -> None:
    source = pydicom.dcmread(real_data / "dicom_odd/pydicom/J2K_pixelrep_mismatch.dcm")
    row, column = np.reshape(np.asarray(source.ImageOrientationPatient, float), (2, 3))
    start = np.asarray(source.ImagePositionPatient, float)
    for k in range(3):
        at = start + 5 * k * np.cross(row, column)
        source.ImagePositionPatient = [round(float(value), 4) for value in at]
        source.save_as(tmp_path / f"{9 - k}.dcm")
    volume = READER.load(tmp_path)
    assert volume.array.shape == (3, 512, 512)
    assert (volume.array.min(), volume.array.max()) == (-2000, 1896)
    with pytest.raises(UnreadableVolume, match="rotated by 22 degrees"):
        canonical(volume)
