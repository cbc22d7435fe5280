"""Label-wise accuracy with the scores without which it says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ctfw.scoring.evidence import Evidence
from ctfw.scoring.labels import (
    accuracy_values,
    f1_scores,
    label_counts,
    mean_statistics,
    mean_values,
    ratio,
    report_jaccard,
    split_counts,
)
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import AccuracyConfig
from ctfw_plugins.metrics.label_input import label_input

_MEANS = (
    "subset-accuracy",
    "jaccard-accuracy",
    "mention-coverage",
    "mention-coverage-reference",
    "length-ratio",
)
_NO_EVIDENCE = (
    "mention coverage is not known: this labeler does not say which sentences mention a label"
)


class Accuracy:
    """Values `accuracy`, `macro-f1`, `micro-f1`, `crg`, ...: see `ctfw.scoring.labels`.

    A report that denies everything has accuracy 1 - prevalence (0.80 on CT-RATE). Further:

    subset-accuracy     share of reports with every label right
    jaccard-accuracy    mean of shared over all positives of a report
    mention-coverage    mean share of the labels that the report mentions, stated or denied; the
                        same of the references beside it
    length-ratio        mean of words generated over words of the reference, over the references
                        that have a word
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
        """NaN where a score is undefined. Raises BadData, see `label_input`."""
        given = label_input(predictions, "accuracy", self.config, cases, label_names)
        counts = label_counts(given.reference, given.generated)
        columns = [
            (given.reference == given.generated).all(1).astype(float),
            report_jaccard(counts),
            *_mentioned(predictions, given.names),
            _length_ratio(predictions),
        ]
        statistics = np.concatenate([counts, mean_statistics(columns)], axis=1)
        size = counts.shape[1]

        def reduce(sums: np.ndarray) -> dict[str, np.ndarray]:
            return accuracy_values(sums[..., :size]) | mean_values(sums[..., size:], _MEANS)

        tp, fp, fn, _ = (part.sum(1) for part in split_counts(counts))
        silent = any(p.generated.strip() for p in predictions) and all(
            p.evidence is None for p in predictions
        )
        return Scores(
            values={name: float(value) for name, value in reduce(statistics.sum(0)).items()},
            protocol=f"pooled cells|{given.protocol}",
            per_case={
                "accuracy": (given.reference == given.generated).mean(1),
                "micro-f1": f1_scores(tp, fp, fn),
            },
            statistics=statistics,
            reduce=reduce,
            notes=given.left_out + ((_NO_EVIDENCE,) if silent else ()),
            lower_is_better=frozenset({"hallucination-rate"}),
            without_direction=frozenset(
                {"positives-generated", "positives-reference", *_MEANS[2:]}
            ),
        )


def _mentioned(
    predictions: Sequence[Prediction], names: Sequence[str]
) -> tuple[np.ndarray, np.ndarray]:
    """(N,) share of the labels that the generated text and the reference mention."""
    known = set(names)

    def share(found: Sequence[Evidence] | None) -> float:
        if found is None:
            return np.nan
        return len({item.label for item in found} & known) / len(known)

    return (
        np.array([share(prediction.evidence) for prediction in predictions]),
        np.array([share(prediction.reference_evidence) for prediction in predictions]),
    )


def _length_ratio(predictions: Sequence[Prediction]) -> np.ndarray:
    """(N,) words of the generated text over words of the reference; NaN without a word there.

    A row that has labels and no texts, such as the floors of labels, has no lengths.
    """
    words = np.array([(len(p.generated.split()), len(p.reference.split())) for p in predictions])
    return ratio(words[:, 0], words[:, 1]) if words[:, 0].any() else np.full(len(words), np.nan)
