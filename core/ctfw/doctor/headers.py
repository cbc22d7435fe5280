"""Shape and spacing of scans, from their headers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ctfw.doctor.finding import evenly
from ctfw.doctor.scene import in_threads, sources, where
from ctfw.errors import UserError

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene
    from ctfw.types import Case
    from ctfw.volumes.pipeline import VolumePipeline

OUTLIER = 3.5
"""Modified z-score above which a value is called an outlier (Iglewicz and Hoaglin 1993)."""
_LEAST_SPREAD = 0.02
"""Spread of logarithms below which values count as equal: two in a hundred."""


@dataclass(frozen=True, slots=True)
class Header:
    """What a header says of a scan that is turned to LPS.

    shape       (z, y, x)
    spacing_mm  along (z, y, x)
    """

    case: Case
    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]

    @property
    def extent_mm(self) -> tuple[float, float, float]:
        """Size of the block of voxels along (z, y, x)."""
        z, y, x = (n * step for n, step in zip(self.shape, self.spacing_mm, strict=True))
        return z, y, x


@dataclass(frozen=True, slots=True)
class Refused:
    """A scan whose header cannot be used, and why."""

    case: Case
    reason: str


def read_headers(scene: Scene) -> tuple[list[Header], list[Refused]]:
    """The headers of `scene.scans` cases of each split; of a study of views, the first one's."""
    assert scene.pipeline is not None
    pipeline = scene.pipeline
    chosen = [case for table in scene.tables.values() for case in evenly(table.cases, scene.scans)]
    found = list(in_threads(lambda case: _read(pipeline, case), chosen, "read headers"))
    return (
        [each for each in found if isinstance(each, Header)],
        [each for each in found if isinstance(each, Refused)],
    )


def _read(pipeline: VolumePipeline, case: Case) -> Header | Refused:
    try:
        slices = pipeline.slices(sources(case)[0], case)
        return Header(case, slices.shape, slices.spacing_mm)
    except UserError as error:
        return Refused(case, str(error))
    except Exception as error:
        # Not the text of the error: it may quote a header, and that may name the patient.
        return Refused(case, f"{case.image}: {where(error)}")


def outliers(values: Sequence[float]) -> np.ndarray:
    """(N,) bool: values whose modified z-score is above 3.5, taken over their logarithms.

    z = 0.6745 (x - median) / MAD, with MAD the median absolute deviation (Iglewicz and Hoaglin,
    How to Detect and Handle Outliers, 1993). Logarithms, because sizes and spacings are spread
    by factors; a MAD under 2 % counts as 2 %, so that equal values have no outliers by rounding.
    """
    logs = np.log(np.asarray(values, np.float64))
    deviation = np.abs(logs - np.median(logs))
    return np.asarray(0.6745 * deviation / max(np.median(deviation), _LEAST_SPREAD) > OUTLIER)
