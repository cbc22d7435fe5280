"""What the voxels alone say about a scan: HU, raw storage, rescaled twice, another scale, no CT.

Under the right reading a chest CT has lung or air (-1100 to -600 HU) and soft tissue or fat (-200
to 200 HU) side by side, under a wrong one it has not. A coarse regular grid of voxels is enough,
so a stream of slices can be judged while it passes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

AIR_HU = -1024
State = Literal["hu", "raw", "twice", "scaled", "thousandths", "not-ct", "unclear"]
_STORAGE_OFFSETS = (1024, 8192)
_SAMPLE = 120_000
_FEW = 4096
_FEWEST_STEPS = 8


@dataclass(frozen=True, slots=True)
class Reading:
    """A way to turn stored values into HU."""

    slope: float
    intercept: float

    def __str__(self) -> str:
        sign = "-" if self.intercept < 0 else "+"
        return f"HU = P x {self.slope:g} {sign} {abs(self.intercept):g}"


AS_STORED = Reading(1.0, 0.0)
_THOUSANDTHS = Reading(1000.0, 0.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the values are, how to make HU of them, and why.

    state    "hu"; "raw": `reading` makes HU; "twice": rescaled once too often, `reading` takes it
             back; "scaled": fractions of a window, `span` being what stands for its ends;
             "thousandths": HU / 1000 as CT-CLIP writes them; "not-ct"; "unclear"
    """

    state: State
    text: str
    reading: Reading = AS_STORED
    span: tuple[float, float] = (0.0, 0.0)


@dataclass
class Witness:
    """A coarse grid of voxels of a (z, y, x) volume, filled slice by slice in any order.

    Only the slices of `numbers` are looked at, so that the verdict does not depend on which
    others happen to be read.
    """

    shape: tuple[int, ...]
    low: float = np.inf
    high: float = -np.inf
    voxels: int = 0
    nonfinite: int = 0
    _rows: dict[int, np.ndarray] = field(default_factory=dict)
    _alike: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        step = max(1, round((np.prod(self.shape, dtype=float) / _SAMPLE) ** (1 / 3)))
        self._steps = tuple(min(step, max(1, n // _FEWEST_STEPS)) for n in self.shape)
        self.numbers = range(0, self.shape[0], self._steps[0])

    def see(self, number: int, plane: np.ndarray) -> None:
        """Take in a slice (y, x); one that is not among `numbers` is passed over."""
        if number not in self.numbers:
            return
        self.voxels += plane.size
        if plane.dtype.kind == "f":
            self.nonfinite += plane.size - int(np.count_nonzero(np.isfinite(plane)))
        self.low, self.high = min(self.low, plane.min()), max(self.high, plane.max())
        part = plane[:: self._steps[1]]
        self._alike.append(float(np.mean(part[:, 1:] == part[:, :-1])) if part.shape[1] > 1 else 0)
        self._rows[number] = part[:, :: self._steps[2]].astype(np.float32)

    def verdict(self, readings: Sequence[Reading] = ()) -> Verdict:
        """The judgement; `readings` are tried besides the usual storage offsets."""
        if self.nonfinite:
            text = f"{self.nonfinite} of {self.voxels} voxels are NaN or infinite"
            return Verdict("not-ct", text)
        rows = [self._rows[number].ravel() for number in sorted(self._rows)]
        sample = np.concatenate(rows) if rows else np.empty(0, np.float32)
        if sample.size < _FEW:
            return Verdict("unclear", f"{sample.size} voxels are too few to judge")
        offsets = (Reading(1.0, -offset) for offset in _STORAGE_OFFSETS)
        raw = [r for r in dict.fromkeys((*readings, *offsets)) if r != AS_STORED]
        as_raw = next((r for r in raw if _plausible(sample, r)), None)
        if _plausible(sample, AS_STORED):
            if as_raw is not None:
                return Verdict("unclear", f"the voxels fit HU and {as_raw} alike")
            return Verdict("hu", _peaks(sample, AS_STORED))
        if as_raw is not None:
            return Verdict("raw", f"{_peaks(sample, as_raw)} under {as_raw}", as_raw)
        return self._what_else(sample, raw)

    def _what_else(self, sample: np.ndarray, raw: Sequence[Reading]) -> Verdict:
        """Name what the values look like when no reading makes them a chest CT."""
        low, high = float(self.low), float(self.high)
        span = f"values from {low:g} to {high:g}"
        if low == high:
            return Verdict("not-ct", f"every voxel is {low:g}")
        for reading in raw:
            back = Reading(1.0, -reading.intercept)
            if reading.slope == 1 and _plausible(sample, back):
                text = (
                    f"rescaled twice: {span} become a chest CT when {reading.intercept:g} is taken "
                    "back once; read the source file without a second rescale"
                )
                return Verdict("twice", text, back)
        whole = bool(np.array_equal(sample, np.rint(sample)))
        if whole and low >= 0 and high <= 255:
            return self._eight_bit(sample, span)
        if high > 1.01 and _plausible(sample, _THOUSANDTHS):
            text = f"{span}: HU divided by 1000"
            return Verdict("thousandths", text, _THOUSANDTHS)
        if low >= -1.01 and high <= 1.01:
            ends = (0.0, 1.0) if low >= 0 else (-1.0, 1.0)
            text = f"{span}: scaled to {ends[0]:g} to {ends[1]:g}, the HU are lost"
            return Verdict("scaled", text, span=ends)
        return Verdict(
            "unclear",
            f"{span} without lung or air next to soft tissue under any usual reading; an MR, or a "
            "CT of something else",
        )

    def _eight_bit(self, sample: np.ndarray, span: str) -> Verdict:
        distinct = np.unique(sample).size
        if distinct <= 2 or (distinct <= 128 and np.mean(self._alike) > 0.7):
            text = f"{distinct} whole numbers in flat areas: a label map, not an image"
            return Verdict("not-ct", text)
        text = f"{span}: grey values of an 8-bit picture, the HU are lost"
        return Verdict("scaled", text, span=(0.0, 255.0))


def judge_voxels(array: np.ndarray, readings: Sequence[Reading] = ()) -> Verdict:
    """The verdict on a (z, y, x) array."""
    witness = Witness(array.shape)
    for number in witness.numbers:
        witness.see(number, array[number])
    return witness.verdict(readings)


def _plausible(sample: np.ndarray, reading: Reading) -> bool:
    """Whether the sample looks like a chest CT under this reading.

    A single value that fills the field outside the scan (padding, or air made constant) is no
    evidence of air, so the commonest value of the air range does not count; values below -1100
    are allowed only as such spikes, because real noise spreads.
    """
    hu = sample * np.float32(reading.slope) + np.float32(reading.intercept)
    below = hu[hu < -1100]
    inside = hu.size - below.size
    if inside < 0.05 * hu.size or np.mean(hu > 3100) > 0.01:
        return False
    if below.size > 0.005 * hu.size:
        counts = np.unique(below, return_counts=True)[1]
        if np.sort(counts)[-3:].sum() < 0.9 * below.size:
            return False
    air = hu[(hu >= -1100) & (hu <= -600)]
    spread = air.size - (np.unique(air, return_counts=True)[1].max() if air.size else 0)
    soft = np.count_nonzero((hu >= -200) & (hu <= 200))
    return bool(spread >= 0.02 * inside and soft >= 0.05 * inside)


def _peaks(sample: np.ndarray, reading: Reading) -> str:
    hu = sample * np.float32(reading.slope) + np.float32(reading.intercept)
    air, soft = hu[(hu >= -1100) & (hu <= -600)], hu[(hu >= -200) & (hu <= 200)]
    return (
        f"{100 * air.size / hu.size:.0f} % lung or air (median {_middle(air):.0f} HU) and "
        f"{100 * soft.size / hu.size:.0f} % soft tissue or fat (median {_middle(soft):.0f} HU)"
    )


def _middle(values: np.ndarray) -> float:
    """The upper median. NumPy's own imports its masked arrays, 10 ms in every worker."""
    return float(np.partition(values, values.size // 2)[values.size // 2])
