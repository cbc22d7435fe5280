"""What label metrics refuse, and whose word they take for the reference."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctfw.contracts import Metric
from ctfw.errors import BadData
from ctfw.labels import CT_RATE_LABELS
from ctfw.types import Case, CaseTable, Prediction
from ctfw_plugins.metrics.accuracy import Accuracy
from ctfw_plugins.metrics.configs import (
    AccuracyConfig,
    CoverageBySizeConfig,
    CoverageConfig,
)
from ctfw_plugins.metrics.coverage import Coverage
from ctfw_plugins.metrics.coverage_by_size import CoverageBySize

NAMES = ("Emphysema", "Atelectasis")
METRICS: list[Metric] = [
    Accuracy(AccuracyConfig()),
    Coverage(CoverageConfig()),
    CoverageBySize(CoverageBySizeConfig()),
]
FROM_DATASET = Coverage(CoverageConfig(reference="dataset"))


def prediction(case: str, labels: Any, reference: Any) -> Prediction:
    return Prediction(
        case, case, "x", "x", labels=np.array(labels), reference_labels=np.array(reference)
    )


def table(names: Sequence[str] = NAMES, **labels: Any) -> CaseTable:
    return CaseTable(
        tuple(Case(id, id, Path(id), "x", labels=row) for id, row in labels.items()), tuple(names)
    )


@pytest.mark.parametrize("metric", METRICS)
def test_missing_labels_are_named(metric: Any) -> None:
    with pytest.raises(BadData, match=r"case 'scan-7' has no generated labels; choose a labeler"):
        metric.score([Prediction("scan-7", "p", "text", "text")])
    with pytest.raises(BadData, match="no predictions to score"):
        metric.score([])
    half = Prediction("scan-8", "p", "text", "text", labels=np.zeros(2, np.int8))
    with pytest.raises(BadData, match=r"case 'scan-8' has no reference labels"):
        metric.score([half])


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("value", "word"), [(np.nan, "nan"), (-1, "-1"), (2, "2"), (0.5, "0.5")])
def test_values_that_are_no_label_are_named(metric: Any, value: float, word: str) -> None:
    good = prediction("a", [0, 1], [1, 0])
    with pytest.raises(
        BadData,
        match=rf"1 generated label values are neither 0 nor 1; the first is {word}, 'Atelectasis' "
        r"of case 'b'.*blank \(NaN\) and uncertain \(-1\)",
    ):
        metric.score([good, prediction("b", [0, value], [0, 0])], label_names=NAMES)
    with pytest.raises(BadData, match=rf"2 reference label values .* is {word}, 'label 1' of case"):
        metric.score([good, prediction("b", [0, 0], [value, value])])


@pytest.mark.parametrize("metric", METRICS)
def test_vectors_of_another_size_are_refused(metric: Any) -> None:
    with pytest.raises(BadData, match="generated label vectors of several sizes: 2, 3"):
        metric.score([prediction("a", [0, 1], [0, 1]), prediction("b", [0, 1, 0], [0, 1, 0])])
    with pytest.raises(BadData, match="3 labels of the generated report against 2"):
        metric.score([prediction("a", [0, 1, 0], [0, 1])])
    with pytest.raises(BadData, match="vectors have 2 values, but the labeler has 18 labels"):
        metric.score([prediction("a", [0, 1], [0, 1])], label_names=CT_RATE_LABELS)


def test_data_set_labels_take_the_place_of_the_reference_text() -> None:
    rows = [prediction("a", [1, 0], [1, 0]), prediction("b", [0, 0], [0, 0])]
    cases = table(a=np.array([1, 0]), b=np.array([1, 1]))
    by_text = METRICS[1].score(rows, cases, NAMES)
    by_data = FROM_DATASET.score(rows, cases, NAMES)
    assert by_text.values["coverage"] == 1
    assert by_data.values["coverage"] == pytest.approx(1 / 3)
    assert by_text.protocol == "recall|2 labels|reference:text"
    assert by_data.protocol == "recall|2 labels|reference:dataset"


@pytest.mark.parametrize(
    ("cases", "words"),
    [
        (None, "reference: dataset needs the labels of a data set"),
        (table(b=np.array([1, 0])), "the data set has no case 'a'"),
        (table(a=None), "case 'a' has no data set's labels"),
        (table(NAMES[::-1], a=np.array([1, 0])), "not the same: the order differs"),
        (table(("Emphysema", "Edema"), a=np.array([1, 0])), "not in both: Atelectasis, Edema"),
        (
            table(CT_RATE_LABELS, a=np.zeros(18)),
            "the data set has 18 labels and the labeler 2, which are not the same: not in both",
        ),
        (table(a=np.array([-1.0, 0])), "data set's label values .* is -1, 'Emphysema' of case 'a'"),
    ],
)
def test_data_set_labels_that_do_not_fit_are_refused_in_words(
    cases: CaseTable | None, words: str
) -> None:
    with pytest.raises(BadData, match=words):
        FROM_DATASET.score([prediction("a", [1, 0], [1, 0])], cases, NAMES)


def test_a_subset_of_the_labels_can_be_scored() -> None:
    rows = [prediction("a", [1, 0], [1, 1]), prediction("b", [1, 1], [0, 1])]
    one = Accuracy(AccuracyConfig(labels=("Atelectasis",))).score(rows, label_names=NAMES)
    assert one.values["accuracy"] == pytest.approx(1 / 2)
    assert one.protocol.startswith("pooled cells|1 of 2 labels|")
    with pytest.raises(BadData, match="no label 'Atelectases'; did you mean 'Atelectasis'"):
        Accuracy(AccuracyConfig(labels=("Atelectases",))).score(rows, label_names=NAMES)
