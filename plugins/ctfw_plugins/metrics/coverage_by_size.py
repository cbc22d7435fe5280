"""Coverage of findings by their size: a model that misses small ones shows it here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ctfw.errors import BadData
from ctfw.scoring.labels import ratio
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import CoverageBySizeConfig
from ctfw_plugins.metrics.label_input import LabelInput, label_input
from ctfw_plugins.metrics.sizes import sizes_mm

BINS = ("under-3mm", "3-6mm", "6-10mm", "over-10mm", "of-no-size")
_NO_SIZE = len(BINS) - 1
# Findings whose sentences give their own size. A sentence about plaques gives that of the aorta.
SIZED_IN_TEXT = (
    "Lymphadenopathy",
    "Lung nodule",
    "Lung opacity",
    "Consolidation",
    "Pleural effusion",
    "Pericardial effusion",
    "Lung Lesion",
)


class CoverageBySize:
    """Values `coverage-under-3mm`, ... and `findings-under-3mm`, ...: recall and how many.

    A finding is a label that the reference has; its size is that of its largest lesion in the data
    set, or the largest that the reference's sentences about it state. The bins are [0, 3), [3, 6),
    [6, 10] and above 10 mm, and those whose size nobody gives; together they are `coverage`.
    """

    needs_labels = True

    def __init__(self, config: CoverageBySizeConfig, context: Any = None) -> None:
        self.config = config

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """NaN where a bin is empty. Raises BadData, see `label_input` and `_source`."""
        given = label_input(predictions, "coverage-by-size", self.config, cases, label_names)
        source = self._source(predictions, cases)
        statistics = self._table(predictions, cases, given, source)
        counts = statistics[:, len(BINS) :].sum(0).astype(int).tolist()
        listed = ", ".join(f"{n} {name}" for n, name in zip(counts, BINS, strict=True))
        return Scores(
            values={name: float(v) for name, v in size_values(statistics.sum(0)).items()},
            protocol=f"recall by size|sizes:{source}|{given.protocol}",
            statistics=statistics,
            reduce=size_values,
            notes=(f"findings by size: {listed}",),
            without_direction=frozenset(f"findings-{name}" for name in BINS),
        )

    def _table(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None,
        given: LabelInput,
        source: str,
    ) -> np.ndarray:
        """(N, 2 * bins): findings that the generated report has, then all, of each case."""
        table = np.zeros((len(predictions), 2 * len(BINS)))
        for row, prediction, wanted, made in zip(
            table, predictions, given.reference, given.generated, strict=True
        ):
            if source == "dataset":
                sizes = _of_lesions(prediction, cases)
            else:
                sizes = _of_text(prediction, self.config.labels or SIZED_IN_TEXT)
            for i in np.flatnonzero(wanted):
                place = bin_of(sizes.get(given.names[i]))
                row[place] += made[i]
                row[len(BINS) + place] += 1
        return table

    def _source(self, predictions: Sequence[Prediction], cases: CaseTable | None) -> str:
        """Who gives the sizes: "dataset", "text", or "nobody" where `auto` finds neither.

        Raises BadData where what was asked for is not there.
        """
        lesions = cases is not None and any(case.lesions for case in cases)
        if lesions and self.config.sizes != "text":
            return "dataset"
        if self.config.sizes == "dataset":
            raise BadData(
                "metric 'coverage-by-size': sizes: dataset needs a data set with a table of "
                "lesions; set sizes: text, which reads them from the references"
            )
        if any(prediction.reference_evidence is not None for prediction in predictions):
            return "text"
        if self.config.sizes == "text":
            raise BadData(
                "metric 'coverage-by-size': sizes: text needs a labeler that says which sentences "
                "mention a finding, such as ct-rate-18"
            )
        return "nobody"


def size_values(sums: np.ndarray) -> dict[str, np.ndarray]:
    """(..., 2 * bins) found and present, summed -> coverage and number of findings by bin."""
    found, present = sums[..., : len(BINS)], sums[..., len(BINS) :]
    covered = ratio(found, present)
    return {f"coverage-{name}": covered[..., i] for i, name in enumerate(BINS)} | {
        f"findings-{name}": present[..., i] for i, name in enumerate(BINS)
    }


def bin_of(mm: float | None) -> int:
    """Index in BINS of a size; None is a size that nobody gives."""
    if mm is None:
        return _NO_SIZE
    return 0 if mm < 3 else 1 if mm < 6 else 2 if mm <= 10 else 3


def _of_lesions(prediction: Prediction, cases: CaseTable | None) -> Mapping[str, float]:
    """Label -> millimetres of its largest lesion in the data set."""
    case = cases.by_id.get(prediction.case) if cases is not None else None
    largest: dict[str, float] = {}
    for lesion in case.lesions if case is not None else ():
        largest[lesion.label] = max(largest.get(lesion.label, 0.0), lesion.size_mm)
    return largest


def _of_text(prediction: Prediction, labels: Sequence[str]) -> Mapping[str, float]:
    """Label -> the largest size in the reference's sentences that state it."""
    largest: dict[str, float] = {}
    for item in prediction.reference_evidence or ():
        if item.positive and item.label in labels:
            for size in sizes_mm(item.sentence):
                largest[item.label] = max(largest.get(item.label, 0.0), size.mm)
    return largest
