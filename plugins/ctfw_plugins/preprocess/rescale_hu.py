"""Stored values to Hounsfield units, once."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctfw.errors import NotCT
from ctfw.types import HU, Case, Volume
from ctfw.volumes.evidence import (
    AIR_HU,
    AS_STORED,
    Reading,
    Verdict,
    decide,
    judge_voxels,
    raw_reading,
    table_reading,
)
from ctfw_plugins.preprocess.configs import RescaleHuConfig

_INT16 = np.iinfo(np.int16)


class RescaleHu:
    """HU = P x S + I (DICOM PS3.3 C.11.1), decided from evidence and never applied twice.

    Values below -1024 HU (padding such as -2000, -3024 or -8192 outside the field of view) become
    air, -1024, before anything is measured or interpolated. int16 stays int16 where it fits.
    Raises NotCT when the file is no CT or the signals disagree.
    """

    def __init__(self, config: RescaleHuConfig, context: Any = None) -> None:
        self.config = config

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        if volume.intensity == HU and any(d.step == "rescale-hu" for d in volume.provenance):
            return volume.noting("rescale-hu", "already in HU: nothing applied a second time")
        verdict = self._verdict(volume, case)
        applied = verdict.state == "raw"
        told = f"{verdict.reading} applied" if applied else "already HU, nothing applied"
        array = _apply(volume.array, verdict.reading) if applied else volume.array
        volume = volume.but(array=array, intensity=HU).noting(
            "rescale-hu",
            f"{told}: {verdict.text}",
            applied=applied,
            slope=verdict.reading.slope,
            intercept=verdict.reading.intercept,
        )
        return _padding_to_air(volume)

    def _verdict(self, volume: Volume, case: Case | None) -> Verdict:
        hints = case.hints if case is not None else {}
        if self.config.intensity == "auto":
            verdict = decide(volume, hints)
            if verdict.state == "raw" and self.config.slope is not None:
                return Verdict("raw", verdict.text, self._told())
            return verdict
        if volume.intensity == HU and self.config.intensity == "raw":
            raise NotCT("`intensity: raw` is set, but the file's own tags were applied already")
        table = table_reading(hints)
        seen = judge_voxels(volume.array, [table] if table else [])
        text = f"set by `intensity: {self.config.intensity}`; voxels: {seen.text}"
        if self.config.intensity == "hu":
            return Verdict("hu", text)
        told = self._told() if self.config.slope is not None else raw_reading(seen, table)
        return Verdict("raw", text, told)

    def _told(self) -> Reading:
        slope, intercept = self.config.slope, self.config.intercept
        assert slope is not None
        assert intercept is not None
        return Reading(slope, intercept)


def _apply(array: np.ndarray, reading: Reading) -> np.ndarray:
    """array x slope + intercept; int16 for whole numbers that fit, else float32."""
    if reading == AS_STORED:
        return array
    slope, intercept = reading.slope, reading.intercept
    if array.dtype.kind in "iu" and slope == int(slope) and intercept == int(intercept):
        ends = [int(end) * int(slope) + int(intercept) for end in (array.min(), array.max())]
        if min(ends) >= _INT16.min and max(ends) <= _INT16.max:
            return (array.astype(np.int32) * int(slope) + int(intercept)).astype(np.int16)
    return array.astype(np.float32) * np.float32(slope) + np.float32(intercept)


def _padding_to_air(volume: Volume) -> Volume:
    lowest = float(volume.array.min())
    if lowest >= AIR_HU:
        return volume
    share = np.count_nonzero(volume.array < AIR_HU) / volume.array.size
    return volume.but(array=np.maximum(volume.array, volume.array.dtype.type(AIR_HU))).noting(
        "rescale-hu",
        f"{100 * share:.2g} % of the voxels lay below {AIR_HU} HU (lowest {lowest:g}) and were set "
        "to air",
        share=share,
        lowest=lowest,
    )
