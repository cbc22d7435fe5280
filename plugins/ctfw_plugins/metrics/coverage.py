"""Coverage: how many of the lesions that the reference states the generated report states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ctfw.scoring.labels import coverage_statistics, coverage_values, ratio, split_counts
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import CoverageConfig
from ctfw_plugins.metrics.label_input import label_matrices, left_out, names_of


class Coverage:
    """Values `coverage` (pooled), `coverage-report` and `coverage-macro`.

    All labels positive scores 1 here, so it is never read without specificity and precision.
    """

    needs_labels = True

    def __init__(self, config: CoverageConfig, context: Any = None) -> None:
        self.config = config

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """NaN where the references have no positive. Raises BadData without labels."""
        reference, generated = label_matrices(predictions, "coverage")
        statistics = coverage_statistics(reference, generated)
        tp, _, fn, _ = split_counts(statistics[:, :-2])
        values = coverage_values(statistics.sum(0))
        return Scores(
            values={name: float(value) for name, value in values.items()},
            protocol=f"recall of {reference.shape[1]} labels",
            per_case={"coverage": ratio(tp.sum(1), (tp + fn).sum(1))},
            statistics=statistics,
            reduce=coverage_values,
            notes=left_out(reference, names_of(reference.shape[1], cases, label_names)),
        )
