"""MetaImage and NRRD files are read as SimpleITK writes them, and to their last byte."""

from __future__ import annotations

import gzip
import re
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctfw.errors import NotCT, UnreadableVolume
from ctfw_plugins.volumes.configs import ItkConfig
from ctfw_plugins.volumes.itk import ItkLoader

SimpleITK = pytest.importorskip("SimpleITK", reason="the extra `itk` is not installed")
READER = ItkLoader(ItkConfig())
ARRAY = np.random.default_rng(0).integers(-1000, 1000, (5, 6, 7)).astype(np.int16)
TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
META = "ObjectType = Image\nNDims = 3\nDimSize = 7 6 5\nElementSpacing = 1 2 3\n"
META_END = "ElementType = MET_SHORT\nElementDataFile = LOCAL\n"
NRRD = "NRRD0004\ntype: short\ndimension: 3\nsizes: 7 6 5\nendian: little\nencoding: raw\n"
PLACED = "space: left-posterior-superior\nspace directions: (1,0,0) (0,2,0) (0,0,3)\n"


def image(array: np.ndarray = ARRAY) -> SimpleITK.Image:
    made = SimpleITK.GetImageFromArray(array)
    made.SetSpacing((0.7, 0.8, 1.5))
    made.SetOrigin((-10.5, 20.25, -300.0))
    c, s = np.cos(0.2), np.sin(0.2)
    made.SetDirection((1, 0, 0, 0, c, -s, 0, s, c))
    return made


def affine_of(made: SimpleITK.Image) -> np.ndarray:
    """By ITK's own map from indices to points, which knows nothing of this loader."""
    origin, *ends = (
        np.array(made.TransformIndexToPhysicalPoint(at))
        for at in ([0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1])
    )
    affine = np.eye(4)
    affine[:3] = np.stack([*(end - origin for end in ends), origin], axis=1)
    return TO_RAS @ affine


def put(path: Path, header: str, data: bytes = ARRAY.astype("<i2").tobytes()) -> Path:
    path.write_bytes(header.encode("latin-1") + data)
    return path


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_what_simpleitk_writes_comes_back(tmp_path: Path, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["i1", "u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"]))
    shape = data.draw(st.tuples(*[st.integers(1, 6)] * 3))
    values = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 100, shape)
    made = image(values.astype(dtype))
    ending = data.draw(st.sampled_from(["mha", "mhd", "nrrd", "nhdr"]))
    path = tmp_path / f"scan.{ending}"
    SimpleITK.WriteImage(made, path, data.draw(st.booleans()))

    volume = READER.load(path)
    np.testing.assert_array_equal(volume.array, values)
    np.testing.assert_allclose(volume.affine, affine_of(made), atol=1e-9)
    assert volume.array.dtype == (np.float32 if "f" in dtype else np.int16)
    assert volume.intensity == "unknown"


@pytest.mark.parametrize(
    "header",
    [
        META + "BinaryDataByteOrderMSB = True\n" + META_END,
        META + "ElementByteOrderMSB = 1\n" + META_END,
        (NRRD + "spacings: 1 2 3\n\n").replace("little", "big"),
    ],
)
def test_big_endian_is_read_as_simpleitk_reads_it(tmp_path: Path, header: str) -> None:
    ending = "nrrd" if header.startswith("NRRD") else "mha"
    path = put(tmp_path / f"scan.{ending}", header, ARRAY.astype(">i2").tobytes())
    np.testing.assert_array_equal(READER.load(path).array, ARRAY)
    independent = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(path))
    np.testing.assert_array_equal(independent, ARRAY)


@pytest.mark.parametrize("ending", ["mha", "mhd", "nrrd", "nhdr"])
@pytest.mark.parametrize("compressed", [False, True])
def test_no_damage_passes(tmp_path: Path, ending: str, compressed: bool) -> None:
    """The data cut anywhere, and, where the format has a checksum, any bit of it changed."""
    path = tmp_path / f"scan.{ending}"
    SimpleITK.WriteImage(image(), path, compressed)
    data = next((p for p in tmp_path.iterdir() if p != path), path)
    good = data.read_bytes()
    body = len(good) - 400 if compressed else len(good) - ARRAY.nbytes
    begin = body if data == path else 0
    rng = np.random.default_rng(7)
    for keep in (*rng.integers(begin, len(good), 12), len(good) - 1):
        data.write_bytes(good[: int(keep)])
        with pytest.raises(UnreadableVolume):
            READER.load(path)
    for at in rng.integers(max(begin, 10 if compressed else 0), len(good), 24 * compressed):
        bad = bytearray(good)
        bad[int(at)] ^= 1 << int(rng.integers(8))
        data.write_bytes(bad)
        with pytest.raises(UnreadableVolume):
            READER.load(path)
    data.write_bytes(good)
    np.testing.assert_array_equal(READER.load(path).array, ARRAY)


def test_what_simpleitk_fills_with_nothing_is_read_or_refused(tmp_path: Path) -> None:
    packed = zlib.compress(ARRAY.tobytes())
    header = META + "CompressedData = True\nCompressedDataSize = {}\n" + META_END
    not_said = put(tmp_path / "a.mha", header.format(0), packed)
    np.testing.assert_array_equal(READER.load(not_said).array, ARRAY)
    wrong = put(tmp_path / "b.mha", header.format(len(packed) - 20), packed)
    assert SimpleITK.ReadImage(wrong).GetSize() == (7, 6, 5)
    with pytest.raises(UnreadableVolume, match="the header says"):
        READER.load(wrong)
    short = zlib.compress(ARRAY.tobytes()[:-100])
    with pytest.raises(UnreadableVolume, match="ends before its last voxel"):
        READER.load(put(tmp_path / "c.mha", header.format(len(short)), short))
    trailing = put(tmp_path / "d.mha", header.format(len(packed)), packed + b"garbage")
    volume = READER.load(trailing)
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.provenance[-1].text == "7 bytes after the last voxel were ignored"


def test_missing_geometry_is_refused_or_said(tmp_path: Path) -> None:
    bare = put(tmp_path / "a.mha", META.replace("ElementSpacing = 1 2 3\n", "") + META_END)
    with pytest.raises(UnreadableVolume, match="no ElementSpacing"):
        READER.load(bare)
    with pytest.raises(UnreadableVolume, match="no spacing is known"):
        READER.load(put(tmp_path / "a.nrrd", NRRD + "\n"))
    for path in (
        put(tmp_path / "b.mha", META + META_END),
        put(tmp_path / "b.nrrd", NRRD + "spacings: 1 2 3\n\n"),
    ):
        volume = READER.load(path)
        assert volume.orientation == "LPS"
        assert volume.spacing_mm == (3, 2, 1)
        assert "no direction in the header, taken as LPS" in volume.provenance[0].text


@pytest.mark.parametrize(
    ("unit", "factor"), [("mm", 1), ("cm", 10), ("m", 1000), ("um", 0.001), ("", 1)]
)
def test_units_become_millimetres(tmp_path: Path, unit: str, factor: float) -> None:
    units = f'space units: "{unit}" "{unit}" "{unit}"\n'
    nrrd = put(tmp_path / "a.nrrd", NRRD + PLACED + units + "space origin: (1,2,3)\n\n")
    meta = put(tmp_path / "a.mha", META + f"Offset = 1 2 3\nDistanceUnits = {unit}\n" + META_END)
    for path in (nrrd, meta):
        expected = TO_RAS @ [[1, 0, 0, 1], [0, 2, 0, 2], [0, 0, 3, 3], [0, 0, 0, 1 / factor]]
        np.testing.assert_allclose(READER.load(path).affine, expected * factor)


def test_slope_of_the_header_is_applied_once(tmp_path: Path) -> None:
    slope = "ElementToIntensityFunctionSlope = 2\nElementToIntensityFunctionOffset = -1024\n"
    volume = READER.load(put(tmp_path / "a.mha", META + slope + META_END))
    np.testing.assert_array_equal(volume.array, ARRAY * 2.0 - 1024)
    assert any("slope 2 and intercept -1024" in d.text for d in volume.provenance)


def test_nrrd_in_ras_and_with_permuted_axes_is_placed_right(tmp_path: Path) -> None:
    placed = (
        "space: RAS\nspace directions: (0,0.7,0) (0,0,-0.8) (1.5,0,0)\nspace origin: (4,5,6)\n\n"
    )
    volume = READER.load(put(tmp_path / "a.nrrd", NRRD + placed))
    expected = [[0, 0, 1.5, 4], [0.7, 0, 0, 5], [0, -0.8, 0, 6], [0, 0, 0, 1]]
    np.testing.assert_allclose(volume.affine, expected, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "header", "error", "words"),
    [
        ("a.mha", META + "Modality = MET_MOD_MR\n" + META_END, NotCT, "an MR image"),
        ("a.mha", META + "ElementNumberOfChannels = 3\n" + META_END, NotCT, "several values"),
        ("a.mha", META + META_END.replace("SHORT", "SHORT_ARRAY"), NotCT, "several values"),
        ("a.mha", META + META_END.replace("SHORT", "OTHER"), UnreadableVolume, "MET_OTHER"),
        ("a.mha", META + "BinaryData = False\n" + META_END, UnreadableVolume, "written as text"),
        ("a.mha", META + "HeaderSize = 10\n" + META_END, UnreadableVolume, "HeaderSize"),
        ("a.mha", META + "DistanceUnits = ell\n" + META_END, UnreadableVolume, "unit of length"),
        ("a.mha", META.replace("7 6 5", "7 6 0") + META_END, UnreadableVolume, "not that of"),
        ("a.mha", META.replace("7 6 5", "7 6 -5") + META_END, UnreadableVolume, "not that of"),
        ("a.mha", META.replace("7 6 5", "7 6 5000") + META_END, UnreadableVolume, "not that of"),
        ("a.mha", META.replace("7 6 5", "7 six 5") + META_END, UnreadableVolume, "cannot be read"),
        ("a.mha", META, UnreadableVolume, "no ElementDataFile"),
        (
            "a.mha",
            META.replace("NDims = 3", "NDims = 4").replace("7 6 5", "7 3 2 5") + META_END,
            UnreadableVolume,
            "4D with 5 time points of 7 x 3 x 2",
        ),
        (
            "a.mha",
            META.replace("NDims = 3", "NDims = 2").replace("7 6 5", "7 30") + META_END,
            UnreadableVolume,
            "2D, a single picture",
        ),
        ("a.nrrd", "NRRD0009\n\n", UnreadableVolume, "not a NRRD file"),
        ("a.nrrd", "<html>404</html>", UnreadableVolume, "not a NRRD file"),
        ("a.nrrd", NRRD + PLACED + "modality:=DWMRI\n\n", NotCT, "DWMRI"),
        ("a.nrrd", NRRD.replace("raw", "hex") + PLACED + "\n", UnreadableVolume, "raw or gzip"),
        ("a.nrrd", NRRD.replace("raw", "bzip2") + PLACED + "\n", UnreadableVolume, "raw or gzip"),
        ("a.nrrd", NRRD.replace("endian: little\n", "") + PLACED + "\n", UnreadableVolume, "order"),
        ("a.nrrd", NRRD + PLACED + "line skip: 1\n\n", UnreadableVolume, "line skip"),
        ("a.nrrd", NRRD + PLACED + "kinds: list domain domain\n\n", UnreadableVolume, "4D"),
        ("a.nrrd", NRRD + PLACED + "kinds: RGB-color domain domain\n\n", NotCT, "colour"),
        ("a.nrrd", NRRD.replace("short", "block") + PLACED + "\n", UnreadableVolume, "block"),
        ("a.nrrd", NRRD + PLACED + 'space units: "mm" "m" "mm"\n\n', UnreadableVolume, "unit of"),
    ],
)
def test_what_is_no_plain_volume_is_refused_in_words(
    tmp_path: Path, name: str, header: str, error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=re.escape(words)):
        READER.load(put(tmp_path / name, header))


@pytest.mark.parametrize(
    "name",
    ["../out.raw", "/etc/hostname", "sub/../../out.raw", "..\\out.raw", "C:out.raw"],
)
@pytest.mark.parametrize("ending", ["mhd", "nhdr"])
def test_voxels_outside_the_headers_folder_are_never_read(
    tmp_path: Path, ending: str, name: str
) -> None:
    (tmp_path / "out.raw").write_bytes(ARRAY.tobytes())
    inner = tmp_path / "inner"
    inner.mkdir()
    header = {
        "mhd": META + META_END.replace("LOCAL", name),
        "nhdr": NRRD + PLACED + f"data file: {name}\n",
    }[ending]
    with pytest.raises(UnreadableVolume, match="only a file in the header's folder"):
        READER.load(put(inner / f"scan.{ending}", header, b""))


@pytest.mark.parametrize("name", ["LIST", "slice%03d.raw 1 5 1", "slice.raw 1 5 1", "LIST 2"])
@pytest.mark.parametrize("ending", ["mhd", "nhdr"])
def test_voxels_in_several_files_are_refused(tmp_path: Path, ending: str, name: str) -> None:
    header = {
        "mhd": META + META_END.replace("LOCAL", name),
        "nhdr": NRRD + PLACED + f"data file: {name}\n",
    }[ending]
    with pytest.raises(UnreadableVolume, match="several files"):
        READER.load(put(tmp_path / f"scan.{ending}", header, b""))


def test_voxels_in_a_folder_below_and_after_a_skip_are_read(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    put(tmp_path / "sub" / "voxels.raw", "ten bytes.")
    end = META_END.replace("LOCAL", "sub/voxels.raw")
    for header in (f"HeaderSize = 10\n{end}", f"HeaderSize = -1\n{end}"):
        path = put(tmp_path / "scan.mhd", META + header, b"")
        np.testing.assert_array_equal(READER.load(path).array, ARRAY)
    for skip in (10, -1):
        text = f"byte skip: {skip}\ndata file: sub/voxels.raw\n"
        path = put(tmp_path / "scan.nhdr", NRRD + PLACED + text, b"")
        np.testing.assert_array_equal(READER.load(path).array, ARRAY)
    gone = put(tmp_path / "gone.mhd", META + META_END.replace("LOCAL", "gone.raw"), b"")
    with pytest.raises(UnreadableVolume, match=r"gone.raw, which is not there"):
        READER.load(gone)


def test_size_beyond_the_file_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    big = META.replace("7 6 5", "4096 4096 4096")
    with pytest.raises(UnreadableVolume, match="was cut short"):
        READER.load(put(tmp_path / "a.mha", big + META_END))
    packed = "CompressedData = True\n" + META_END
    with pytest.raises(UnreadableVolume, match="more than the file can hold"):
        READER.load(put(tmp_path / "b.mha", big + packed, zlib.compress(ARRAY.tobytes())))


def test_nan_is_counted_and_filled_only_on_request(tmp_path: Path) -> None:
    array = ARRAY.astype(np.float32)
    array[1, 2, :2] = np.nan, np.inf
    path = tmp_path / "scan.nrrd"
    SimpleITK.WriteImage(image(array), path, True)
    with pytest.raises(UnreadableVolume, match="2 of 210 voxels"):
        READER.load(path)
    filled = ItkLoader(ItkConfig(nonfinite=-1024)).load(path)
    assert filled.array[1, 2, :3].tolist() == [-1024, -1024, ARRAY[1, 2, 2]]
    assert "2 voxels" in filled.provenance[-1].text


@pytest.mark.parametrize("ending", ["mha", "nrrd"])
@pytest.mark.parametrize("compressed", [False, True])
def test_stream_gives_the_slices_that_are_asked_for(
    tmp_path: Path, ending: str, compressed: bool
) -> None:
    path = tmp_path / f"scan.{ending}"
    SimpleITK.WriteImage(image(), path, compressed)
    slices = READER.stream(path)
    assert slices.random is not compressed
    planes = dict(slices.read([1, 4]))
    assert sorted(planes) == [1, 4]
    for number, plane in planes.items():
        np.testing.assert_array_equal(plane, ARRAY[number])
    np.testing.assert_array_equal(slices.collect().array, ARRAY)


def test_several_gzip_members_of_a_nrrd_are_read_as_one(tmp_path: Path) -> None:
    voxels = ARRAY.tobytes()
    header = NRRD.replace("raw", "gzip") + PLACED + "\n"
    packed = b"".join(gzip.compress(voxels[at : at + 150]) for at in (0, 150, 300))
    volume = READER.load(put(tmp_path / "a.nrrd", header, packed + b"\x1f"))
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.provenance[-1].text == "1 bytes after the last voxel were ignored"
    with pytest.raises(UnreadableVolume):
        READER.load(put(tmp_path / "a.nrrd", header, packed[:-3]))


def test_module_imports_without_simpleitk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    monkeypatch.delitem(sys.modules, "ctfw_plugins.volumes.itk")
    from ctfw_plugins.volumes.itk import ItkLoader as Fresh

    assert Fresh(ItkConfig()).can_read(put(tmp_path / "a.mha", META + META_END))
