"""The ways to keep one preprocessed volume that `storage.py` measures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import nibabel as nib
import numpy as np

from ctfw.types import Volume
from ctfw_plugins.preprocess.configs import (
    PreprocessedBlosc2Config,
    PreprocessedConfig,
    PreprocessedNumpyConfig,
)
from ctfw_plugins.preprocess.preprocessed import Preprocessed
from ctfw_plugins.preprocess.preprocessed_blosc2 import PreprocessedBlosc2
from ctfw_plugins.preprocess.preprocessed_numpy import PreprocessedNumpy

Values = Literal["windowed", "HU"]
Planes = Iterator[tuple[int, np.ndarray]]


@dataclass(frozen=True)
class Format:
    """One row.

    values  what is stored: HU, or HU clamped to +-1000 and divided by 1000
    write   (volume, folder): leaves its files in the empty folder
    read    (folder, ascending slice numbers) -> (number, (y, x) float32) of each
    """

    name: str
    values: Values
    write: Callable[[Volume, Path], Any]
    read: Callable[[Path, Sequence[int]], Planes]


def of_store(name: str, values: Values, build: Callable[[Path], Any]) -> Format:
    """One of ctfw's stores, as the pipeline uses it."""

    def read(folder: Path, numbers: Sequence[int]) -> Planes:
        for number, plane in build(folder).open("volume").read(numbers):
            yield number, plane.astype(np.float32, copy=False)

    return Format(name, values, lambda v, folder: build(folder).keep("volume", v), read)


def memmap(dtype: str) -> Format:
    """np.save, and np.load with mmap_mode."""

    def write(volume: Volume, folder: Path) -> None:
        np.save(folder / "volume.npy", volume.array.astype(dtype, copy=False))

    def read(folder: Path, numbers: Sequence[int]) -> Planes:
        array = np.load(folder / "volume.npy", mmap_mode="r")
        for number in numbers:
            yield number, np.array(array[number], np.float32)

    return Format(f".npy {dtype}, NumPy memmap", "windowed", write, read)


def npz() -> Format:
    """np.savez_compressed: one zip member, read whole."""

    def write(volume: Volume, folder: Path) -> None:
        np.savez_compressed(folder / "volume.npz", volume.array)

    def read(folder: Path, numbers: Sequence[int]) -> Planes:
        with np.load(folder / "volume.npz") as file:
            array = file["arr_0"]
        for number in numbers:
            yield number, array[number]

    return Format(".npz float32, NumPy compressed", "windowed", write, read)


def nibabel() -> Format:
    """nibabel with its defaults. Asked for single slices it would start at the beginning for each
    of them, so it reads the whole."""

    def write(volume: Volume, folder: Path) -> None:
        whole = np.rint(volume.array).astype(np.int16)
        nib.save(nib.Nifti1Image(whole.T, volume.affine), folder / "volume.nii.gz")

    def read(folder: Path, numbers: Sequence[int]) -> Planes:
        array = np.asanyarray(nib.load(folder / "volume.nii.gz").dataobj).T
        for number in numbers:
            yield number, array[number].astype(np.float32)

    return Format(".nii.gz int16, nibabel", "HU", write, read)


def _numpy(dtype: Any) -> Format:
    return of_store(
        f"`preprocessed-numpy`, {dtype}",
        "windowed",
        lambda folder: PreprocessedNumpy(PreprocessedNumpyConfig(folder=folder, dtype=dtype)),
    )


def _nifti(name: str, values: Values, **settings: Any) -> Format:
    return of_store(
        f"`preprocessed`, {name}",
        values,
        lambda folder: Preprocessed(PreprocessedConfig(folder=folder, **settings)),
    )


def blosc2(dtype: str, codec: str, **settings: Any) -> Format:
    """`preprocessed-blosc2`: int16 from HU, float16 from windowed values."""
    chosen = {"dtype": dtype, "codec": codec, **settings}
    told = ", ".join([dtype, codec, *(f"{name} {value}" for name, value in settings.items())])
    return of_store(
        f"`preprocessed-blosc2`, {told}",
        "HU" if dtype == "int16" else "windowed",
        lambda folder: PreprocessedBlosc2(PreprocessedBlosc2Config(folder=folder, **chosen)),
    )


FORMATS = (
    _numpy("float32"),
    _numpy("float16"),
    memmap("float32"),
    memmap("float16"),
    blosc2("float16", "zstd"),
    blosc2("float16", "lz4"),
    blosc2("int16", "zstd"),
    blosc2("int16", "lz4"),
    _nifti("float32", "HU"),
    _nifti("int16", "HU", dtype="int16"),
    _nifti("int16, compress false", "HU", dtype="int16", compress=False),
    nibabel(),
    npz(),
)
PACKINGS = tuple(
    blosc2(dtype, codec, level=level, filter=filter)
    for dtype in ("float16", "int16")
    for codec, level, filter in (
        ("zstd", 1, "bytedelta"),
        ("zstd", 1, "shuffle"),
        ("zstd", 1, "bitshuffle"),
        ("zstd", 5, "bytedelta"),
        ("lz4", 1, "bytedelta"),
        ("lz4", 1, "shuffle"),
        ("lz4", 9, "shuffle"),
    )
)
