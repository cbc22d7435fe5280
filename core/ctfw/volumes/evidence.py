"""Is this CT, and are its numbers HU? Decided from what is declared and from the voxels.

HU = P x S + I (DICOM PS3.3 C.11.1). The rescale must happen exactly once, and files say badly
whether it did: CT-RATE's second release holds HU while its table still gives the intercept of
the first. So the voxels are asked as well: under the right reading a chest CT has lung or air
(-1100 to -600 HU) and soft tissue or fat (-200 to 200 HU), under a wrong one it has not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from ctfw.errors import NotCT
from ctfw.types import HU, NORMALISED, RAW, Volume

AIR_HU = -1024
State = Literal["hu", "raw", "not-ct", "unclear"]
_STORAGE_OFFSETS = (1024, 8192)
_SAMPLE = 120_000
_FEW = 4096


@dataclass(frozen=True, slots=True)
class Reading:
    """A way to turn stored values into HU."""

    slope: float
    intercept: float

    def __str__(self) -> str:
        sign = "-" if self.intercept < 0 else "+"
        return f"HU = P x {self.slope:g} {sign} {abs(self.intercept):g}"


AS_STORED = Reading(1.0, 0.0)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the values are, how to make HU of them, and why."""

    state: State
    text: str
    reading: Reading = AS_STORED


def table_reading(hints: Mapping[str, Any]) -> Reading | None:
    """`RescaleSlope` and `RescaleIntercept` of the data set's table, when both are numbers."""
    try:
        slope, intercept = float(hints["RescaleSlope"]), float(hints["RescaleIntercept"])
    except (KeyError, TypeError, ValueError):
        return None
    usable = np.isfinite([slope, intercept]).all() and slope != 0
    return Reading(slope, intercept) if usable else None


def judge_voxels(array: np.ndarray, readings: Sequence[Reading] = ()) -> Verdict:
    """What the voxels alone say; `readings` are tried besides the usual storage offsets."""
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        bad = int(array.size - np.count_nonzero(np.isfinite(array)))
        return Verdict("not-ct", f"{bad} of {array.size} voxels are NaN or infinite")
    sample = _sample(array)
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
    return _what_else(array, sample, raw)


def decide(volume: Volume, hints: Mapping[str, Any]) -> Verdict:
    """Put the declared state and the voxels together.

    Declared are: the loader (DICOM rescale tags), `hints["intensity"]` ("hu" or "raw") and
    `hints["folder_version"]` (a CT-RATE release). A table's slope and intercept say how to
    rescale, not whether it was done already.

    Raises NotCT when signals disagree, when the voxels are something else than CT, or when
    nothing decides.
    """
    if volume.intensity == NORMALISED:
        raise NotCT("the values are already normalised, so HU cannot be had back; use the source")
    declared = _declared(volume, hints)
    table = table_reading(hints)
    seen = judge_voxels(volume.array, [table] if table else [])
    if seen.state == "not-ct":
        raise NotCT(f"not a CT in a usable state: {seen.text}")
    states = {state for state, _ in declared} | ({seen.state} - {"unclear"})
    words = "; ".join([*(text for _, text in declared), f"voxels: {seen.text}"])
    if not states:
        raise NotCT(
            f"not recognised as a CT, in HU or raw: {words}. If you know that it is one, set "
            "rescale-hu's `intensity` to hu or raw"
        )
    if len(states) > 1:
        raise NotCT(
            f"the signals disagree about HU: {words}. Settle it with rescale-hu's `intensity`"
        )
    if states == {"hu"}:
        if table not in (None, AS_STORED):
            words += f"; the table's {table} is not applied again"
        return Verdict("hu", words)
    return Verdict("raw", words, raw_reading(seen, table))


def raw_reading(seen: Verdict, table: Reading | None) -> Reading:
    """The reading of raw values. Raises NotCT when table and voxels differ or none is known."""
    if table is not None:
        if seen.state == "raw" and seen.reading != table:
            raise NotCT(
                f"the table gives {table}, the voxels fit {seen.reading} instead: the table's row "
                "belongs to another volume, or the values were changed"
            )
        return table
    if seen.state != "raw":
        raise NotCT(
            "the values are raw and no slope and intercept are known: set rescale-hu's `slope` "
            "and `intercept`"
        )
    return seen.reading


def _declared(volume: Volume, hints: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    if volume.intensity in (HU, RAW):
        found.append((volume.intensity, f"the file's own tags say {_called(volume.intensity)}"))
    told = str(hints.get("intensity", "")).lower()
    if told in (HU, RAW):
        found.append((told, f"the data set calls it {_called(told)}"))
    version = str(hints.get("folder_version", "")).lower()
    if version in ("fixed", "v2", "2"):
        found.append((HU, f"the folder is CT-RATE's release '{version}', stored in HU"))
    elif version in ("v1", "1", "raw"):
        found.append((RAW, f"the folder is CT-RATE's release '{version}', stored raw"))
    return found


def _sample(array: np.ndarray) -> np.ndarray:
    """(n,) float32 of voxels on a coarse regular grid."""
    step = max(1, round((array.size / _SAMPLE) ** (1 / 3)))
    steps = tuple(slice(None, None, min(step, max(1, n // 8))) for n in array.shape)
    return np.asarray(array[steps], dtype=np.float32).ravel()


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
        f"{100 * air.size / hu.size:.0f} % lung or air (median {np.median(air):.0f} HU) and "
        f"{100 * soft.size / hu.size:.0f} % soft tissue or fat (median {np.median(soft):.0f} HU)"
    )


def _what_else(array: np.ndarray, sample: np.ndarray, raw: Sequence[Reading]) -> Verdict:
    """Name what the values look like when no reading makes them a chest CT."""
    low, high = float(array.min()), float(array.max())
    span = f"values from {low:g} to {high:g}"
    if low == high:
        return Verdict("not-ct", f"every voxel is {low:g}")
    for reading in raw:
        if reading.slope == 1 and _plausible(sample, Reading(1.0, -reading.intercept)):
            return Verdict(
                "not-ct",
                f"rescaled twice: {span} become a chest CT when {reading.intercept:g} is taken "
                "back once; read the source file without a second rescale",
            )
    if low >= -1.01 and high <= 1.01:
        scale = "0 to 1" if low >= 0 else "-1 to 1"
        return Verdict("not-ct", f"{span}: scaled to {scale}, the HU are lost")
    whole = bool(np.array_equal(sample, np.rint(sample)))
    if whole and low >= 0 and high <= 255:
        return _eight_bit(array, sample, span)
    return Verdict(
        "unclear",
        f"{span} without lung or air next to soft tissue under any usual reading; an MR, or a "
        "CT of something else",
    )


def _eight_bit(array: np.ndarray, sample: np.ndarray, span: str) -> Verdict:
    distinct = np.unique(sample).size
    same = float(np.mean(array[:, :, 1:] == array[:, :, :-1]))
    if distinct <= 128 and same > 0.7:
        return Verdict(
            "not-ct", f"{distinct} whole numbers in flat areas: a label map, not an image"
        )
    return Verdict("not-ct", f"{span}: grey values of an 8-bit picture, the HU are lost")


def _called(state: str) -> str:
    return "HU" if state == HU else "raw storage values"
