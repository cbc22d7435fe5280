"""Coverage and accuracy: values by hand, identities, and what is left out."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ctfw.scoring.evidence import Evidence
from ctfw.scoring.labels import per_label
from ctfw.scoring.resample import bootstrap
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
    coverage = dict(COVERAGE.score(rows).values)
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
            "subset-accuracy": 2 / 3,
            "jaccard-accuracy": (1 / 3 + 1 + 1) / 3,
            "mention-coverage": float("nan"),
            "mention-coverage-reference": float("nan"),
            "length-ratio": 1.0,
        },
        nan_ok=True,
    )
    assert accuracy.notes[0] == "no reference positive, left out of macro means: label 3"
    assert accuracy.notes[1].startswith("mention coverage is not known")
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
    rows = predictions(reference, generated)
    for notes in (
        ACCURACY.score(rows, CaseTable((), ("Emphysema", "Atelectasis"))).notes,
        ACCURACY.score(rows, label_names=("Emphysema", "Atelectasis")).notes,
    ):
        assert "left out of macro means: Atelectasis" in notes[0]


def test_mentions_and_lengths_are_compared_with_the_reference() -> None:
    def said(*labels: str) -> tuple[Evidence, ...]:
        return tuple(Evidence("x", 0, 1, label, False) for label in labels)

    zeros = np.zeros(2, np.int8)
    rows = [
        Prediction("a", "p", "one two", "one two three four", zeros, zeros, "stop",
                   said("Emphysema"), said("Emphysema", "Atelectasis")),
        Prediction("b", "q", "one", "", zeros, zeros, "stop", said(), said()),
        Prediction("c", "r", "", "one", zeros, zeros, "stop", said(), said("Other")),
    ]  # fmt: skip
    scores = ACCURACY.score(rows, label_names=("Emphysema", "Atelectasis"))
    assert scores.values["mention-coverage"] == pytest.approx((1 / 2 + 0 + 0) / 3)
    assert scores.values["mention-coverage-reference"] == pytest.approx(1 / 3)
    assert scores.values["length-ratio"] == pytest.approx((0.5 + 0) / 2)  # b has no reference
    assert {"length-ratio", "mention-coverage", "positives-generated"} <= scores.without_direction
    assert scores.lower_is_better == {"hallucination-rate"}
    assert len(scores.notes) == 1


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


# scikit-learn 1.9.1 on these rows; macro scores over the labels that have a reference positive
# (labels=[0, 1, 3, 4, 5]), jaccard_score with average="samples", zero_division=1.0.
ROWS = """
000100 100100  100000 001100  000000 000000  000101 001111  100000 000100
010101 111100  010100 111100  000010 010010  000010 000010  010000 011000
000101 100101  010100 011010  000000 011000  010001 011000  000001 100000
"""
BY_SCIKIT_LEARN = {
    "accuracy": 0.7222222222222222,
    "balanced-accuracy": 0.7142857142857142,
    "coverage": 0.7,
    "coverage-macro": 0.6466666666666667,
    "jaccard-accuracy": 0.41,
    "macro-f1": 0.5681318681318681,
    "micro-f1": 0.5283018867924528,
    "precision": 0.42424242424242425,
    "subset-accuracy": 0.13333333333333333,
    "weighted-f1": 0.6486263736263738,
}


def test_scores_equal_those_of_scikit_learn() -> None:
    matrix = np.array([[int(digit) for digit in row] for row in ROWS.split()], np.int8)
    rows = predictions(matrix[::2], matrix[1::2])
    values = {**COVERAGE.score(rows).values, **ACCURACY.score(rows).values}
    assert {name: values[name] for name in BY_SCIKIT_LEARN} == pytest.approx(BY_SCIKIT_LEARN)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 1), st.floats(0, 1))
def test_crg_depends_on_pooled_sensitivity_and_specificity_alone(se: float, sp: float) -> None:
    from ctfw.scoring.labels import crg

    assert crg(np.array(se), np.array(sp)) == pytest.approx(1 / (3 - 2 * (se + sp - 1)))
    assert 0.2 <= crg(np.array(se), np.array(sp)) <= 1
    assert crg(np.array(se), np.array(1 - se)) == pytest.approx(1 / 3)


def test_one_patient_gives_values_without_intervals() -> None:
    rows = [
        Prediction(f"c{i}", "only", "x", "x", labels=z, reference_labels=y)
        for i, (y, z) in enumerate(zip(np.eye(4, dtype=np.int8), np.ones((4, 4), np.int8)))
    ]
    scores = ACCURACY.score(rows)
    assert scores.values["accuracy"] == pytest.approx(1 / 4)
    intervals = bootstrap(scores, ["only"] * 4, 100, 0)
    assert all(np.isnan(low) and np.isnan(high) for low, high in intervals.values())


def test_references_without_a_positive_give_nan_and_the_reason() -> None:
    rows = predictions(np.zeros((3, 2), np.int8), np.array([[1, 0], [0, 0], [0, 0]], np.int8))
    accuracy, coverage = ACCURACY.score(rows), COVERAGE.score(rows)
    undefined = ("macro-f1", "micro-f1", "weighted-f1", "balanced-accuracy", "crg")
    assert all(np.isnan(accuracy.values[name]) for name in undefined)
    assert all(np.isnan(value) for value in coverage.values.values())
    assert accuracy.values["accuracy"] == pytest.approx(5 / 6)
    assert accuracy.values["hallucination-rate"] == 1
    assert "no reference positive, left out of macro means: label 1, label 2" in coverage.notes


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
