"""Stored values to Hounsfield units, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctfw.errors import NotCT
from ctfw.types import HU, Case, Decision, Volume
from ctfw.volumes.evidence import Mends, decide, declared_reading, raw_reading, table_reading
from ctfw.volumes.stream import Planes, SliceStream, StartAgain
from ctfw.volumes.voxels import AIR_HU, AS_STORED, Reading, Verdict, Witness
from ctfw_plugins.preprocess.configs import RescaleHuConfig

_INT16 = np.iinfo(np.int16)
_FIRST_LOOK = 8


class RescaleHu:
    """HU = P x S + I (DICOM PS3.3 C.11.1), decided from evidence and never applied twice.

    Values below -1024 HU (padding such as -2000, -3024 or -8192 outside the field of view) become
    air, -1024, before anything is measured or interpolated, unless `padding: keep`. int16 stays
    int16 where it fits. Raises NotCT when the file is no CT or the signals disagree.

    Slices that come one by one are rescaled as declared, or as the first of them suggest; when
    the last has passed, all of them must bear that out.
    """

    def __init__(self, config: RescaleHuConfig, context: Any = None) -> None:
        self.config = config
        self.mends = Mends(config.mend_double_rescale, config.mend_window)
        slope, intercept = config.slope, config.intercept
        self.told = None if slope is None or intercept is None else Reading(slope, intercept)

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        return self.stream(SliceStream.of(volume), case).collect()

    def stream(self, slices: SliceStream, case: Case | None = None) -> SliceStream:
        if slices.intensity == HU and any(d.step == "rescale-hu" for d in slices.notes()):
            return slices.noting("rescale-hu", "already in HU: nothing applied a second time")
        work = _Rescaling(self, slices, case)
        return slices.but(intensity=HU, read=work.read).closing(work.notes)

    def verdict(self, intensity: str, case: Case | None, witness: Witness) -> Verdict:
        """ "hu" or "raw" with the reading. Raises NotCT."""
        hints = case.hints if case is not None else {}
        table = table_reading(hints)
        seen = witness.verdict([table] if table else [])
        if self.config.intensity == "auto":
            return decide(intensity, hints, seen, self.told, self.mends)
        if intensity == HU and self.config.intensity == "raw":
            raise NotCT("`intensity: raw` is set, but the file's own tags were applied already")
        text = f"set by `intensity: {self.config.intensity}`; voxels: {seen.text}"
        if self.config.intensity == "hu":
            return Verdict("hu", text)
        return Verdict("raw", text, self.told or raw_reading(seen, table))

    def foreseen(self, intensity: str, case: Case | None) -> Reading | None:
        """The reading that will come out unless the voxels forbid it; None when they decide."""
        if self.config.intensity == "hu":
            return AS_STORED
        if self.mends != Mends():
            return None
        hints = case.hints if case is not None else {}
        if self.config.intensity == "raw":
            return self.told or table_reading(hints)
        return declared_reading(intensity, hints, self.told)


@dataclass
class _Rescaling:
    """One volume on its way: what was decided first, and what all slices said in the end."""

    step: RescaleHu
    slices: SliceStream
    case: Case | None
    final: Verdict | None = None
    lowest: float = 0.0
    below: int = 0
    voxels: int = 0

    def read(self, numbers: Sequence[int]) -> Planes:
        reading = self._first()
        witness = Witness(self.slices.shape)
        self.lowest, self.below, self.voxels = float(AIR_HU), 0, 0
        asked = set(numbers)
        for number, plane in self.slices.read(sorted(asked.union(witness.numbers))):
            witness.see(number, plane)
            counts = number in witness.numbers
            if number in asked or counts:
                hu = self._to_hu(plane, reading, counts)
                if number in asked:
                    yield number, hu
        verdict = self.step.verdict(self.slices.intensity, self.case, witness)
        if verdict.reading != reading:
            raise StartAgain
        self.final = verdict

    def _first(self) -> Reading:
        """The reading to go on with; the slices are looked at first where nothing is declared."""
        if not self.slices.look_first:
            foreseen = self.step.foreseen(self.slices.intensity, self.case)
            if foreseen is not None:
                return foreseen
        if not (self.slices.look_first or self.slices.random):
            depth, *plane = self.slices.shape
            few = range(min(_FIRST_LOOK, depth))
            start = depth - len(few) if self.slices.descending else 0
            try:
                return self._look(Witness((len(few), *plane)), start)
            except NotCT:
                pass  # a few slices may not show enough: the whole will tell
        return self._look(Witness(self.slices.shape), 0)

    def _look(self, witness: Witness, start: int) -> Reading:
        coming = self.slices.read([start + number for number in witness.numbers])
        for number, plane in coming:
            witness.see(number - start, plane)
        return self.step.verdict(self.slices.intensity, self.case, witness).reading

    def _to_hu(self, plane: np.ndarray, reading: Reading, counts: bool) -> np.ndarray:
        """The plane in HU with padding as air; what was padding is counted."""
        hu = _apply(plane, reading)
        low = float(hu.min())
        if counts:
            self.voxels += hu.size
            self.lowest = min(self.lowest, low)
        if low < AIR_HU and self.step.config.padding == "air":
            if counts:
                self.below += int(np.count_nonzero(hu < AIR_HU))
            np.maximum(hu, hu.dtype.type(AIR_HU), out=hu)
        return hu

    def notes(self) -> tuple[Decision, ...]:
        if self.final is None:
            return (Decision("rescale-hu", "not read to its end yet"),)
        applied = self.final.state == "raw"
        reading = self.final.reading
        told = f"{reading} applied" if applied else "already HU, nothing applied"
        values = {"applied": applied, "slope": reading.slope, "intercept": reading.intercept}
        first = Decision("rescale-hu", f"{told}: {self.final.text}", values)
        if not self.below:
            return (first,)
        share = self.below / self.voxels
        text = (
            f"{100 * share:.2g} % of the voxels lay below {AIR_HU} HU (lowest {self.lowest:g}) and "
            "were set to air"
        )
        return first, Decision("rescale-hu", text, {"share": share, "lowest": self.lowest})


def _apply(plane: np.ndarray, reading: Reading) -> np.ndarray:
    """plane x slope + intercept; int16 for whole numbers that fit, else float32."""
    if reading == AS_STORED:
        return plane
    slope, intercept = reading.slope, reading.intercept
    if plane.dtype.kind in "iu" and float(slope).is_integer() and float(intercept).is_integer():
        ends = [int(end) * int(slope) + int(intercept) for end in (plane.min(), plane.max())]
        if min(ends) >= _INT16.min and max(ends) <= _INT16.max:
            if slope == 1 and plane.dtype == np.int16:
                return np.add(plane, np.int16(intercept), out=plane)
            return (plane.astype(np.int32) * int(slope) + int(intercept)).astype(np.int16)
    return plane.astype(np.float32) * np.float32(slope) + np.float32(intercept)
