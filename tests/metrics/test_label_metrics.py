"""Coverage and accuracy: values by hand, identities, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ctfw.errors import BadData
from ctfw.scoring.labels import macro_f1, per_label
from ctfw.types import CaseTable, Prediction
from ctfw_plugins.metrics.accuracy import Accuracy
from ctfw_plugins.metrics.configs import AccuracyConfig, CoverageConfig
from ctfw_plugins.metrics.coverage import Coverage

ACCURACY, COVERAGE = Accuracy(AccuracyConfig()), Coverage(CoverageConfig())
MATRIX = st.tuples(st.integers(1, 8), st.integers(1, 5)).flatmap(
    lambda shape: st.tuples(*[arrays(np.int8, shape, elements=st.integers(0, 1))] * 2)
)


def predictions(reference: np.ndarray, generated: np.ndarray) -> list[Prediction]:
    return [
        Prediction(f"c{i}", f"p{i}", "x", "x", labels=z, reference_labels=y)
        for i, (y, z) in enumerate(zip(reference, generated, strict=True))
    ]


def test_values_equal_a_count_by_hand() -> None:
    reference = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0]], np.int8)
    generated = np.array([[1, 0, 1], [1, 0, 0], [0, 0, 0]], np.int8)
    rows = predictions(reference, generated)
    coverage = COVERAGE.score(rows).values
    assert coverage == pytest.approx(
        {"coverage": 2 / 3, "coverage-report": (1 / 2 + 1) / 2, "coverage-macro": (1 + 0) / 2}
    )
    accuracy = ACCURACY.score(rows)
    assert accuracy.values == pytest.approx(
        {
            "accuracy": 7 / 9,
            "balanced-accuracy": (2 / 3 + 5 / 6) / 2,
            "specificity": 5 / 6,
            "precision": 2 / 3,
            "micro-f1": 4 / 6,
            "macro-f1": (1 + 0) / 2,
            "weighted-f1": 2 / 3,
            "crg": 1 / (5 - 2 * (2 / 3 + 5 / 6)),
            "hallucination-rate": 1 / 3,
            "positives-generated": 1.0,
            "positives-reference": 1.0,
        }
    )
    assert accuracy.notes == ("no reference positive, left out of macro means: label 3",)
    assert accuracy.per_case["accuracy"] == pytest.approx([1 / 3, 1, 1])


def test_each_label_can_be_looked_up() -> None:
    reference = np.array([[1, 0], [1, 0], [0, 0]], np.int8)
    generated = np.array([[1, 0], [0, 1], [0, 0]], np.int8)
    first, second = per_label(reference, generated, ("Emphysema", "Atelectasis"))
    assert first == {
        "label": "Emphysema",
        "support": 2,
        "generated": 1,
        "coverage": 0.5,
        "precision": 1.0,
        "f1": pytest.approx(2 / 3),
        "specificity": 1.0,
    }
    assert second["support"] == 0
    assert np.isnan(float(second["f1"]))
    table = CaseTable((), ("Emphysema", "Atelectasis"))
    rows = predictions(reference, generated)
    assert [row["label"] for row in ACCURACY.per_label(rows, table)] == list(table.label_names)
    assert "left out of macro means: Atelectasis" in ACCURACY.score(rows, table).notes[0]


def crg_as_published(reference: np.ndarray, generated: np.ndarray) -> float:
    """The score of arXiv 2505.17167 step by step, without the algebra."""
    y, z = reference.astype(bool), generated.astype(bool)
    cells, positives = y.size, int(y.sum())
    weight, best = (cells - positives) / (2 * positives), (cells - positives) / 2
    tp, fn, fp = (y & z).sum(), (y & ~z).sum(), (~y & z).sum()
    return float(best / (2 * best - (weight * tp - weight * fn - fp)))


@settings(max_examples=100, deadline=None)
@given(MATRIX)
def test_crg_equals_its_published_form(pair: tuple[np.ndarray, np.ndarray]) -> None:
    reference, generated = pair
    value = ACCURACY.score(predictions(reference, generated)).values["crg"]
    if 0 < reference.sum() < reference.size:
        assert value == pytest.approx(crg_as_published(reference, generated), abs=1e-12)
    else:
        assert np.isnan(value)


@settings(max_examples=50, deadline=None)
@given(MATRIX)
def test_statistics_reduce_to_the_values(pair: tuple[np.ndarray, np.ndarray]) -> None:
    rows = predictions(*pair)
    for metric in (ACCURACY, COVERAGE):
        scores = metric.score(rows)
        assert scores.statistics is not None
        assert scores.reduce is not None
        sums = np.stack([scores.statistics.sum(0), 3 * scores.statistics.sum(0)])
        for name, value in scores.reduce(sums).items():
            expected = [scores.values[name]] * 2
            assert value == pytest.approx(expected, abs=1e-12, nan_ok=True)
    assert macro_f1(*pair) == pytest.approx(
        ACCURACY.score(rows).values["macro-f1"], abs=1e-12, nan_ok=True
    )


def test_constant_answers_have_crg_one_third_and_the_accuracy_of_prevalence() -> None:
    rng = np.random.default_rng(0)
    reference = (rng.random((40, 18)) < 0.2).astype(np.int8)
    negative = ACCURACY.score(predictions(reference, np.zeros_like(reference))).values
    positive = ACCURACY.score(predictions(reference, np.ones_like(reference))).values
    assert negative["crg"] == pytest.approx(1 / 3)
    assert positive["crg"] == pytest.approx(1 / 3)
    assert negative["accuracy"] == pytest.approx(1 - reference.mean())
    assert negative["macro-f1"] == 0
    assert np.isnan(negative["hallucination-rate"])
    assert COVERAGE.score(predictions(reference, np.ones_like(reference))).values == {
        "coverage": 1.0,
        "coverage-report": 1.0,
        "coverage-macro": 1.0,
    }


def test_missing_or_uneven_labels_are_refused_by_name() -> None:
    bare = [Prediction("scan-7", "p", "text", "text")]
    for metric in (ACCURACY, COVERAGE):
        with pytest.raises(BadData, match="case 'scan-7' has no labels; choose a labeler"):
            metric.score(bare)
        with pytest.raises(BadData, match="no predictions to score"):
            metric.score([])
        uneven = predictions(np.zeros((1, 3), np.int8), np.zeros((1, 4), np.int8))
        with pytest.raises(BadData, match="several sizes"):
            metric.score(uneven)
