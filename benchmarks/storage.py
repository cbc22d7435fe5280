"""How much space one preprocessed volume takes in each format, and what writing and reading cost.

`python benchmarks/storage.py` prints the tables; `--write` keeps them.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from importlib.metadata import version
from pathlib import Path
from statistics import median

import numpy as np
from _page import machine
from _storage_formats import FORMATS, PACKINGS, Format
from _summary import markdown
from _volumes import INTERCEPT, SLOPE, TARGET_MM, made

from ctfw.paths import cache_dir
from ctfw.types import Case, Volume
from ctfw.volumes.open import open_slices
from ctfw.volumes.pipeline import VolumePipeline
from ctfw_plugins.preprocess import configs
from ctfw_plugins.preprocess.hu_window import HuWindow
from ctfw_plugins.preprocess.resample import Resample
from ctfw_plugins.preprocess.rescale_hu import RescaleHu
from ctfw_plugins.volumes.configs import DicomConfig, NiftiConfig
from ctfw_plugins.volumes.dicom import DicomLoader
from ctfw_plugins.volumes.nifti import NiftiLoader

RESULTS = Path(__file__).resolve().parent / "results" / "storage.md"
VOLUMES = 50_188  # CT-RATE: 47,149 for training and 3,039 for validation
PLANES, WRITES = 10, 5
HINTS = {"RescaleSlope": SLOPE, "RescaleIntercept": INTERCEPT, "folder_version": "v1"}
PACKAGES = ("numpy", "nibabel", "isal", "blosc2")
HEAD = (
    "format",
    "stored",
    "MB",
    f"TB for {VOLUMES:,}",
    "largest error, HU",
    "write, CPU s",
    f"{PLANES} planes cold, ms",
    f"{PLANES} planes warm, ms",
    "read all, CPU s",
)


@dataclass
class Result:
    """All measurements of one format."""

    megabytes: float = 0.0
    error_hu: float = 0.0
    write_s: list[float] = field(default_factory=list)
    cold_ms: list[float] = field(default_factory=list)
    warm_ms: list[float] = field(default_factory=list)
    read_s: list[float] = field(default_factory=list)


def sources(path: Path, hints: Mapping[str, object]) -> dict[str, Volume]:
    """A chest CT at 0.75 x 0.75 x 1.5 mm, in HU and windowed."""
    loaders = [("nifti", NiftiLoader(NiftiConfig())), ("dicom", DicomLoader(DicomConfig()))]
    steps = [
        RescaleHu(configs.RescaleHuConfig()),
        Resample(configs.ResampleConfig(spacing_mm=TARGET_MM, grid="ctclip")),
    ]
    case = Case("chest", "chest", path, "", hints=hints)
    hu = VolumePipeline(lambda p: open_slices(p, loaders), steps, ["hu", "grid"])(path, case)
    window = HuWindow(configs.HuWindowConfig())
    return {"HU": hu, "windowed": window(hu.but(array=hu.array.copy()))}


def measured(
    formats: Sequence[Format], volumes: dict[str, Volume], rounds: int, scratch: Path
) -> dict[str, Result]:
    """Every format once a round, in a random order; a machine's speed drifts between rounds."""
    results = {item.name: Result() for item in formats}
    rng = np.random.default_rng(0)
    depth = volumes["HU"].array.shape[0]
    for number in range(rounds):
        numbers = sorted(rng.choice(depth, min(PLANES, depth), replace=False).tolist())
        for place in rng.permutation(len(formats)):
            item = formats[place]
            folder = scratch / f"format-{place}"
            result, volume = results[item.name], volumes[item.values]
            if number < WRITES:
                _write_and_read(item, volume, folder, result)
            _some_planes(item, folder, numbers, result)
        print(f"round {number + 1} of {rounds}", file=sys.stderr, flush=True)
    return results


def _write_and_read(item: Format, volume: Volume, folder: Path, result: Result) -> None:
    # Twice, because memory that a virtual machine uses for the first time is slow.
    for _ in range(2):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        result.write_s.append(_cpu_s(lambda: item.write(volume, folder)))
    everything = range(volume.array.shape[0])
    result.read_s.append(_cpu_s(lambda: _drain(item, folder, everything)))
    result.megabytes = sum(file.stat().st_size for file in folder.iterdir()) / 1e6
    errors = [abs(plane - volume.array[n]).max() for n, plane in item.read(folder, everything)]
    if len(errors) != len(everything):
        raise RuntimeError(f"{item.name}: {len(errors)} of {len(everything)} slices were read")
    result.error_hu = float(max(errors)) * (1000 if item.values == "windowed" else 1)


def _some_planes(item: Format, folder: Path, numbers: Sequence[int], result: Result) -> None:
    if evicted(folder):
        result.cold_ms.append(_wall_ms(lambda: _drain(item, folder, numbers)))
    _drain(item, folder, numbers)
    result.warm_ms.append(_wall_ms(lambda: _drain(item, folder, numbers)))


def _drain(item: Format, folder: Path, numbers: Sequence[int]) -> None:
    for _ in item.read(folder, numbers):
        pass


def _cpu_s(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _wall_ms(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return 1000 * (time.perf_counter() - start)


def evicted(folder: Path) -> bool:
    """Whether the system could be made to forget the files: nothing of them is in its cache."""
    if not (hasattr(os, "posix_fadvise") and hasattr(os, "RWF_NOWAIT")):
        return False
    return all([_forgotten(file) for file in folder.iterdir()])


def _forgotten(path: Path) -> bool:
    size = path.stat().st_size
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        for start in (0, size // 2, max(0, size - 4096)):
            try:
                if os.preadv(handle, [bytearray(16)], start, os.RWF_NOWAIT):
                    return False
            except BlockingIOError:
                continue
        return True
    except OSError:
        return False  # not every file system can do this
    finally:
        os.close(handle)


def row(item: Format, result: Result) -> list[str]:
    """A format's cells under `HEAD`."""
    cold = f"{median(result.cold_ms):.0f}" if result.cold_ms else "-"
    return [
        item.name,
        item.values,
        f"{result.megabytes:.1f}",
        f"{result.megabytes * VOLUMES / 1e6:.1f}",
        f"{result.error_hu:.2f}",
        f"{min(result.write_s):.2f}",
        cold,
        f"{median(result.warm_ms):.1f}",
        f"{min(result.read_s):.2f}",
    ]


def page(shape: Sequence[int], about: str, rounds: int, tables: Sequence[str]) -> str:
    """The tables with what made them."""
    size = " x ".join(map(str, shape))
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{about}, {size} voxels (z, y, x), in HU, or clamped to +-1000 HU and divided by 1000 "
        f"(windowed). CPU seconds are the least of {min(rounds, WRITES)} rounds, because a shared "
        f"machine only adds to them; milliseconds (wall) are medians of {rounds}. One thread, "
        f"formats interleaved. Planes are {PLANES} at random, others in each round, the same for "
        "all formats, as float32. Cold: the system's page cache held nothing of the files; a cache "
        "below it, of the disk or of a virtual machine's host, may have.\n\n"
        f"{tables[0]}\n\nThe settings of `preprocessed-blosc2`:\n\n{tables[1]}\n\n"
        f"{date.today().isoformat()}, {machine()}, {packages}.\n"
    )


@contextmanager
def scratch_in(data: Path) -> Iterator[Path]:
    """A folder that is gone afterwards."""
    scratch = data / f"storage-{os.getpid()}"
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, and with --write keep them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--volume", choices=["A", "tiny"], default="A", help="synthetic; default A")
    parser.add_argument("--scan", type=Path, help="a chest CT of yours instead: NIfTI or DICOM")
    parser.add_argument("--rounds", type=int, default=7, help="default 7")
    parser.add_argument("--write", action="store_true", help=f"keep the tables: {RESULTS.name}")
    parser.add_argument("--data", type=Path, default=cache_dir() / "ctfw-benchmarks",
                        help="where the files are made; needs 2 GB")  # fmt: skip
    options = parser.parse_args(arguments)
    if options.scan and options.write:
        parser.error("--write keeps the tables of the synthetic volume: leave out --scan")
    if options.scan:
        volumes, about = sources(options.scan, {}), "One chest CT"
    else:
        volumes = sources(made(options.volume, options.data), HINTS)
        about = "One synthetic chest CT"
    tables = []
    for formats in (FORMATS, PACKINGS):
        with scratch_in(options.data) as scratch:
            results = measured(formats, volumes, options.rounds, scratch)
        tables.append(markdown(HEAD, [row(item, results[item.name]) for item in formats]))
    text = page(volumes["HU"].array.shape, about, options.rounds, tables)
    print(text)
    if options.write:
        RESULTS.parent.mkdir(exist_ok=True)
        head = "<!-- Made by `python benchmarks/storage.py --write` -->\n\n# Storage: measured\n\n"
        RESULTS.write_text(head + text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
