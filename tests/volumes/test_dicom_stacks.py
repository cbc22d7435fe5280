"""Stacks are told apart by where their slices lie; what is no slice is left out and counted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import generate_uid

from ctfw.errors import NotCT, UnreadableVolume
from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.dicom import DicomLoader

READER = DicomLoader(DicomConfig())
LARGEST = DicomLoader(DicomConfig(series="largest"))
Write = Callable[..., Path]
PR = "1.2.840.10008.5.1.4.1.1.11.1"
SR, CAPTURE, DIRECTORY, RAW_DATA = (
    "1.2.840.10008.5.1.4.1.1.88.67",
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.1.3.10",
    "1.2.840.10008.5.1.4.1.1.66",
)


def slices(depth: int, value: int = 0) -> np.ndarray:
    """(z, y, x) stored values that tell slice and stack."""
    return np.arange(depth, dtype=np.int16)[:, None, None] * np.ones((5, 3), np.int16) + value


def told(volume: Any) -> str:
    return " | ".join(decision.text for decision in volume.provenance)


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")  # pydicom's, while writing it
@pytest.mark.parametrize(
    ("tags", "kind"),
    [
        ({"Modality": "SR", "SOPClassUID": SR, "Rows": None}, "structured reports"),
        ({"Modality": "PR", "SOPClassUID": PR, "PixelData": None}, "presentation states"),
        ({"Modality": "SEG"}, "segmentations"),
        ({"Modality": "OT"}, "screenshots and other captures (OT)"),
        ({"Modality": "MR"}, "MR images"),
        ({"Modality": "PT"}, "PET images"),
        ({"Modality": "Planted"}, "objects of another kind than CT"),
        ({"Modality": None, "SOPClassUID": DIRECTORY}, "directories (DICOMDIR)"),
        ({"SOPClassUID": CAPTURE}, "screenshots and other captures (SC)"),
        ({"SOPClassUID": RAW_DATA, "PixelData": None}, "objects without an image"),
        ({"SOPClassUID": RAW_DATA, "Rows": None}, "objects without an image"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "localizers (scouts)"),
        ({"ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}, "screenshots and dose sheets"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "colour pictures"),
        ({"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB"}, "colour pictures"),
        ({"PixelPresentation": "COLOR"}, "coloured or perfusion maps"),
        ({"RescaleType": "Z_EFF"}, "maps of another quantity than HU"),
        ({"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "localizers (scouts)"),
        ({"PixelSpacing": [2, 2]}, "single images of another geometry"),
        ({"FrameOfReferenceUID": "1.2.3"}, "single images of another geometry"),
        ({"ImagePositionPatient": None}, "CT images without a usable place"),
    ],
)
def test_what_is_no_slice_is_left_out_by_kind(
    write_series: Write, tags: dict[str, Any], kind: str
) -> None:
    folder = write_series(slices(4))
    write_series(slices(1, 99), "series/other", tags=tags)
    volume = READER.load(folder)
    np.testing.assert_array_equal(volume.array, slices(4) - 1024)
    assert f"left out: {kind}" in told(volume)
    assert told(volume).endswith(": 1")


def test_when_nothing_remains_it_is_said_what_was_there(write_series: Write) -> None:
    folder = write_series(slices(3), tags={"Modality": "MR"})
    write_series(slices(2), "series/b", tags={"Modality": "SR", "SOPClassUID": SR, "Rows": None})
    with pytest.raises(NotCT) as caught:
        READER.load(folder)
    assert str(caught.value) == (
        "no slice of a CT volume is there, only: MR images: 3, structured reports such as dose "
        "reports (SR): 2"
    )


@pytest.mark.parametrize(
    "tags",
    [
        {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]},
        {"ImageOrientationPatient": [1, 0, 0, 0, 0, -1]},
    ],
)
def test_scouts_alone_are_no_volume(write_series: Write, tags: dict[str, Any]) -> None:
    with pytest.raises(NotCT, match="only localizer"):
        READER.load(write_series(slices(1), tags=tags))


def test_image_of_the_series_that_lost_its_place_is_not_passed_over(write_series: Write) -> None:
    folder = write_series(
        slices(5), each=lambda k: {"ImagePositionPatient": None} if k == 4 else {}
    )
    with pytest.raises(UnreadableVolume, match="same series have no usable PixelSpacing"):
        READER.load(folder)


@pytest.mark.parametrize(
    "tags",
    [
        {"PixelSpacing": [0.9, 0.7]},
        {"ImageOrientationPatient": [0.98, 0.199, 0, -0.199, 0.98, 0]},
        {"FrameOfReferenceUID": "1.2.3"},
    ],
)
def test_slice_of_the_series_that_does_not_fit_is_not_passed_over(
    write_series: Write, tags: dict[str, Any]
) -> None:
    folder = write_series(slices(5), each=lambda k: tags if k == 4 else {})
    with pytest.raises(UnreadableVolume, match="a single image of the same series has another"):
        READER.load(folder)


def test_even_series_of_two_uids_is_one_stack(write_series: Write) -> None:
    folder = write_series(slices(6), series=["1.2"] * 3 + ["1.3"] * 3)
    volume = READER.load(folder)
    assert len(volume.array) == 6
    assert "2 series UIDs in one even stack: read as one series" in told(volume)


def test_every_slice_with_a_uid_of_its_own_is_one_stack(write_series: Write) -> None:
    folder = write_series(slices(6), series=[generate_uid() for _ in range(6)])
    assert len(READER.load(folder).array) == 6


def test_one_uid_gone_wrong_in_the_middle_is_one_stack(write_series: Write) -> None:
    folder = write_series(slices(7), series=["1.2"] * 3 + ["1.9"] + ["1.2"] * 3)
    assert len(READER.load(folder).array) == 7


def test_several_stacks_are_refused_with_size_spacing_and_extent(write_series: Write) -> None:
    folder = write_series(slices(6))
    write_series(slices(9), "series/thin", z=np.arange(9) * 1.0)
    with pytest.raises(UnreadableVolume) as caught:
        READER.load(folder)
    assert str(caught.value) == (
        "2 stacks of slices lie here: 6 slices of 5 x 3, 2.5 mm apart, over 12.5 mm; 9 slices of "
        "5 x 3, 1 mm apart, over 8.0 mm. Give the folder of one, or set the dicom loader's "
        "`series: largest`"
    )


def test_largest_is_by_extent_then_by_slices_and_axial_first(write_series: Write) -> None:
    folder = write_series(slices(6, 100))
    write_series(slices(9, 200), "series/thin", z=np.arange(9) * 1.0)
    write_series(slices(5, 300), "series/thick", z=np.arange(5) * 3.125)
    across = [[0, 1, 0, 0, 0, -1], lambda k: {"ImagePositionPatient": [-8.0 * k, 0, 0]}]
    write_series(slices(6, 400), "series/sagittal", normal=across[0], each=across[1])
    volume = LARGEST.load(folder)
    np.testing.assert_array_equal(volume.array, slices(6, 100) - 1024)
    assert "the largest of 4 stacks was taken; the others have 5, 9, 6 slices" in told(volume)


def test_largest_refuses_when_the_largest_is_broken(write_series: Write) -> None:
    folder = write_series(slices(6), z=[0, 5, 10, 20, 25, 30])
    write_series(slices(6), "series/good")
    with pytest.raises(UnreadableVolume, match="a hole in the series"):
        LARGEST.load(folder)


def test_two_studies_are_never_put_together(write_series: Write) -> None:
    folder = write_series(slices(4), tags={"StudyInstanceUID": "1.5"})
    write_series(slices(4), "series/b", z=10 + np.arange(4) * 2.5, tags={"StudyInstanceUID": "1.6"})
    with pytest.raises(UnreadableVolume, match="2 stacks"):
        READER.load(folder)


def two_stacks(write: Write, second: float, one: dict[str, Any], other: dict[str, Any]) -> Path:
    """Ten slices 2.5 mm apart and ten more, `second` mm further, under one series UID."""
    uid = ["1.2.7"] * 10
    for name, start, value, tags in (("a", 0.0, 0, one), ("b", second, 500, other)):
        write(
            slices(10, value),
            f"series/{name}",
            z=start + np.arange(10) * 2.5,
            series=uid,
            tags={"AcquisitionNumber": 1, **tags},
        )
    return write(slices(0), "series")


@pytest.mark.parametrize("second", [0.0, 1.25, 1.0])
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"ConvolutionKernel": "Br40"}, {"ConvolutionKernel": "Bl64"}),
        ({"KVP": "80"}, {"KVP": "140"}),
        ({"TemporalPositionIdentifier": 1}, {"TemporalPositionIdentifier": 2}),
        ({"AcquisitionNumber": 1}, {"AcquisitionNumber": 2}),
        ({"SliceThickness": "5"}, {"SliceThickness": "1"}),
        ({"SeriesInstanceUID": "1.2.8"}, {"SeriesInstanceUID": "1.2.9"}),
    ],
    ids=lambda tags: str(next(iter(tags))),
)
def test_stacks_between_each_other_are_told_apart(
    write_series: Write, second: float, one: dict[str, Any], other: dict[str, Any]
) -> None:
    folder = two_stacks(write_series, second, one, other)
    woven_even = second == 1.25 and not {"SeriesInstanceUID", "ConvolutionKernel"} & set(one)
    if woven_even:  # nothing says that this is not one stack with half the step
        assert READER.load(folder).array.shape[0] == 20
        return
    with pytest.raises(UnreadableVolume, match=r"2 stacks .* 10 slices .* 10 slices"):
        READER.load(folder)
    taken = LARGEST.load(folder).array[:, 0, 0]
    assert np.ptp(taken) == 9, "slices of both stacks were mixed"


def test_runs_of_instance_numbers_tell_stacks_apart(write_series: Write) -> None:
    z = np.r_[np.arange(10) * 2.5, np.arange(10) * 2.5]
    folder = write_series(slices(20), z=z, name=lambda k: f"{k}.dcm")
    with pytest.raises(UnreadableVolume, match="2 stacks"):
        READER.load(folder)
    assert LARGEST.load(folder).array[:, 0, 0].tolist() in (
        [*range(-1024, -1014)],
        [*range(-1014, -1004)],
    )


def test_targeted_reconstructions_are_told_apart_by_their_origin(write_series: Write) -> None:
    at = [[-20.0, -30, 2.5 * k] for k in range(6)] + [[15.0, -30, 2.5 * k] for k in range(6)]
    folder = write_series(
        slices(12),
        each=lambda k: {"ImagePositionPatient": at[k], "InstanceNumber": None},
        name=lambda k: f"{k}.dcm",
    )
    with pytest.raises(UnreadableVolume, match="2 stacks"):
        READER.load(folder)


def test_duplicates_that_nothing_tells_apart_are_refused(write_series: Write) -> None:
    z = np.repeat(np.arange(6) * 2.5, 2)
    folder = write_series(slices(12), z=z, tags={"InstanceNumber": None}, name=lambda k: f"{k}.dcm")
    for reader in (READER, LARGEST):
        with pytest.raises(UnreadableVolume, match="duplicate slices: 6 pairs"):
            reader.load(folder)


@pytest.mark.parametrize("some", [1, 3, 6])
def test_copies_of_slices_are_dropped_and_counted(write_series: Write, some: int) -> None:
    folder = write_series(slices(6), name=lambda k: f"{k}.dcm")
    (folder / "copy").mkdir()
    for k in range(some):
        (folder / "copy" / f"{k}.dcm").write_bytes((folder / f"{k}.dcm").read_bytes())
    volume = READER.load(folder)
    np.testing.assert_array_equal(volume.array, slices(6) - 1024)
    assert f"copies of a slice: {some}" in told(volume)


def test_same_place_and_other_pixels_is_no_copy(write_series: Write) -> None:
    folder = write_series(slices(6), z=[0, 2.5, 5, 7.5, 10, 10])
    with pytest.raises(UnreadableVolume, match=r"duplicate slices: 1 pairs .* 10\.00 mm"):
        READER.load(folder)


def test_missing_slice_at_a_border_of_acquisitions_is_a_hole_not_two_stacks(
    write_series: Write,
) -> None:
    folder = write_series(
        slices(8),
        z=[0, 2, 4, 6, 10, 12, 14, 16],
        each=lambda k: {"AcquisitionNumber": 1 + k // 4},
    )
    with pytest.raises(UnreadableVolume, match=r"4 mm between the slices at 6\.00 and 10\.00 mm"):
        READER.load(folder)


def test_step_and_shoot_with_a_number_per_slice_is_one_stack(write_series: Write) -> None:
    folder = write_series(slices(6), each=lambda k: {"AcquisitionNumber": k + 1})
    assert len(READER.load(folder).array) == 6


def test_overlapping_reconstruction_is_fine(write_series: Write) -> None:
    volume = READER.load(write_series(slices(8), z=np.arange(8) * 0.7, tags={"SliceThickness": 1}))
    assert volume.spacing_mm[0] == pytest.approx(0.7)


def test_sizes_that_differ_make_stacks_of_their_own(write_series: Write) -> None:
    folder = write_series(slices(4), series=["1.2"] * 4)
    wide = np.zeros((4, 6, 6), np.int16)
    write_series(wide, "series/wide", z=10 + np.arange(4) * 2.5, series=["1.2"] * 4)
    with pytest.raises(UnreadableVolume, match=r"2 stacks.*(5 x 3.*6 x 6|6 x 6.*5 x 3)"):
        READER.load(folder)
