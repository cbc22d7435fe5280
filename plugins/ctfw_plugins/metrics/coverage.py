"""Coverage: how many of the findings that the reference states the generated report states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ctfw.scoring.labels import coverage_statistics, coverage_values, report_recall
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import CoverageConfig
from ctfw_plugins.metrics.label_input import label_input


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
        """NaN where the references have no positive. Raises BadData, see `label_input`."""
        given = label_input(predictions, "coverage", self.config, cases, label_names)
        statistics = coverage_statistics(given.reference, given.generated)
        values = coverage_values(statistics.sum(0))
        return Scores(
            values={name: float(value) for name, value in values.items()},
            protocol=f"recall|{given.protocol}",
            per_case={"coverage": report_recall(statistics[:, :-2])},
            statistics=statistics,
            reduce=coverage_values,
            notes=given.left_out,
        )
