"""The label matrices of a list of predictions, checked once for every label metric."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctfw.errors import BadData
from ctfw.labels import CT_RATE_LABELS
from ctfw.types import CaseTable, Prediction


def label_matrices(predictions: Sequence[Prediction], metric: str) -> tuple[np.ndarray, np.ndarray]:
    """(reference, generated), each (N, L) int8. Raises BadData when labels are missing."""
    if not predictions:
        raise BadData(f"metric '{metric}': there are no predictions to score")
    rows: list[np.ndarray] = []
    for prediction in predictions:
        if prediction.labels is None or prediction.reference_labels is None:
            raise BadData(
                f"metric '{metric}': case '{prediction.case}' has no labels; choose a labeler, or "
                "give labels and reference labels with the predictions"
            )
        rows += [np.asarray(prediction.reference_labels), np.asarray(prediction.labels)]
    sizes = {row.shape for row in rows}
    if len(sizes) != 1:
        raise BadData(f"metric '{metric}': label vectors of several sizes: {sorted(sizes)}")
    matrix = np.stack(rows).astype(np.int8)
    return matrix[0::2], matrix[1::2]


def names_of(size: int, cases: CaseTable | None, told: Sequence[str] = ()) -> tuple[str, ...]:
    """Names of `size` labels: those that were told, the table's, the 18 of CT-RATE, or numbers."""
    if len(told) == size:
        return tuple(told)
    if cases is not None and len(cases.label_names) == size:
        return cases.label_names
    if size == len(CT_RATE_LABELS):
        return CT_RATE_LABELS
    return tuple(f"label {i + 1}" for i in range(size))


def left_out(reference: np.ndarray, names: Sequence[str]) -> tuple[str, ...]:
    """A note that lists the labels without a reference positive, if there are any."""
    missing = [name for name, count in zip(names, reference.sum(0).tolist()) if not count]
    if not missing:
        return ()
    return (f"no reference positive, left out of macro means: {', '.join(missing)}",)
