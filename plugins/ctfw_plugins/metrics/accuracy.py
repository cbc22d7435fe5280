"""Label-wise accuracy with the scores without which it says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ctfw.scoring.labels import accuracy_values, f1_scores, label_counts, per_label, split_counts
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import AccuracyConfig
from ctfw_plugins.metrics.label_input import label_matrices, left_out, names_of


class Accuracy:
    """Values `accuracy`, `macro-f1`, `micro-f1`, `crg`, ...: see `ctfw.scoring.labels`.

    A report that denies everything has accuracy 1 - prevalence (0.80 on CT-RATE).
    """

    needs_labels = True

    def __init__(self, config: AccuracyConfig, context: Any = None) -> None:
        self.config = config

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """NaN where a score is undefined. Raises BadData without labels."""
        reference, generated = label_matrices(predictions, "accuracy")
        statistics = label_counts(reference, generated)
        tp, fp, fn, _ = (part.sum(1) for part in split_counts(statistics))
        values = accuracy_values(statistics.sum(0))
        return Scores(
            values={name: float(value) for name, value in values.items()},
            protocol=f"{reference.shape[1]} labels|pooled cells",
            per_case={
                "accuracy": (reference == generated).mean(1),
                "micro-f1": f1_scores(tp, fp, fn),
            },
            statistics=statistics,
            reduce=accuracy_values,
            notes=left_out(reference, names_of(reference.shape[1], cases, label_names)),
            lower_is_better=frozenset({"hallucination-rate"}),
            without_direction=frozenset({"positives-generated", "positives-reference"}),
        )

    def per_label(
        self, predictions: Sequence[Prediction], cases: CaseTable | None = None
    ) -> list[dict[str, float | int | str]]:
        """Support, coverage, precision, F1 and specificity of each label."""
        reference, generated = label_matrices(predictions, "accuracy")
        return per_label(reference, generated, names_of(reference.shape[1], cases))
