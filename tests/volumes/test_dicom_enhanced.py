"""Multi-frame CT is read frame by frame, each by its own functional groups."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import JPEG2000Lossless, generate_uid

from ctfw.errors import NotCT, UnreadableVolume
from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.dicom import DicomLoader

READER = DicomLoader(DicomConfig())
LARGEST = DicomLoader(DicomConfig(series="largest"))
ENHANCED_CT = "1.2.840.10008.5.1.4.1.1.2.1"
MakeSlice = Callable[..., FileDataset]


def group(**tags: Any) -> list[Dataset]:
    """A functional group: a sequence of one item."""
    item = Dataset()
    for name, value in tags.items():
        setattr(item, name, value)
    return [item]


def frame(z: float, **more: Any) -> Dataset:
    """Per-frame groups of a frame at height z."""
    own = Dataset()
    own.PlanePositionSequence = group(ImagePositionPatient=[-20, -30, z])
    own.FrameContentSequence = group(
        StackID=more.get("stack", "1"), InStackPositionNumber=1, FrameAcquisitionNumber=1
    )
    if "slope" in more:
        own.PixelValueTransformationSequence = group(
            RescaleSlope=more["slope"],
            RescaleIntercept=more["intercept"],
            RescaleType=more.get("kind", "HU"),
        )
    if "frame_type" in more:
        own.CTImageFrameTypeSequence = group(FrameType=more["frame_type"])
    return own


def enhanced(make: MakeSlice, array: np.ndarray, frames: list[Dataset], **tags: Any) -> FileDataset:
    """One enhanced CT file of stored values (frame, y, x)."""
    gone = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope")
    data = make(
        array[0],
        SOPClassUID=ENHANCED_CT,
        SeriesInstanceUID="1.2.3",
        NumberOfFrames=len(array),
        PixelData=np.ascontiguousarray(array, "<i2").tobytes(),
        RescaleIntercept=None,
        **dict.fromkeys(gone),
    )
    data.file_meta.MediaStorageSOPClassUID = ENHANCED_CT
    shared = Dataset()
    shared.PixelMeasuresSequence = group(PixelSpacing=[0.8, 0.7], SliceThickness=99)
    shared.PlaneOrientationSequence = group(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])
    shared.PixelValueTransformationSequence = group(
        RescaleSlope=1, RescaleIntercept=-1024, RescaleType="HU"
    )
    data.SharedFunctionalGroupsSequence = [shared]
    data.PerFrameFunctionalGroupsSequence = frames
    for name, value in tags.items():
        setattr(data, name, value)
    return data


def cube(depth: int) -> np.ndarray:
    return np.arange(depth * 5 * 3, dtype=np.int16).reshape(depth, 5, 3)


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    order=st.permutations(range(6)),
    slopes=st.lists(st.integers(1, 5), min_size=6, max_size=6),
    shifts=st.lists(st.integers(-1024, 100), min_size=6, max_size=6),
)
def test_shuffled_frames_with_their_own_rescale_come_back_in_place(
    tmp_path: Path,
    make_slice: MakeSlice,
    order: list[int],
    slopes: list[int],
    shifts: list[int],
) -> None:
    frames = [frame(2.5 * order[k], slope=slopes[k], intercept=shifts[k]) for k in range(6)]
    file = tmp_path / "ct"
    enhanced(make_slice, cube(6), frames).save_as(file, enforce_file_format=True)
    assert READER.can_read(file)
    volume = READER.load(file)
    for k in range(6):
        np.testing.assert_array_equal(
            volume.array[order[k]], cube(6)[k].astype(int) * slopes[k] + shifts[k]
        )
    expected = np.array([[-0.7, 0, 0, 20], [0, -0.8, 0, 30], [0, 0, 2.5, 0], [0, 0, 0, 1]])
    np.testing.assert_allclose(volume.affine, expected, atol=1e-9)
    assert volume.intensity == "hu"
    assert any("multi-frame" in decision.text for decision in volume.provenance)


def test_rescale_and_geometry_may_be_shared(tmp_path: Path, make_slice: MakeSlice) -> None:
    data = enhanced(make_slice, cube(3), [frame(z) for z in (0, 2, 4)])
    data.save_as(tmp_path / "ct", enforce_file_format=True)
    np.testing.assert_array_equal(READER.load(tmp_path).array, cube(3) - 1024)


def test_one_frame_costs_one_frame(tmp_path: Path, make_slice: MakeSlice) -> None:
    data = enhanced(make_slice, cube(6), [frame(2.5 * k) for k in range(6)])
    data.save_as(tmp_path / "ct", enforce_file_format=True)
    stream = READER.stream(tmp_path / "ct")
    assert stream.random
    ((number, plane),) = stream.read([4])
    assert number == 4
    np.testing.assert_array_equal(plane, cube(6)[4] - 1024)


def test_two_stacks_of_one_file_are_told_apart(tmp_path: Path, make_slice: MakeSlice) -> None:
    frames = [frame(2.5 * (k // 2), stack=str(1 + k % 2)) for k in range(12)]
    data = enhanced(make_slice, cube(12), frames)
    data.save_as(tmp_path / "ct", enforce_file_format=True)
    with pytest.raises(UnreadableVolume, match="2 stacks of slices"):
        READER.load(tmp_path / "ct")
    taken = LARGEST.load(tmp_path / "ct").array
    assert np.array_equal(taken, cube(12)[::2] - 1024) or np.array_equal(
        taken, cube(12)[1::2] - 1024
    )


def test_series_may_be_spread_over_several_files(tmp_path: Path, make_slice: MakeSlice) -> None:
    for name, part in (("b", slice(0, 3)), ("a", slice(3, 6))):
        frames = [frame(2.5 * k) for k in range(6)[part]]
        data = enhanced(make_slice, cube(6)[part], frames, SOPInstanceUID=generate_uid())
        data.save_as(tmp_path / name, enforce_file_format=True)
    volume = READER.load(tmp_path)
    np.testing.assert_array_equal(volume.array, cube(6) - 1024)


def test_localizer_frames_and_maps_are_left_out(tmp_path: Path, make_slice: MakeSlice) -> None:
    frames = [frame(2.5 * k) for k in range(4)]
    frames.append(frame(40, frame_type=["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]))
    frames.append(frame(10, slope=1, intercept=0, kind="Z_EFF"))
    data = enhanced(make_slice, cube(6), frames)
    data.save_as(tmp_path / "ct", enforce_file_format=True)
    volume = READER.load(tmp_path / "ct")
    np.testing.assert_array_equal(volume.array, cube(4) - 1024)
    assert "localizers (scouts): 1, maps of another quantity than HU: 1" in str(volume.provenance)


def test_compressed_frames_are_read(tmp_path: Path, make_slice: MakeSlice) -> None:
    array = np.random.default_rng(0).integers(-1000, 1000, (4, 64, 64)).astype(np.int16)
    data = enhanced(make_slice, array, [frame(3 - k) for k in range(4)], Rows=64, Columns=64)
    if not pydicom.pixels.get_encoder(JPEG2000Lossless).is_available:
        pytest.skip("no encoder of JPEG 2000 is installed")
    data.compress(JPEG2000Lossless, generate_instance_uid=False)
    data.save_as(tmp_path / "ct", enforce_file_format=True)
    volume = READER.load(tmp_path / "ct")
    np.testing.assert_array_equal(volume.array, array[::-1] - 1024)


@pytest.mark.parametrize("frames", [0, 2])
def test_frames_without_a_place_are_refused(
    tmp_path: Path, make_slice: MakeSlice, frames: int
) -> None:
    data = enhanced(make_slice, cube(3), [frame(k) for k in range(frames)])
    data.save_as(tmp_path / "ct", enforce_file_format=True)
    with pytest.raises(
        UnreadableVolume, match=f"multi-frame file of 3 frames has places for {frames}"
    ):
        READER.load(tmp_path / "ct")


def test_frames_of_a_classic_file_are_refused(tmp_path: Path, make_slice: MakeSlice) -> None:
    data = make_slice(cube(1)[0], NumberOfFrames=2, PixelData=cube(2).astype("<i2").tobytes())
    data.save_as(tmp_path / "ct", enforce_file_format=True)
    with pytest.raises(UnreadableVolume, match="multi-frame file of 2 frames has places for none"):
        READER.load(tmp_path / "ct")


def test_file_shorter_than_its_frames_is_refused(tmp_path: Path, make_slice: MakeSlice) -> None:
    data = enhanced(make_slice, cube(3), [frame(k) for k in range(3)])
    data.PixelData = data.PixelData[:40]
    data.save_as(tmp_path / "ct", enforce_file_format=True)
    with pytest.raises(UnreadableVolume, match="cut short: its pixels need 90 bytes and it has 40"):
        READER.load(tmp_path / "ct")


def test_real_perfusion_map_is_refused(real_data: Path) -> None:
    with pytest.raises(NotCT, match="coloured or perfusion maps computed from a CT: 1"):
        READER.load(real_data / "dicom_odd/pydicom/eCT_Supplemental.dcm")


def test_real_enhanced_ct_is_read_in_place(real_data: Path, tmp_path: Path) -> None:
    source = pydicom.dcmread(real_data / "dicom_odd/pydicom/eCT_Supplemental.dcm")
    pixels = source.pixel_array.astype(int)
    source.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    source.PixelPresentation = "MONOCHROME"
    shared = source.SharedFunctionalGroupsSequence[0]
    shared.CTImageFrameTypeSequence[0].FrameType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    shared.CTImageFrameTypeSequence[0].PixelPresentation = "MONOCHROME"
    source.save_as(tmp_path / "ct.dcm")
    volume = READER.load(tmp_path / "ct.dcm")
    # The frames lie at z = -159 and -149, rows run to the patient's right.
    np.testing.assert_array_equal(volume.array, pixels[::-1] - 1024)
    expected = np.diag([0.388672, -0.388672, -10, 1])
    expected[:3, 3] = -99.5, 301.5, -149
    np.testing.assert_allclose(volume.affine, expected, atol=1e-6)
    assert volume.intensity == "unknown"
