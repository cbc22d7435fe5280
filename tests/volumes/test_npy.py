"""Plain arrays are read with a geometry, or not at all."""

from __future__ import annotations

import json
import tracemalloc
import warnings
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ctfw.errors import NotCT, UnreadableVolume
from ctfw.types import Case, Volume
from ctfw_plugins.preprocess.configs import RescaleHuConfig
from ctfw_plugins.preprocess.rescale_hu import RescaleHu
from ctfw_plugins.volumes.configs import NpyConfig
from ctfw_plugins.volumes.npy import NpyLoader

ARRAY = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
READER = NpyLoader(NpyConfig())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    np.save(tmp_path / "scan.npy", ARRAY)
    return tmp_path / "scan.npy"


def sidecar(path: Path, **content: object) -> None:
    path.with_suffix(".json").write_text(json.dumps(content))


def test_array_without_spacing_is_refused_with_the_remedy(path: Path) -> None:
    with pytest.raises(UnreadableVolume, match=r"put scan.json with .*spacing_mm"):
        READER.load(path)


def test_spacing_from_the_settings(path: Path) -> None:
    volume = NpyLoader(NpyConfig(spacing_mm=(0.7, 0.8, 1.5))).load(path)
    assert volume.spacing_mm == pytest.approx((1.5, 0.8, 0.7))
    np.testing.assert_array_equal(volume.array, ARRAY)


@pytest.mark.parametrize("spacing", [[0.7, 0.8, 1.5], {"x": 0.7, "y": 0.8, "z": 1.5}])
def test_spacing_from_the_sidecar(path: Path, spacing: object) -> None:
    sidecar(path, spacing_mm=spacing)
    volume = READER.load(path)
    assert volume.spacing_mm == pytest.approx((1.5, 0.8, 0.7))
    assert volume.orientation == "LPS"


def test_axes_of_the_papers_store(path: Path) -> None:
    sidecar(path, axes="zxy", spacing_mm=[1, 1, 1], positions_mm=[0, 7])
    volume = READER.load(path)
    np.testing.assert_array_equal(volume.array, ARRAY.swapaxes(1, 2))
    assert volume.slice_positions_mm.tolist() == [0, 7]
    forced = NpyLoader(NpyConfig(axes="zyx")).load(path)
    np.testing.assert_array_equal(forced.array, ARRAY)


def test_affine_of_the_sidecar_is_kept_exactly(path: Path) -> None:
    affine = np.diag([-0.7, 0.8, 1.1, 1.0]).tolist()
    sidecar(path, affine=affine)
    assert READER.load(path).affine.tolist() == affine


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"spacing_mm": [1, 2]}', "geometry cannot be read"),
        ('{"spacing_mm": "wide"}', "geometry cannot be read"),
        ('{"affine": [[1]]}', "geometry cannot be read"),
        ('{"axes": "xyz"}', "axes are 'xyz'"),
        ("[1]", "not a JSON object"),
        ("{", "not readable JSON"),
        ('{"spacing_mm": [1, 1, 1], "positions_mm": [0]}', "1 positions for 2 slices"),
        ('{"spacing_mm": [1, 1, 1], "positions_mm": [0, NaN]}', "do not rise or fall"),
        ('{"spacing_mm": [1, 1, 1], "positions_mm": [1, 1]}', "do not rise or fall"),
        ('{"spacing_mm": [1, 1, 1], "positions_mm": "x"}', "positions cannot be read"),
        ('{"spacing_mm": [1, 1, 1%s]}' % ("0" * 400), "geometry cannot be read"),
        ('{"spacing_mm": [1, 1, 1], "unit_hu": -3}', "unit_hu is -3"),
        ('{"spacing_mm": [1, 1, 1], "intensity": "grey"}', "intensity is 'grey'"),
        ('{"spacing_mm": [1, 1, 1], "plane_crc32": [1]}', "1 checksums for 2 planes"),
        ('{"spacing_mm": [1, 1, 1], "plane_crc32": "no"}', "not a list of whole numbers"),
        ('{"affine": [[1,0,0,0],[0,1,0,0],[0,0,1,0],[1,0,0,1]]}', "last row"),
        ("[" * 100000, "not readable JSON"),
    ],
)
def test_bad_sidecar_is_named(path: Path, content: str, words: str) -> None:
    path.with_suffix(".json").write_text(content)
    with pytest.raises(UnreadableVolume, match=words):
        READER.load(path)


def test_pickled_objects_are_never_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "scan.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableVolume, match="not a plain NumPy array") as caught:
        READER.load(tmp_path / "scan.npy")
    assert "unsafe" not in str(caught.value)
    assert "allow_pickle" not in str(caught.value)


def test_wrong_rank_and_nan_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "flat.npy", np.ones((3, 3)))
    with pytest.raises(UnreadableVolume, match="three axes"):
        READER.load(tmp_path / "flat.npy")
    np.save(tmp_path / "nan.npy", np.full((2, 2, 2), np.nan))
    sidecar(tmp_path / "nan.npy", spacing_mm=[1, 1, 1])
    with pytest.raises(UnreadableVolume, match="8 of 8 voxels"):
        READER.load(tmp_path / "nan.npy")
    filled = NpyLoader(NpyConfig(nonfinite=-1024)).load(tmp_path / "nan.npy")
    assert (filled.array == -1024).all()
    assert "8 voxels that were not finite set to -1024" in filled.provenance[-1].text


@settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_every_way_to_store_gives_the_same_slices(tmp_path: Path, data: st.DataObject) -> None:
    dtype = data.draw(st.sampled_from(["?", "i1", "u1", "<i2", ">i2", "u2", "i4", "u8", "f2"]))
    shape = data.draw(st.tuples(*[st.integers(1, 6)] * 3))
    values = np.random.default_rng(data.draw(st.integers(0, 99))).integers(0, 2, shape)
    axes = data.draw(st.sampled_from(["zyx", "zxy"]))
    on_disk = values.swapaxes(1, 2) if axes == "zxy" else values
    on_disk = np.asarray(on_disk, dtype, order=data.draw(st.sampled_from(["C", "F"])))
    path = tmp_path / data.draw(st.sampled_from(["scan.npy", "scan.npz", "packed.npz"]))
    {"scan.npy": np.save, "scan.npz": np.savez, "packed.npz": np.savez_compressed}[path.name](
        path, on_disk
    )
    checksums = [zlib.crc32(np.ascontiguousarray(plane).tobytes()) for plane in on_disk]
    sidecar(path, axes=axes, spacing_mm=[1, 2, 3], plane_crc32=checksums)

    volume = READER.load(path)
    np.testing.assert_array_equal(volume.array, values)
    assert volume.array.dtype == (np.float32 if dtype == "f2" else np.int16)
    some = data.draw(st.sets(st.integers(0, shape[0] - 1)))
    planes = dict(READER.stream(path).read(sorted(some)))
    assert sorted(planes) == sorted(some)
    for number, plane in planes.items():
        np.testing.assert_array_equal(plane, values[number])


def test_interleaved_planes_need_several_passes_of_bounded_memory(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ctfw_plugins.volumes.planes._BLOCK", 2 * 3 * 4)  # bytes: one plane
    np.save(path, np.asfortranarray(ARRAY))
    sidecar(path, spacing_mm=[1, 1, 1])
    slices = READER.stream(path)
    assert not slices.random
    np.testing.assert_array_equal(slices.collect().array, ARRAY)


def test_ten_slices_cost_ten_slices(tmp_path: Path) -> None:
    path = tmp_path / "scan.npy"
    np.save(path, np.zeros((200, 100, 100), np.int16))
    sidecar(path, spacing_mm=[1, 1, 1])
    tracemalloc.start()
    try:
        for _ in READER.stream(path).read(range(0, 200, 20)):
            pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 20 * 100 * 100 * 2


def test_changed_plane_is_noticed_where_it_is_read(path: Path) -> None:
    sidecar(path, spacing_mm=[1, 1, 1], plane_crc32=[zlib.crc32(p.tobytes()) for p in ARRAY])
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    slices = READER.stream(path)
    np.testing.assert_array_equal(dict(slices.read([0]))[0], ARRAY[0])
    with pytest.raises(UnreadableVolume, match="plane 1 does not have the checksum"):
        slices.collect()


def test_trailing_bytes_are_noted_and_lacking_ones_refused(path: Path) -> None:
    sidecar(path, spacing_mm=[1, 1, 1])
    good = path.read_bytes()
    path.write_bytes(good + b"garbage")
    volume = READER.load(path)
    np.testing.assert_array_equal(volume.array, ARRAY)
    assert volume.provenance[-1].text == "7 bytes after the last voxel were ignored"
    for keep in (*range(0, len(good), 7), len(good) - 1):
        path.write_bytes(good[:keep])
        with pytest.raises(UnreadableVolume):
            READER.load(path)


def header_of(shape: Any, descr: Any = "<i2", fortran: bool = False) -> bytes:
    text = repr({"descr": descr, "fortran_order": fortran, "shape": shape}).encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("shape", "descr", "words"),
    [
        ((4000, 4000, 4000), "<i2", "was cut short"),
        ((5000, 1, 1), "<i2", "not that of a volume"),
        ((2, 0, 3), "<i2", "not that of a volume"),
        ((2, -3, 4), "<i2", "not that of a volume"),
        ((2, 3), "<i2", "three axes"),
        ((), "<i2", "three axes"),
        ((2, 3, 4), "<c8", "not numbers"),
        ((2, 3, 4), "<U5", "not numbers"),
        ((2, 3, 4), "<M8[s]", "not numbers"),
        ((2, 3, 4), "|V8", "not numbers"),
        ((2, 3, 4), [("a", "<i2")], "not numbers"),
        ((2, 3, 4), "|O", "pickled Python objects"),
        ((2, 3, "4"), "<i2", "header cannot be read"),
        ((2, 3, 4), "<i99", "header cannot be read"),
        ("__import__('os')", "<i2", "header cannot be read"),
    ],
)
def test_header_of_no_volume_is_refused_before_memory_is_taken(
    tmp_path: Path, shape: Any, descr: Any, words: str
) -> None:
    path = tmp_path / "scan.npy"
    path.write_bytes(header_of(shape, descr) + bytes(100))
    sidecar(path, spacing_mm=[1, 1, 1])
    with pytest.raises(UnreadableVolume, match=words):
        READER.load(path)


def test_archive_with_several_arrays_asks_which(tmp_path: Path) -> None:
    path = tmp_path / "scan.npz"
    np.savez(path, scan=ARRAY, mask=ARRAY * 0, label=np.zeros(18))
    sidecar(path, spacing_mm=[1, 1, 1])
    with pytest.raises(UnreadableVolume) as caught:
        READER.load(path)
    for words in ("2 arrays", "`key`", "'scan' (int16 2 x 3 x 4)", "'label' (float64 18)"):
        assert words in str(caught.value)
    chosen = NpyLoader(NpyConfig(key="scan")).load(path)
    np.testing.assert_array_equal(chosen.array, ARRAY)
    with pytest.raises(UnreadableVolume, match=r"no array 'x'.*'scan'"):
        NpyLoader(NpyConfig(key="x")).load(path)


@pytest.mark.parametrize("key", ["arr_0", "arr"])
def test_the_only_volume_of_an_archive_needs_no_key(tmp_path: Path, key: str) -> None:
    path = tmp_path / "scan.npz"
    np.savez(path, **{key: ARRAY, "note": np.zeros(3)})
    sidecar(path, spacing_mm=[1, 1, 1])
    np.testing.assert_array_equal(READER.load(path).array, ARRAY)


def test_damage_in_an_archive_is_noticed(tmp_path: Path, chest: np.ndarray) -> None:
    path = tmp_path / "scan.npz"
    np.savez_compressed(path, chest)
    sidecar(path, spacing_mm=[1, 1, 1])
    good = path.read_bytes()
    for seed in range(24):
        rng = np.random.default_rng(seed)
        bad = bytearray(good)
        bad[int(rng.integers(60, len(bad) - 120))] ^= 1 << int(rng.integers(8))
        path.write_bytes(bad)
        with pytest.raises(UnreadableVolume):
            READER.load(path)


def test_pickled_and_encrypted_members_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan.npz"
    np.savez(path, np.array([[[{"a": 1}]]], dtype=object))
    with pytest.raises(UnreadableVolume, match="never loaded"):
        READER.load(path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_LZMA) as archive:
        archive.writestr("scan.npy", header_of((2, 3, 4)) + ARRAY.tobytes())
    with pytest.raises(UnreadableVolume, match="unusual way"):
        READER.load(path)


def test_directory_that_lies_about_sizes_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "scan.npz"
    np.savez(path, ARRAY)
    sidecar(path, spacing_mm=[1, 1, 1])
    content = bytearray(path.read_bytes())
    entry = content.rindex(b"PK\x01\x02")
    content[entry + 24 : entry + 28] = (1 << 31).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.raises(UnreadableVolume, match="more than the archive can"):
        READER.load(path)


def scaled_like_ct_clip(tmp_path: Path, chest: np.ndarray, **more: object) -> Volume:
    """(z, x, y) float32 of HU / 1000 clipped to -1 .. 1 under `arr_0`."""
    path = tmp_path / "scan.npz"
    scaled = np.clip(chest, -1000, 1000).astype(np.float32) / 1000
    np.savez(path, scaled.swapaxes(1, 2))
    sidecar(path, axes="zxy", spacing_mm=[0.75, 0.75, 1.5], **more)
    return READER.load(path)


def test_scaled_archive_becomes_hu_only_when_told(tmp_path: Path, chest: np.ndarray) -> None:
    step = RescaleHu(RescaleHuConfig())
    with pytest.raises(NotCT, match="scaled"):
        step(scaled_like_ct_clip(tmp_path, chest))
    told = scaled_like_ct_clip(tmp_path, chest, unit_hu=1000, intensity="normalised")
    assert told.intensity == "unknown"
    volume = step(told, Case("c", "p", tmp_path, ""))
    np.testing.assert_allclose(volume.array, np.clip(chest, -1000, 1000), atol=1e-3)
    assert any("multiplied by 1000 HU" in d.text for d in volume.provenance)
    with pytest.raises(NotCT, match="normalised"):
        step(scaled_like_ct_clip(tmp_path, chest, intensity="normalised"))


def test_name_too_long_for_a_sidecar_is_read_by_the_settings(tmp_path: Path) -> None:
    path = tmp_path / ("s" * 251 + ".npy")
    np.save(path, ARRAY)
    volume = NpyLoader(NpyConfig(spacing_mm=(1, 1, 1))).load(path)
    np.testing.assert_array_equal(volume.array, ARRAY)


def test_reading_warns_of_nothing(path: Path) -> None:
    sidecar(path, spacing_mm=[1, 1, 1])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        READER.load(path)


@pytest.mark.parametrize(
    "told", ['"155"', "[1.5, 1.5, 1.5, 9]", "[1.5, 1.5]", "1.5", '{"x": 1}', "[true, 1, 1]"]
)
def test_spacing_that_is_not_three_numbers_is_refused_in_words(tmp_path: Path, told: str) -> None:
    path = tmp_path / "scan.npy"
    np.save(path, np.zeros((2, 3, 4), np.int16))
    path.with_suffix(".json").write_text(f'{{"spacing_mm": {told}}}')
    with pytest.raises(UnreadableVolume, match="not three numbers"):
        NpyLoader(NpyConfig()).load(path)
