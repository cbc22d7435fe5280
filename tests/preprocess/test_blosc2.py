"""The packed store: slices are read alone, bytes depend on voxels alone, damage goes nowhere."""

from __future__ import annotations

import json
import subprocess
import sys
import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import blosc2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ctfw.component import Block, Component
from ctfw.errors import UserError
from ctfw.types import Volume
from ctfw.volumes.geometry import lps_affine
from ctfw.volumes.pipeline import VolumePipeline, spec_of
from ctfw.volumes.stream import Planes, SliceStream
from ctfw_plugins.preprocess.configs import (
    HuWindowConfig,
    PreprocessedBlosc2Config,
    ResampleConfig,
    RescaleHuConfig,
)
from ctfw_plugins.preprocess.hu_window import HuWindow
from ctfw_plugins.preprocess.preprocessed_blosc2 import PreprocessedBlosc2
from ctfw_plugins.preprocess.resample import Resample
from ctfw_plugins.preprocess.rescale_hu import RescaleHu
from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.dicom import DicomLoader

ROOT = Path(__file__).resolve().parents[2]
CODECS, FILTERS = ("zstd", "lz4"), ("bytedelta", "shuffle", "bitshuffle")


def store_in(folder: Path, **changes: Any) -> PreprocessedBlosc2:
    return PreprocessedBlosc2(PreprocessedBlosc2Config(folder=folder, **changes))


def from_the_head(volume: Volume) -> SliceStream:
    """The slices of a source that gives the highest first."""

    def read(numbers: Sequence[int]) -> Planes:
        for number in sorted(numbers, reverse=True):
            yield number, volume.array[number].copy()

    return SliceStream.of(volume).but(read=read, random=False, descending=True)


@settings(max_examples=80, deadline=None)
@given(
    array=arrays.arrays(
        np.float32,
        arrays.array_shapes(min_dims=3, max_dims=3, max_side=9),
        elements=st.floats(-40000, 40000, width=32),
        fill=st.floats(-1000, 1000, width=32),
    ),
    dtype=st.sampled_from(["float16", "int16"]),
    codec=st.sampled_from(CODECS),
    filter=st.sampled_from(FILTERS),
    level=st.integers(1, 9),
    descending=st.booleans(),
)
def test_every_setting_gives_back_the_rounded_voxels(
    tmp_path_factory: pytest.TempPathFactory,
    array: np.ndarray,
    dtype: str,
    codec: str,
    filter: str,
    level: int,
    descending: bool,
) -> None:
    folder = tmp_path_factory.mktemp("s")
    store = store_in(folder, dtype=dtype, codec=codec, filter=filter, level=level)
    volume = Volume(array, lps_affine((1, 1, 2)), intensity="hu")
    source = from_the_head(volume) if descending else SliceStream.of(volume)
    store.through("k", source).drain()
    if dtype == "int16":
        expected = np.rint(np.clip(array, -32768, 32767)).astype(np.int16)
    else:
        expected = array.astype(np.float16).astype(np.float32)
    found = store.find("k")
    assert found is not None
    assert found.array.dtype == expected.dtype
    np.testing.assert_array_equal(found.array, expected)


@pytest.mark.parametrize("codec", CODECS)
def test_bytes_depend_on_the_voxels_alone(tmp_path: Path, chest: Volume, codec: str) -> None:
    upwards = store_in(tmp_path / "a", codec=codec)
    upwards.keep("one-key", chest)
    downwards = store_in(tmp_path / "elsewhere", codec=codec)
    downwards.through("another", from_the_head(chest)).drain()
    for ending in ("blosc2", "json"):
        first = (tmp_path / "a" / f"one-key.{ending}").read_bytes()
        assert first == (tmp_path / "elsewhere" / f"another.{ending}").read_bytes()


def test_other_slices_are_not_read(tmp_path: Path, chest: Volume) -> None:
    store = store_in(tmp_path, dtype="int16")
    store.keep("k", chest)
    lengths = json.loads((tmp_path / "k.json").read_text())["chunk_bytes"]
    wanted = [2, 3, 17, 29]
    content = bytearray((tmp_path / "k.blosc2").read_bytes())
    for number, length in enumerate(lengths):
        if number not in wanted:
            start = sum(lengths[:number])
            content[start : start + length] = bytes(length)
    (tmp_path / "k.blosc2").write_bytes(content)
    slices = store.open("k")
    assert slices is not None
    assert slices.random
    found = dict(slices.read(wanted))
    assert list(found) == wanted
    for number, plane in found.items():
        np.testing.assert_array_equal(plane, chest.array[number])


def test_code_of_the_page_reads_a_slice_without_ctfw(tmp_path: Path, chest: Volume) -> None:
    page = (ROOT / "docs" / "how-to" / "choose_a_store.md").read_text(encoding="utf-8")
    code = page.partition("```python\n")[2].partition("```")[0]
    assert "ctfw" not in code
    names: dict[str, Any] = {}
    exec(code, names)
    store_in(tmp_path, dtype="int16").keep("k", chest)
    for number in (0, 11, 29):
        plane = names["read_slice"](tmp_path / "k.blosc2", number)
        np.testing.assert_array_equal(plane, chest.array[number])
    side = json.loads((tmp_path / "k.json").read_text())
    assert (side["axes"], side["spacing_mm"]) == ("zyx", {"x": 5.0, "y": 5.0, "z": 8.0})


def test_damaged_bytes_never_reach_blosc2(
    tmp_path: Path, chest: Volume, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_in(tmp_path)
    store.keep("k", chest)
    data, side = tmp_path / "k.blosc2", tmp_path / "k.json"
    good, told = data.read_bytes(), side.read_bytes()
    unpack, calls = blosc2.decompress2, []

    def watched(chunk: bytes, plane: np.ndarray, **options: Any) -> None:
        calls.append(chunk)
        unpack(chunk, plane, **options)

    monkeypatch.setattr(blosc2, "decompress2", watched)
    rng = np.random.default_rng(0)
    first = json.loads(told)["chunk_bytes"][0]
    for place in [*range(40), *rng.integers(0, len(good), 40)]:
        damaged = bytearray(good)
        damaged[place] ^= 1 << int(rng.integers(8))
        data.write_bytes(damaged)
        side.write_bytes(told)
        calls.clear()
        assert store.find("k") is None
        assert all(chunk in good for chunk in calls)
        assert place >= first or not calls
        assert not side.exists(), "the entry would be found again"


@pytest.mark.parametrize(
    "change",
    [
        {"shape_zyx": [30, 60, 32]},
        {"shape_zyx": [30, 6000, 64]},
        {"shape_zyx": [30, -60, 64]},
        {"shape_zyx": [29, 60, 64]},
        {"chunk_bytes": [1] * 30},
        {"chunk_bytes": [10**9] * 30},
        {"chunk_crc32": [0] * 30},
        {"chunk_crc32": []},
        {"dtype": "int16"},
    ],
    ids=str,
)
def test_sidecar_that_says_something_else_is_not_believed(
    tmp_path: Path, chest: Volume, change: dict[str, Any]
) -> None:
    store = store_in(tmp_path)
    store.keep("k", chest)
    side = tmp_path / "k.json"
    side.write_text(json.dumps(json.loads(side.read_text()) | change))
    assert store.find("k") is None


def test_damaged_entry_is_made_anew_in_the_same_run(tmp_path: Path, chest: Volume) -> None:
    store = store_in(tmp_path / "s", dtype="int16")
    steps = [store, HuWindow(HuWindowConfig())]
    source = tmp_path / "scan"
    source.write_text("stands for a scan")
    opened: list[Path] = []

    def read(path: Path) -> SliceStream:
        opened.append(path)
        return SliceStream.of(chest)

    pipeline = VolumePipeline(read, steps, ["store", "window"])
    made, found = pipeline(source), pipeline(source)
    np.testing.assert_array_equal(made.array, found.array)
    assert len(opened) == 1
    data = next((tmp_path / "s").glob("*.blosc2"))
    good = data.read_bytes()
    data.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
    np.testing.assert_array_equal(pipeline(source).array, made.array)
    assert len(opened) == 2
    assert data.read_bytes() == good


def test_how_it_is_packed_changes_no_identity(tmp_path: Path, chest: Volume) -> None:
    component = Component(
        "preprocessed-blosc2", "a.b:C", PreprocessedBlosc2Config, "", provider="ctfw"
    )

    def spec(**changes: Any) -> str:
        return spec_of(Block(component, PreprocessedBlosc2Config(**changes)))

    assert spec() == spec(codec="lz4", level=9, filter="shuffle", folder=tmp_path)
    assert spec() != spec(dtype="int16")
    written = store_in(tmp_path, codec="lz4", filter="bitshuffle")
    written.keep("k", chest)
    found = store_in(tmp_path).find("k")
    assert found is not None
    np.testing.assert_array_equal(found.array, written(chest).array)


def test_whole_hu_err_half_a_hu_at_most_and_stand_before_the_window(
    tmp_path: Path, chest: Volume
) -> None:
    store = store_in(tmp_path, dtype="int16")
    fractions = chest.but(array=chest.array + np.float32(0.37))
    assert np.abs(store(fractions).array - fractions.array).max() <= 0.5
    with pytest.raises(UserError, match=r"preprocessed-blosc2 with dtype int16 .*before hu-window"):
        store.through("k", SliceStream.of(HuWindow(HuWindowConfig())(chest)))


def test_packed_entry_takes_less_than_two_thirds_even_of_white_noise(
    tmp_path: Path, chest: Volume
) -> None:
    for codec in CODECS:
        store = store_in(tmp_path / codec, dtype="int16", codec=codec)
        store.keep("k", chest)
        assert (tmp_path / codec / "k.blosc2").stat().st_size < chest.array.nbytes * 2 / 3


def test_memory_does_not_grow_with_the_number_of_slices(tmp_path: Path) -> None:
    plane = np.random.default_rng(0).normal(0, 1, (128, 128)).astype(np.float32)

    def peak(depth: int) -> int:
        slices = SliceStream(
            (depth, 128, 128), lps_affine((1, 1, 1)), lambda some: ((n, plane) for n in some)
        )
        tracemalloc.start()
        store_in(tmp_path).through(str(depth), slices).drain()
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(8)  # what is cached on first use
    packed = (tmp_path / "8.blosc2").stat().st_size / 8
    assert peak(160) - peak(40) < 0.1 * 120 * packed


def test_declaring_it_imports_no_blosc2() -> None:
    code = (
        "import sys, ctfw_plugins; list(ctfw_plugins.ctfw_preprocessors()); "
        "print('blosc2' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.realdata
def test_real_slices_pack_to_half_and_whole_hu_to_two_fifths(
    tmp_path: Path, real_data: Path
) -> None:
    loader = DicomLoader(DicomConfig())
    folders = sorted((real_data / "lidc_idri_subset").glob("LIDC-*"))
    assert len(folders) == 3
    for folder in folders:
        hu = RescaleHu(RescaleHuConfig())(loader.load(folder))
        hu = Resample(ResampleConfig())(hu)
        whole, fractions = store_in(tmp_path, dtype="int16"), store_in(tmp_path / "f")
        whole.keep(folder.name, hu)
        fractions.keep(folder.name, HuWindow(HuWindowConfig())(hu))
        plain = 2 * hu.array.size
        assert whole.size(folder.name) < 0.4 * plain
        assert fractions.size(folder.name) < 0.55 * plain
