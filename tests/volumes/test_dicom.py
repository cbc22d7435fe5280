"""A CT series becomes a volume in HU, slice by slice; its geometry comes from positions alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctfw.contracts import StreamingLoader
from ctfw.errors import UnreadableVolume
from ctfw.volumes.stream import SliceStream
from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.dicom import DicomLoader
from ctfw_plugins.volumes.dicom_geometry import unevenness

READER = DicomLoader(DicomConfig())
Write = Callable[..., Path]


@dataclass
class Place:
    """As much of a slice as the rule of even steps looks at."""

    along: float


def ramp(depth: int = 4, rows: int = 5, columns: int = 3) -> np.ndarray:
    return np.arange(depth * rows * columns, dtype=np.int16).reshape(depth, rows, columns)


def told(volume: Any) -> str:
    return " | ".join(decision.text for decision in volume.provenance)


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


def test_order_is_that_of_positions_not_of_names_or_numbers(write_series: Write) -> None:
    stored = ramp()
    volume = READER.load(write_series(stored, z=[7.5, 0, 5, 2.5]))
    np.testing.assert_array_equal(volume.array, stored[[1, 3, 2, 0]].astype(int) - 1024)


def test_thickness_and_told_spacing_are_not_believed(write_series: Write) -> None:
    tags = {"SliceThickness": "5", "SpacingBetweenSlices": "9", "GantryDetectorTilt": "12"}
    volume = READER.load(write_series(ramp(), z=[0, 0.8, 1.6, 2.4], tags=tags))
    assert volume.spacing_mm[0] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("row_and_column", "position", "orientation"),
    [
        ((1, 0, 0, 0, 1, 0), "FFS", "LPS"),
        ((-1, 0, 0, 0, -1, 0), "HFP", "RAS"),
        ((0, 1, 0, -1, 0, 0), "HFDR", "PRS"),
        ((1, 0, 0, 0, 0, -1), "HFS", "LIP"),
    ],
)
def test_direction_comes_from_cosines_whatever_the_patient_position(
    write_series: Write, row_and_column: tuple[float, ...], position: str, orientation: str
) -> None:
    stored, normal = ramp(), np.cross(*np.reshape(row_and_column, (2, 3)))
    starts = [np.array([-20.0, -30, 5]) + 2.5 * k * normal for k in range(4)]
    folder = write_series(
        stored,
        normal=row_and_column,
        tags={"PatientPosition": position},
        each=lambda k: {"ImagePositionPatient": [float(v) for v in starts[k]]},
    )
    volume = READER.load(folder)
    assert volume.orientation == orientation
    # DICOM PS3.3 C.7.6.2.1.1: row index goes along the column cosines by the first PixelSpacing.
    for z, y, x in ((0, 0, 0), (3, 4, 2), (1, 2, 0)):
        row, column = np.reshape(row_and_column, (2, 3))
        lps = starts[z] + row * 0.7 * x + column * 0.8 * y
        ras = volume.affine @ [x, y, z, 1]
        np.testing.assert_allclose(ras[:3], lps * [-1, -1, 1], atol=1e-9)
        assert volume.array[z, y, x] == stored[z, y, x] - 1024


def test_each_slice_has_its_own_rescale(write_series: Write) -> None:
    stored = np.full((2, 3, 3), 100, np.int16)
    volume = READER.load(write_series(stored, slope=[1, 2.5], intercept=[-1024, 3]))
    assert volume.array[:, 0, 0].tolist() == [-924, 253]
    assert "1 x P -1024, 2.5 x P +3" in told(volume)


def test_loader_streams(write_series: Write) -> None:
    stored = ramp(6)
    stream = READER.stream(write_series(stored))
    assert isinstance(READER, StreamingLoader)
    assert isinstance(stream, SliceStream)
    assert (stream.shape, stream.random, stream.descending) == ((6, 5, 3), True, False)
    given = dict(stream.read([1, 4]))
    assert sorted(given) == [1, 4]
    np.testing.assert_array_equal(given[4], stored[4].astype(int) - 1024)


def test_stream_opens_only_the_files_of_the_slices_that_are_asked_for(write_series: Write) -> None:
    folder = write_series(ramp(6), name=lambda k: f"{k}.dcm")
    stream = READER.stream(folder)
    for k in (0, 1, 2, 4, 5):
        (folder / f"{k}.dcm").unlink()
    assert [number for number, _ in stream.read([3])] == [3]
    with pytest.raises(UnreadableVolume, match=r"the slice at 2\.50 mm cannot be read \(No such"):
        list(stream.read([1]))


def test_planes_belong_to_the_reader(write_series: Write) -> None:
    stream = READER.stream(write_series(ramp(), intercept=0))
    for _, plane in stream.read([0, 1]):
        plane[:] = -7
    assert not any((plane == -7).any() for _, plane in stream.read([0, 1]))


def test_decision_about_padding_is_the_same_when_slices_are_read_twice(write_series: Write) -> None:
    stored = ramp() + 1000
    stored[:, 0] = -2000
    stream = READER.stream(write_series(stored, tags={"PixelPaddingValue": -2000}))
    assert "padding" not in " ".join(d.text for d in stream.notes())
    stream.drain()
    once = stream.notes()
    stream.drain()
    assert stream.notes() == once
    assert once[-1].text == "20.0 % of the voxels had the padding value and were set to air"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"z": [0, 5, 10, 20]}, r"a hole .* 10 mm between the slices at 10\.00 and 20\.00 mm"),
        ({"z": [0, 5, 10, 10]}, r"duplicate slices: 1 pairs .* 10\.00 mm"),
        ({"z": [0, 5, 10, 16]}, r"uneven slice steps, from 5 to 6 mm: .* off an even grid at"),
        ({"shift_y": 1.0}, r"gantry tilt: .* 21\.8 degrees"),
        ({"each": lambda k: {"ImagePositionPatient": [-20 + 9 * (k == 1), 0, k]}}, "sideways"),
        ({"normal": (1, 0, 0, 0.5, 0.5, 0)}, "right angles"),
        ({"normal": (1, 0, 0, 1, 0, 0)}, "right angles"),
    ],
)
def test_bad_geometry_is_refused_by_name(write_series: Write, change: dict, words: str) -> None:
    with pytest.raises(UnreadableVolume, match=words):
        READER.stream(write_series(ramp(), **change))


def test_holes_are_all_counted(write_series: Write) -> None:
    z = [k * 2.0 for k in range(40) if k not in (7, 15, 16, 22, 30)]
    with pytest.raises(UnreadableVolume) as caught:
        READER.stream(write_series(ramp(35), z=z, name=str))
    message = str(caught.value)
    assert "4 mm between the slices at 12.00 and 16.00 mm; 6 mm between" in message
    assert "and 1 more places, where 2 mm is usual" in message


def test_steps_that_change_on_the_way_are_not_called_a_hole(write_series: Write) -> None:
    z = [0, 1, 2, 3, 4, 5, 6, 11, 16, 21, 26]
    with pytest.raises(UnreadableVolume, match="uneven slice steps, from 1 to 5 mm"):
        READER.stream(write_series(ramp(11), z=z, name=str))


@settings(max_examples=25, deadline=None)
@given(step=st.floats(0.5, 5), depth=st.integers(3, 200), seed=st.integers(0, 99))
def test_positions_rounded_to_a_tenth_are_even(step: float, depth: int, seed: int) -> None:
    start = np.random.default_rng(seed).uniform(-300, 300)
    at = np.round(start + np.arange(depth) * step, 1)
    assert unevenness([Place(z) for z in at]) == ""  # type: ignore[misc]


@settings(max_examples=25, deadline=None)
@given(step=st.floats(0.5, 5), depth=st.integers(4, 100), data=st.data())
def test_any_missing_slice_is_a_hole_and_its_place_is_named(
    step: float, depth: int, data: st.DataObject
) -> None:
    gone = data.draw(st.integers(1, depth - 2))
    at = [k * step for k in range(depth) if k != gone]
    between = f"between the slices at {at[gone - 1]:.2f} and {at[gone]:.2f} mm"
    assert between in unevenness([Place(z) for z in at])  # type: ignore[misc]


def test_tags_without_a_rescale_leave_raw_values(write_series: Write) -> None:
    stored = ramp()
    volume = READER.load(write_series(stored, tags={"RescaleSlope": None}))
    assert volume.intensity == "raw"
    np.testing.assert_array_equal(volume.array, stored)
    assert "the values are as stored" in told(volume)


def test_rescale_type_other_than_hu_is_said_and_left_to_the_voxels(write_series: Write) -> None:
    volume = READER.load(write_series(ramp(), tags={"RescaleType": "US"}))
    assert volume.intensity == "unknown"
    assert "RescaleType is not HU" in told(volume)


@pytest.mark.filterwarnings("ignore:Invalid value for VR DS")  # pydicom's, while writing it
@pytest.mark.parametrize("slope", ["0", "nan", "1e30"])
def test_rescale_that_is_no_usable_number_is_refused(write_series: Write, slope: str) -> None:
    with pytest.raises(UnreadableVolume, match="no usable number"):
        READER.stream(write_series(ramp(), slope=slope))


def test_slices_that_differ_in_having_a_rescale_are_refused(write_series: Write) -> None:
    folder = write_series(ramp(), each=lambda k: {"RescaleSlope": None} if k == 2 else {})
    with pytest.raises(UnreadableVolume, match="differ in a rescale"):
        READER.stream(folder)


def test_one_slice_has_no_spacing(write_series: Write) -> None:
    with pytest.raises(UnreadableVolume, match="one slice"):
        READER.load(write_series(ramp(1)))
