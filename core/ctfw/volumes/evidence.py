"""Is this CT, and are its numbers HU? Decided from what is declared and from the voxels.

HU = P x S + I (DICOM PS3.3 C.11.1). The rescale must happen exactly once, and files say badly
whether it did: CT-RATE's second release holds HU while its table still gives the intercept of
the first. So the voxels are asked as well (`ctfw.volumes.voxels`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctfw.errors import NotCT
from ctfw.types import HU, NORMALISED, RAW
from ctfw.volumes.voxels import AS_STORED, Reading, Verdict


@dataclass(frozen=True, slots=True)
class Mends:
    """Which damage may be repaired instead of being refused.

    double_rescale  take a second rescale back
    window          HU of a window (low, high): 8-bit, [0, 1] and [-1, 1] values were made with it
    """

    double_rescale: bool = False
    window: tuple[float, float] | None = None


def table_reading(hints: Mapping[str, Any]) -> Reading | None:
    """`RescaleSlope` and `RescaleIntercept` of the data set's table, when both are numbers."""
    try:
        slope, intercept = float(hints["RescaleSlope"]), float(hints["RescaleIntercept"])
    except (KeyError, TypeError, ValueError):
        return None
    usable = np.isfinite([slope, intercept]).all() and slope != 0
    return Reading(slope, intercept) if usable else None


def declared_reading(
    intensity: str, hints: Mapping[str, Any], told: Reading | None = None
) -> Reading | None:
    """The reading that `decide` must end with unless the voxels contradict; None when they decide.

    intensity  that of the volume as it was loaded
    told       a reading for raw values that goes before the table's
    """
    states = {state for state, _ in _declared(intensity, hints)}
    if states == {HU}:
        return AS_STORED
    return (told or table_reading(hints)) if states == {RAW} else None


def decide(
    intensity: str,
    hints: Mapping[str, Any],
    seen: Verdict,
    told: Reading | None = None,
    mends: Mends = Mends(),
) -> Verdict:
    """Put the declared state and the voxels together; the verdict is "hu" or "raw".

    Declared are: the loader (DICOM rescale tags), `hints["intensity"]` ("hu" or "raw") and
    `hints["folder_version"]` (a CT-RATE release). A table's slope and intercept, and what was
    `told`, say how to rescale, not whether it was done already.

    Raises NotCT when signals disagree, when the voxels are something else than CT, or when
    nothing decides.
    """
    if intensity == NORMALISED:
        raise NotCT("the values are already normalised, so HU cannot be had back; use the source")
    declared = _declared(intensity, hints)
    table = table_reading(hints)
    if mended := _mended(seen, mends):
        return mended
    if seen.state in ("not-ct", "twice", "scaled", "thousandths"):
        raise NotCT(f"not a CT in a usable state: {seen.text}{_advice(seen)}")
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
    return Verdict("raw", words, told or raw_reading(seen, table))


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


def _mended(seen: Verdict, mends: Mends) -> Verdict | None:
    """The repair that was asked for, if the damage is there."""
    if seen.state == "twice" and mends.double_rescale:
        return Verdict("raw", f"mended: {seen.text.split(';')[0]}", seen.reading)
    if seen.state == "scaled" and mends.window is not None:
        (low, high), (start, end) = mends.window, seen.span
        slope = (high - low) / (end - start)
        steps = f", in steps of {slope:.2g} HU" if end > 1 else ""
        text = f"mended: {seen.text.split(':')[0]} stand for {low:g} to {high:g} HU{steps}"
        return Verdict("raw", text, Reading(slope, low - slope * start))
    return None


def _advice(seen: Verdict) -> str:
    if seen.state == "thousandths":
        return "; set rescale-hu's `intensity: raw, slope: 1000, intercept: 0`"
    if seen.state == "twice":
        return ", or set rescale-hu's `mend_double_rescale`"
    if seen.state == "scaled":
        return (
            "; if you know the window of HU that it was made with, set rescale-hu's `mend_window`"
        )
    return ""


def _declared(intensity: str, hints: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    if intensity in (HU, RAW):
        found.append((intensity, f"the file's own tags say {_called(intensity)}"))
    told = str(hints.get("intensity", "")).lower()
    if told in (HU, RAW):
        found.append((told, f"the data set calls it {_called(told)}"))
    version = str(hints.get("folder_version", "")).lower()
    if version in ("fixed", "v2", "2"):
        found.append((HU, f"the folder is CT-RATE's release '{version}', stored in HU"))
    elif version in ("v1", "1", "raw"):
        found.append((RAW, f"the folder is CT-RATE's release '{version}', stored raw"))
    return found


def _called(state: str) -> str:
    return "HU" if state == HU else "raw storage values"
