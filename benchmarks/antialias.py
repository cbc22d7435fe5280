"""What anti-aliasing does to small nodules and to noise, measured on ctfw's own resample step.

`python benchmarks/antialias.py` prints the tables; `--write` keeps them and draws the figure.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from _summary import markdown

from ctfw.types import HU, Volume
from ctfw.volumes.geometry import lps_affine
from ctfw_plugins.preprocess.configs import ResampleConfig
from ctfw_plugins.preprocess.resample import Resample

ROOT = Path(__file__).resolve().parents[1]
TARGET_MM = (0.75, 0.75, 1.5)
SPACINGS = {"A": (0.7, 0.7, 1.0), "B": (0.35, 0.35, 0.8)}
DIAMETERS_MM = (3, 4, 5, 8)
LUNG_HU, CONTRAST_HU = -850.0, 850.0
BEYOND_NYQUIST = 1.3
_POSITIONS, _FINE, _CROP_MM = 48, 5, 15.0
_LINES = range(150, 158)  # lengths: the phase of the new grid depends on the old one's length

Mode = Literal["none", "auto"]
MODES: tuple[Mode, ...] = ("none", "auto")
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Range:
    """Mean, smallest and largest."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, numbers: np.ndarray) -> Range:
        return cls(float(numbers.mean()), float(numbers.min()), float(numbers.max()))

    def __format__(self, digits: str) -> str:
        return f"{self.mean:{digits}} ({self.low:{digits}} - {self.high:{digits}})"


@dataclass(frozen=True)
class Nodules:
    """Peak above lung in HU over all positions, in the source and after resampling."""

    volume: str
    diameter_mm: float
    source: Range
    none: Range
    auto: Range


def resampled(array: np.ndarray, spacing_mm: Point, mode: Mode, target: Point) -> np.ndarray:
    """(z, y, x) HU at `spacing_mm` (x, y, z) -> the array that ctfw's step makes of it."""
    step = Resample(ResampleConfig(spacing_mm=target, antialias=mode))
    return step(Volume(array, lps_affine(spacing_mm), HU)).array


def nodule(spacing_mm: Point, diameter_mm: float, offset: np.ndarray) -> np.ndarray:
    """(z, y, x) float32 HU: a ball in lung, `offset` voxels (x, y, z) off the middle of the crop.

    Each voxel is the mean of 5 x 5 x 5 points in it: partial volume, and no other blur.
    """
    inside = []
    for spacing, shift in zip(spacing_mm, offset, strict=True):
        size = round(_CROP_MM / spacing)
        points = (np.arange(size * _FINE) + 0.5) / _FINE - 0.5
        inside.append(((points - (size - 1) / 2 - shift) * spacing) ** 2)
    x, y, z = inside
    ball = z[:, None, None] + y[:, None] + x <= (diameter_mm / 2) ** 2
    shape = [n // _FINE for n in ball.shape]
    share = ball.reshape(shape[0], _FINE, shape[1], _FINE, shape[2], _FINE).mean((1, 3, 5))
    return (LUNG_HU + CONTRAST_HU * share).astype(np.float32)


def nodules(volume: str, diameter_mm: float, rng: np.random.Generator) -> Nodules:
    """Peaks of nodules at random positions within a voxel."""
    peaks: dict[str, list[float]] = {"source": [], "none": [], "auto": []}
    spacing = SPACINGS[volume]
    for offset in rng.uniform(-0.5, 0.5, (_POSITIONS, 3)):
        array = nodule(spacing, diameter_mm, offset)
        peaks["source"].append(float(array.max()) - LUNG_HU)
        for mode in MODES:
            peaks[mode].append(float(resampled(array, spacing, mode, TARGET_MM).max()) - LUNG_HU)
    return Nodules(
        volume, diameter_mm, **{name: Range.of(np.array(all_)) for name, all_ in peaks.items()}
    )


def weights(spacing: float, target: float, mode: Mode, size: int) -> np.ndarray:
    """(new voxels, size): the response along one axis to an impulse in each old voxel.

    The voxels at the ends, which repeat the outermost one, are left out.
    """
    impulses = np.eye(size, dtype=np.float32)[:, :, None]
    response = resampled(impulses, (1.0, 1.0, spacing), mode, (1.0, 1.0, target))[4:-4, :, 0]
    return response.astype(np.float64)


def line_gain(spacing: float, target: float, mode: Mode) -> np.ndarray:
    """(new voxels of several lines,) standard deviation that white noise of 1 has afterwards."""
    lines = (weights(spacing, target, mode, size) for size in _LINES)
    return np.concatenate([np.sqrt((line**2).sum(1)) for line in lines])


def noise_gain(volume: str, mode: Mode) -> Range:
    """Mean, smallest and largest over the voxels of a volume; independent noise in each voxel."""
    x, y, z = (
        line_gain(spacing, target, mode)
        for spacing, target in zip(SPACINGS[volume], TARGET_MM, strict=True)
    )
    means, lows, highs = zip(*((g.mean(), g.min(), g.max()) for g in (x, y, z)), strict=True)
    return Range(*(float(np.prod(parts)) for parts in (means, lows, highs)))


def alias(spacing: float, target: float, mode: Mode) -> float | None:
    """Share of the amplitude of a sinusoid at 1.3 x the new Nyquist frequency that is left.

    All of it is false detail, because the new grid cannot show that frequency. None where the old
    grid cannot hold it either.
    """
    frequency = BEYOND_NYQUIST / (2 * target)
    if frequency >= 1 / (2 * spacing):
        return None
    left = []
    for size in _LINES:
        phase = 2 * np.pi * frequency * spacing * np.arange(size)
        both = np.stack([np.cos(phase), np.sin(phase)], 1)
        left.append(((weights(spacing, target, mode, size) @ both) ** 2).sum(1))
    return float(np.sqrt(np.concatenate(left).mean()))


def tables() -> str:
    """The three tables in Markdown."""
    return "\n\n".join(
        [
            "Peak of a nodule above lung, HU: mean (min - max) over positions within a voxel. The "
            "last columns compare auto with none: the share of the peak that is kept, and how "
            "many times larger the ratio of peak to noise is.",
            _nodule_table(),
            "Noise: what is left of independent noise in the source voxels, mean (min - max) over "
            "the voxels of the result.",
            _noise_table(),
            f"Aliasing: what is left of a sinusoid at {BEYOND_NYQUIST} x the Nyquist frequency of "
            "the result. Nothing should be.",
            _alias_table(),
        ]
    )


def _nodule_table() -> str:
    rng = np.random.default_rng(0)
    rows = []
    for volume in SPACINGS:
        none, auto = (noise_gain(volume, mode).mean for mode in MODES)
        for diameter in DIAMETERS_MM:
            found = nodules(volume, diameter, rng)
            kept = found.auto.mean / found.none.mean
            peaks = [f"{part:.0f}" for part in (found.source, found.none, found.auto)]
            clearer = f"{kept * none / auto:.1f}"
            rows.append((volume, f"{diameter} mm", *peaks, f"{100 * kept:.0f} %", clearer))
    head = ("volume", "nodule", "source", "none", "auto", "peak kept", "peak over noise")
    return markdown(head, rows)


def _noise_table() -> str:
    rows = []
    for volume in SPACINGS:
        none, auto = (noise_gain(volume, mode) for mode in MODES)
        uneven = [f"{gain.high / gain.low:.1f}" for gain in (none, auto)]
        less = f"{none.mean / auto.mean:.1f}"
        rows.append((volume, f"{none:.2f}", f"{auto:.2f}", less, *uneven))
    head = ("volume", "none", "auto", "none / auto", "max / min: none", "max / min: auto")
    return markdown(head, rows)


def _alias_table() -> str:
    rows = []
    for volume, spacings in SPACINGS.items():
        for axis, spacing, target in zip("xyz", spacings, TARGET_MM, strict=True):
            found = [alias(spacing, target, mode) for mode in MODES]
            if axis == "y" or None in found:
                continue
            shares = [f"{100 * share:.0f} %" for share in found if share is not None]
            name = "x and y" if axis == "x" else axis
            rows.append((volume, f"{name}: {spacing:g} to {target:g} mm", *shares))
    return markdown(("volume", "axis", "none", "auto"), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables; with --write also keep them and the figure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="keep the tables and the figure")
    options = parser.parse_args(arguments)
    text = tables()
    print(text)
    if options.write:
        from _antialias_figure import draw

        head = "<!-- Made by `python benchmarks/antialias.py --write` -->\n\n"
        head += "# Anti-aliasing: measured\n\n"
        head += "What it means: [Anti-aliasing](../../docs/explanation/antialiasing.md).\n\n"
        target = ROOT / "benchmarks" / "results" / "antialias.md"
        target.parent.mkdir(exist_ok=True)
        target.write_text(head + text + "\n", encoding="utf-8")
        draw(ROOT / "docs" / "images" / "antialias.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
