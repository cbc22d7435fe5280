"""Slices that pass one by one give what the whole volume gives, and cost what they should."""

from __future__ import annotations

import tracemalloc
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw.contracts import StreamingLoader, StreamingPreprocessor, StreamingStore
from ctfw.errors import UnreadableVolume
from ctfw.types import Case, Volume
from ctfw.volumes.geometry import canonical, lps_affine
from ctfw.volumes.open import open_slices
from ctfw.volumes.pipeline import VolumePipeline
from ctfw.volumes.stream import Planes, SliceStream, StartAgain
from ctfw_plugins.preprocess import configs
from ctfw_plugins.preprocess.crop_pad import CropPad
from ctfw_plugins.preprocess.half import to_float16, to_float32
from ctfw_plugins.preprocess.hu_window import HuWindow
from ctfw_plugins.preprocess.orient import Orient
from ctfw_plugins.preprocess.preprocessed import Preprocessed
from ctfw_plugins.preprocess.preprocessed_numpy import PreprocessedNumpy
from ctfw_plugins.preprocess.resample import Resample
from ctfw_plugins.preprocess.rescale_hu import RescaleHu
from ctfw_plugins.preprocess.slices import Slices
from ctfw_plugins.volumes.configs import NiftiConfig
from ctfw_plugins.volumes.nifti import NiftiLoader

HU = configs.RescaleHuConfig(intensity="hu")
RAW = configs.RescaleHuConfig(intensity="raw", slope=1, intercept=-1024)


def chains(folder: Path) -> dict[str, list[Any]]:
    """Every streaming step and store, each where it can stand."""
    rescale, window = RescaleHu(HU), HuWindow(configs.HuWindowConfig())
    shrink = Resample(configs.ResampleConfig(spacing_mm=(1.3, 1.1, 2.7), antialias="auto"))
    grow = Resample(configs.ResampleConfig(spacing_mm=(0.8, 0.7, 0.9), grid="ctclip"))
    numpy_store = PreprocessedNumpy(configs.PreprocessedNumpyConfig(folder=folder / "npy"))
    packed = Preprocessed(configs.PreprocessedConfig(folder=folder / "gz", dtype="int16"))
    plain = Preprocessed(configs.PreprocessedConfig(folder=folder / "nii", compress=False))
    return {
        "shrink": [rescale, shrink, window],
        "grow": [RescaleHu(RAW), window, grow],
        "cut": [rescale, CropPad(configs.CropPadConfig(size=(9, 14, 8))), Orient(_CTCLIP)],
        "some": [rescale, shrink, window, Slices(configs.SlicesConfig(count=3))],
        "thick": [rescale, Slices(configs.SlicesConfig(count=3, thick_mm=5)), window],
        "stores": [rescale, packed, grow, plain, window, numpy_store],
    }


_CTCLIP = configs.OrientConfig(layout="ctclip")
NAMES = ("shrink", "grow", "cut", "some", "thick", "stores")


def volume_of(seed: int, shape: tuple[int, ...]) -> Volume:
    array = np.random.default_rng(seed).integers(-1100, 1500, shape).astype(np.int16)
    return Volume(array, lps_affine((1, 1, 2)))


def source_of(volume: Volume, descending: bool) -> SliceStream:
    """A source that cannot jump, in either order, and tells whether it was read to its end."""

    def read(numbers: Sequence[int]) -> Planes:
        for number in sorted(numbers, reverse=descending):
            yield number, volume.array[number].copy()
        read.ended += 1  # type: ignore[attr-defined]

    read.ended = 0  # type: ignore[attr-defined]
    return SliceStream.of(volume).but(read=read, random=False, descending=descending)


def flow(slices: SliceStream, steps: Sequence[Any]) -> SliceStream:
    for index, step in enumerate(steps):
        if isinstance(step, StreamingStore):
            slices = step.through(f"key-{index}", slices)
        else:
            assert isinstance(step, StreamingPreprocessor)
            slices = step.stream(slices)
    return slices


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(NAMES),
    shape=st.tuples(st.integers(9, 14), st.integers(5, 17), st.integers(5, 17)),
    descending=st.booleans(),
    data=st.data(),
)
def test_one_by_one_equals_the_whole(
    tmp_path_factory: pytest.TempPathFactory,
    name: str,
    shape: tuple[int, ...],
    descending: bool,
    data: st.DataObject,
) -> None:
    steps = chains(tmp_path_factory.mktemp("s"))[name]
    volume = volume_of(sum(shape), shape)
    whole = volume
    for step in steps:
        whole = step(whole)
    source = source_of(volume, descending)
    made = flow(source, steps)
    collected = made.collect()
    np.testing.assert_array_equal(collected.array, whole.array)
    np.testing.assert_array_equal(collected.affine, whole.affine)
    assert collected.intensity == whole.intensity
    assert [d.text for d in collected.provenance] == [d.text for d in whole.provenance]
    assert source.read.ended >= 1  # type: ignore[attr-defined]

    some = data.draw(st.sets(st.integers(0, made.shape[0] - 1), min_size=1).map(sorted))
    ended = source.read.ended  # type: ignore[attr-defined]
    for number, plane in made.read(some):
        np.testing.assert_array_equal(plane, whole.array[number])
    assert source.read.ended > ended  # type: ignore[attr-defined]


def test_built_in_parts_stream() -> None:
    assert isinstance(NiftiLoader(NiftiConfig()), StreamingLoader)
    for store in (Preprocessed, PreprocessedNumpy):
        assert issubclass(store, StreamingStore)


@pytest.mark.parametrize("spacing", [(0.7, 0.7, 1.0), (0.9, 0.6, 5.0), (0.35, 0.35, 0.8)])
def test_float32_is_within_2e6_of_torch_in_float64(spacing: tuple[float, ...]) -> None:
    volume = volume_of(3, (25, 60, 64)).but(affine=lps_affine(spacing), intensity="hu")
    steps = [Resample(configs.ResampleConfig(grid="ctclip")), HuWindow(configs.HuWindowConfig())]
    made = flow(SliceStream.of(volume), steps).collect().array
    target = (1.5, 0.75, 0.75)
    size = [
        int(n * s / t + 1e-6)
        for n, s, t in zip(volume.array.shape, spacing[::-1], target, strict=True)
    ]
    tensor = torch.tensor(volume.array, dtype=torch.float64)[None, None]
    expected = torch.nn.functional.interpolate(tensor, size=size, mode="trilinear")
    np.testing.assert_allclose(made, expected[0, 0].clamp(-1000, 1000) / 1000, atol=2e-6, rtol=0)


def test_memory_does_not_grow_with_the_number_of_slices(tmp_path: Path) -> None:
    side = 128

    def peak(depth: int) -> int:
        array = volume_of(depth, (depth, side, side)).array
        path = tmp_path / f"{depth}.nii.gz"
        nib.save(nib.Nifti1Image(array.T, np.diag([-0.7, -0.7, 1.0, 1.0])), path)
        folder = tmp_path / f"store-{depth}"
        store = PreprocessedNumpy(configs.PreprocessedNumpyConfig(folder=folder, dtype="float32"))
        steps = [RescaleHu(HU), Resample(configs.ResampleConfig()), store]
        loaders = [("nifti", NiftiLoader(NiftiConfig()))]
        pipeline = VolumePipeline(lambda p: open_slices(p, loaders), steps, ["a", "b", "c"])
        del array
        tracemalloc.start()
        pipeline.prepare(path)
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert len(list(folder.glob("*.npy"))) == 1
        return found

    peak(20)  # what is imported or cached on first use
    added = (160 - 40) * side * side * 4
    assert peak(160) - peak(40) < 0.05 * added  # the sample for the HU check, at most 480 kB


def bytes_read() -> int:
    """What this process has read from files so far, page cache included."""
    counters = Path("/proc/self/io")
    if not counters.is_file():
        pytest.skip("needs Linux's counters of bytes that were read")
    facts = dict(line.split(": ") for line in counters.read_text().splitlines())
    return int(facts["rchar"])


def test_ten_slices_of_the_store_cost_ten_slices(tmp_path: Path) -> None:
    store = PreprocessedNumpy(configs.PreprocessedNumpyConfig(folder=tmp_path))
    store.keep("k", volume_of(0, (200, 64, 64)))
    plane = 64 * 64 * 2
    before = bytes_read()
    slices = store.open("k")
    assert slices is not None
    opened = bytes_read() - before
    step = Slices(configs.SlicesConfig(count=10))
    assert step.stream(slices).collect().array.shape == (10, 64, 64)
    assert bytes_read() - before - opened < 10 * plane + 4096
    assert opened < 50 * plane  # the sidecar, which has a checksum for each slice


def test_damage_behind_the_last_slice_that_is_used_is_noticed(
    tmp_path: Path, chest: Volume
) -> None:
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(chest.array.T, chest.affine), path)
    content = bytearray(path.read_bytes())
    content[-6] ^= 1  # the checksum
    path.write_bytes(content)
    steps = [RescaleHu(configs.RescaleHuConfig()), Slices(configs.SlicesConfig(count=3))]
    loaders = [("nifti", NiftiLoader(NiftiConfig()))]
    pipeline = VolumePipeline(lambda p: open_slices(p, loaders), steps, ["a", "b"])
    with pytest.raises(UnreadableVolume, match="damaged"):
        pipeline(path)


@pytest.fixture
def misleading(chest: Volume) -> Volume:
    """A chest in HU whose first slices look as if 1024 had been added."""
    array = np.concatenate([chest.array[6:20] + 1024, *[chest.array[6:20]] * 6])
    return chest.but(array=array.astype(np.int16), intensity="unknown")


def test_first_look_that_misled_is_taken_back(tmp_path: Path, misleading: Volume) -> None:
    rescale = RescaleHu(configs.RescaleHuConfig())
    with pytest.raises(StartAgain):
        rescale.stream(source_of(misleading, descending=False)).drain()
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(misleading.array.T, misleading.affine), path)
    loaders = [("nifti", NiftiLoader(NiftiConfig()))]
    store = PreprocessedNumpy(configs.PreprocessedNumpyConfig(folder=tmp_path / "s"))
    pipeline = VolumePipeline(
        lambda p: open_slices(p, loaders), [rescale, store], ["rescale", "store"]
    )
    made = pipeline(path)
    decision = next(d for d in made.provenance if d.step == "rescale-hu")
    assert decision.values["applied"] is False
    whole = rescale(misleading).array.astype(np.float16)
    np.testing.assert_array_equal(made.array, whole)
    assert not list((tmp_path / "s").glob("*.tmp"))


@pytest.mark.parametrize("hints", [{"intensity": "hu"}, {"folder_version": "fixed"}, {}])
def test_declared_state_needs_no_second_reading(chest: Volume, hints: dict[str, Any]) -> None:
    source = source_of(chest.but(intensity="unknown"), descending=False)
    rescale = RescaleHu(configs.RescaleHuConfig())
    rescale.stream(source, Case("c", "p", Path("c"), "", hints=hints)).drain()
    assert source.read.ended == (1 if hints else 2)  # type: ignore[attr-defined]


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.one_of(st.floats(-70000, 70000, width=32), st.floats(-0.25, 0.25, width=32)),
        min_size=1,
        max_size=50,
    )
)
def test_half_precision_equals_numpy(values: list[float]) -> None:
    array = np.array(values, np.float32)
    with np.errstate(over="ignore"):
        expected = array.astype(np.float16)
        made = to_float16(array)
    normal = (np.abs(array) >= 2.0**-14) | (array == 0)
    np.testing.assert_array_equal(made[normal], expected[normal])
    small = ~normal
    apart = np.abs(made[small].astype(float) - expected[small].astype(float))
    assert (apart <= 2.0**-24).all()


def test_half_precision_rounds_ties_and_their_neighbours_as_numpy() -> None:
    edges = np.arange(0x0400, 0x7C00, dtype=np.uint16).view(np.float16).astype(np.float32)
    middle = (edges[1:] + edges[:-1]) / 2
    up, down = np.nextafter(middle, np.float32(np.inf)), np.nextafter(middle, np.float32(0))
    near = np.concatenate([edges, middle, up, down])
    both = np.concatenate([near, -near])
    np.testing.assert_array_equal(to_float16(both), both.astype(np.float16))


def test_every_half_comes_back_exactly() -> None:
    every = np.arange(1 << 16, dtype=np.uint16).view(np.float16)
    for part in (every[:100], every[0x8000:0x8100], every):
        with np.errstate(invalid="ignore"):
            expected = part.astype(np.float32)
        np.testing.assert_array_equal(to_float32(part), expected)
    finite = every[np.isfinite(every)]
    made = to_float32(finite)
    np.testing.assert_array_equal(made.view(np.uint32), finite.astype(np.float32).view(np.uint32))


def test_volume_stored_upside_down_reaches_every_store(tmp_path: Path, chest: Volume) -> None:
    affine = chest.affine @ np.diag([1.0, 1, -1, 1])
    affine[:, 3] = chest.affine @ np.array([0, 0, len(chest.array) - 1, 1])
    path = tmp_path / "scan.nii.gz"
    nib.save(nib.Nifti1Image(chest.array[::-1].T, affine), path)
    slices = canonical(NiftiLoader(NiftiConfig()).stream(path))
    assert slices.descending
    for store in (
        Preprocessed(configs.PreprocessedConfig(folder=tmp_path / "a")),
        Preprocessed(configs.PreprocessedConfig(folder=tmp_path / "b", compress=False)),
        PreprocessedNumpy(configs.PreprocessedNumpyConfig(folder=tmp_path / "c", dtype="float32")),
    ):
        store.through("k", slices).drain()
        np.testing.assert_array_equal(store.find("k").array, chest.array)
