"""The label matrices of a list of predictions, checked once for every label metric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctfw.errors import BadData, did_you_mean
from ctfw.labels import CT_RATE_LABELS
from ctfw.types import CaseTable, Prediction
from ctfw_plugins.metrics.configs import LabelConfig


@dataclass(frozen=True)
class LabelInput:
    """What a label metric counts.

    reference, generated  (N, L) int8 of 0 and 1
    names                 of the L labels
    protocol              which labels, and whose word the reference is
    """

    reference: np.ndarray
    generated: np.ndarray
    names: tuple[str, ...]
    protocol: str

    @property
    def left_out(self) -> tuple[str, ...]:
        """A note that lists the labels without a reference positive, if there are any."""
        counts = self.reference.sum(0).tolist()
        missing = [name for name, count in zip(self.names, counts, strict=True) if not count]
        if not missing:
            return ()
        return (f"no reference positive, left out of macro means: {', '.join(missing)}",)


def label_input(
    predictions: Sequence[Prediction],
    metric: str,
    config: LabelConfig,
    cases: CaseTable | None = None,
    label_names: Sequence[str] = (),
) -> LabelInput:
    """The labels of both sides, as `config` chooses them.

    Raises BadData when there is no prediction, labels are missing, are not 0 or 1, are of several
    sizes, or are another label set than the data set's.
    """
    if not predictions:
        raise BadData(f"metric '{metric}': there are no predictions to score")
    generated = _matrix(predictions, "generated", lambda p: p.labels, metric, label_names)
    size = generated.shape[1]
    if label_names and len(label_names) != size:
        raise BadData(
            f"metric '{metric}': label vectors have {size} values, but the labeler has "
            f"{len(label_names)} labels; score with the labeler that made them"
        )
    if config.reference == "dataset":
        of_case = _dataset(cases, metric, label_names)
        reference = _matrix(predictions, "data set's", of_case, metric, label_names)
    else:
        reference = _matrix(
            predictions, "reference", lambda p: p.reference_labels, metric, label_names
        )
    if reference.shape[1] != size:
        raise BadData(
            f"metric '{metric}': {size} labels of the generated report against "
            f"{reference.shape[1]} of the reference; both sides need the same label set"
        )
    names = _names(size, cases, label_names)
    chosen = _chosen(config.labels, names, metric)
    which = f"{len(chosen)} of {size} labels" if config.labels else f"{size} labels"
    return LabelInput(
        reference[:, chosen],
        generated[:, chosen],
        tuple(names[i] for i in chosen),
        f"{which}|reference:{config.reference}",
    )


def _matrix(
    predictions: Sequence[Prediction],
    side: str,
    labels_of: Callable[[Prediction], Any],
    metric: str,
    names: Sequence[str],
) -> np.ndarray:
    """(N, L) int8 of one side."""
    rows = [labels_of(prediction) for prediction in predictions]
    sizes = {len(row) for row in rows if row is not None}
    for prediction, row in zip(predictions, rows, strict=True):
        if row is None:
            raise BadData(
                f"metric '{metric}': case '{prediction.case}' has no {side} labels; choose a "
                "labeler, or give labels and reference labels with the predictions"
            )
        if len(sizes) > 1:
            raise BadData(
                f"metric '{metric}': {side} label vectors of several sizes: "
                f"{', '.join(map(str, sorted(sizes)))}; every case needs the same label set"
            )
    matrix = np.array(rows, dtype=float)
    wrong = np.argwhere((matrix != 0) & (matrix != 1))
    if len(wrong):
        case, label = wrong[0]
        name = names[label] if label < len(names) else f"label {label + 1}"
        raise BadData(
            f"metric '{metric}': {len(wrong)} {side} label values are neither 0 nor 1; the first "
            f"is {matrix[case, label]:g}, '{name}' of case '{predictions[case].case}'. Decide what "
            "blank (NaN) and uncertain (-1) labels count as before they are scored"
        )
    return matrix.astype(np.int8)


def _dataset(
    cases: CaseTable | None, metric: str, label_names: Sequence[str]
) -> Callable[[Prediction], np.ndarray | None]:
    """Labels by case; checks that the two label sets are the same, in the same order."""
    if cases is None:
        raise BadData(
            f"metric '{metric}': reference: dataset needs the labels of a data set; score a run, "
            "or set reference: text"
        )
    own, other = tuple(cases.label_names), tuple(label_names)
    if own and other and own != other:
        only = sorted(set(own) ^ set(other))
        detail = f"not in both: {', '.join(only[:3])}" if only else "the order differs"
        raise BadData(
            f"metric '{metric}': the data set has {len(own)} labels and the labeler {len(other)}, "
            f"which are not the same: {detail}; choose a labeler with the data set's labels, or "
            "set reference: text"
        )
    known = cases.by_id

    def of_case(prediction: Prediction) -> np.ndarray | None:
        if prediction.case not in known:
            raise BadData(
                f"metric '{metric}': the data set has no case '{prediction.case}'; with reference: "
                "dataset every prediction needs one"
            )
        return known[prediction.case].labels

    return of_case


def _names(size: int, cases: CaseTable | None, told: Sequence[str]) -> tuple[str, ...]:
    """Names of `size` labels: those that were told, the table's, the 18 of CT-RATE, or numbers."""
    if told:
        return tuple(told)
    if cases is not None and len(cases.label_names) == size:
        return cases.label_names
    if size == len(CT_RATE_LABELS):
        return CT_RATE_LABELS
    return tuple(f"label {i + 1}" for i in range(size))


def _chosen(wanted: Sequence[str], names: Sequence[str], metric: str) -> list[int]:
    """Indices of the labels that count, in the order of the label set."""
    for name in wanted:
        if name not in names:
            raise BadData(
                f"metric '{metric}': labels: there is no label {name!r}; "
                + (did_you_mean(name, names) or f"there are {', '.join(names)}")
            )
    return [i for i, name in enumerate(names) if not wanted or name in wanted]
