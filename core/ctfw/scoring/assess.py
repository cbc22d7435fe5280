"""From predictions to the numbers that are shown: scores, floors, reliance, per label, per case.

The same for a stage of a run and for `ctfw score` on a file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ctfw.contracts import Labeler, Metric
from ctfw.scoring.floors import label_floors, score_all, text_floors
from ctfw.scoring.labels import per_label
from ctfw.scoring.resample import Estimate, mean_interval, paired_difference
from ctfw.scoring.table import ScoreTable, build_table
from ctfw.types import Case, Prediction, Scores

ROW_LABELS = {
    "model": "this model",
    "another-image": "this model, another patient's image",
    "constant": "best constant report",
    "frequent": "most frequent report",
    "random": "random training report",
    "all-negative": "all labels negative",
    "all-positive": "all labels positive",
}
HEADLINE_SCORE = "macro-f1"


@dataclass(frozen=True)
class Assessment:
    """Everything that is known about one set of predictions.

    likelihood  "another", "noise", "blank" -> NLL per token under it minus under the own image
    """

    predictions: list[Prediction]
    another: list[Prediction]
    scores: Mapping[str, Mapping[str, Scores]]
    table: ScoreTable
    grounded_gain: Estimate | None
    likelihood: Mapping[str, Estimate]
    labels: list[dict[str, Any]]
    labeler: str

    def value(self, column: str, row: str = "model") -> float:
        """A number of the table; NaN where there is none."""
        return self.table.row(row).cell(column).value


def assess(
    predictions: Sequence[Prediction],
    metrics: Mapping[str, Metric],
    labeler: Labeler | None,
    train: Sequence[Case] = (),
    another: Sequence[Prediction] = (),
    nll: Mapping[str, np.ndarray] | None = None,
    resamples: int = 2000,
    seed: int = 0,
) -> Assessment:
    """Score predictions beside the floors that `train` gives and beside `another` patient's image.

    train    cases of the training split; empty: no text floors, and the table says so
    another  the same model's reports with another patient's image, for the grounded gain
    nll      (N,) per-token NLL of the references under "own" and the other images
    """
    made = with_labels(predictions, labeler)
    swapped = with_labels(another, labeler)
    patients = [prediction.patient for prediction in made]
    rows: dict[str, list[Prediction]] = {"model": made}
    if swapped:
        rows["another-image"] = swapped
    if train:
        rows |= text_floors(list(train), made, labeler, seed)
    signature = labeler.signature if labeler is not None else ""
    names = labeler.names if labeler is not None else ()
    scores = {name: score_all(metrics, row, False, signature, names) for name, row in rows.items()}
    if labeler is not None:
        scores |= {
            name: score_all(metrics, row, True, signature, names)
            for name, row in label_floors(made).items()
        }
    table = build_table(scores, patients, {"another-image": "reliance"}, resamples, seed)
    if not train:
        note = "no text floors: the reports of the training split were not given"
        table = replace(table, notes=(*table.notes, note))
    return Assessment(
        predictions=made,
        another=swapped,
        scores=scores,
        table=table,
        grounded_gain=_gain(scores, patients, resamples, seed),
        likelihood=_likelihood(nll or {}, patients, resamples, seed),
        labels=_per_label(made, swapped, labeler),
        labeler=signature,
    )


def with_labels(predictions: Sequence[Prediction], labeler: Labeler | None) -> list[Prediction]:
    """The predictions with the labels of both texts, from one labeler."""
    if labeler is None or not predictions:
        return list(predictions)
    generated = labeler.label([p.generated for p in predictions])
    reference = labeler.label([p.reference for p in predictions])
    return [
        replace(p, labels=g, reference_labels=r)
        for p, g, r in zip(predictions, generated, reference, strict=True)
    ]


def as_json(assessment: Assessment) -> dict[str, Any]:
    """The part of scores.json that follows from the predictions."""
    table = asdict(assessment.table)
    for row in table["rows"]:
        row["label"] = ROW_LABELS.get(row["name"], row["name"])
    gain = assessment.grounded_gain
    return {
        "cases": len(assessment.predictions),
        "patients": len({p.patient for p in assessment.predictions}),
        "table": table,
        "reliance": {
            "grounded_gain": gain._asdict() if gain else None,
            "likelihood": {key: value._asdict() for key, value in assessment.likelihood.items()},
        },
        "labels": assessment.labels,
        "labeler": assessment.labeler,
    }


def per_case_csv(assessment: Assessment, nll: Mapping[str, np.ndarray] | None = None) -> str:
    """One row per case: what each metric says of it, and the likelihoods."""
    columns: dict[str, Any] = {
        "case": [p.case for p in assessment.predictions],
        "patient": [p.patient for p in assessment.predictions],
        "finish": [p.finish for p in assessment.predictions],
    }
    for scores in assessment.scores["model"].values():
        columns |= {name: np.round(values, 6) for name, values in scores.per_case.items()}
    for name, values in (nll or {}).items():
        columns[f"nll-{name}"] = np.round(values, 6)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def generation_facts(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """How many reports were cut, empty or alike: a model that ignores its image repeats itself."""
    texts = [prediction.generated for prediction in predictions]
    return {
        "of": len(texts),
        "truncated": sum(p.finish == "length" for p in predictions),
        "missing": sum(p.finish == "missing" for p in predictions),
        "empty": sum(not text.strip() for text in texts),
        "distinct": len(set(texts)),
        "empty_references": sum(not p.reference.strip() for p in predictions),
    }


def _gain(
    scores: Mapping[str, Mapping[str, Scores]], patients: Sequence[str], n: int, seed: int
) -> Estimate | None:
    """Macro-F1 with the own image minus with another patient's: what no training loss optimises."""
    if "another-image" not in scores:
        return None
    for metric, own in scores["model"].items():
        if HEADLINE_SCORE in own.values:
            other = scores["another-image"][metric]
            return paired_difference(own, other, patients, HEADLINE_SCORE, n, seed)
    return None


def _likelihood(
    nll: Mapping[str, np.ndarray], patients: Sequence[str], n: int, seed: int
) -> dict[str, Estimate]:
    return {
        name: mean_interval(values - nll["own"], patients, n, seed)
        for name, values in nll.items()
        if name != "own"
    }


def _per_label(
    made: Sequence[Prediction], swapped: Sequence[Prediction], labeler: Labeler | None
) -> list[dict[str, Any]]:
    if labeler is None or not made:
        return []
    names = list(labeler.names)
    own = per_label(*_matrices(made), names)
    if swapped:
        for row, other in zip(own, per_label(*_matrices(swapped), names), strict=True):
            row |= {"coverage_another": other["coverage"], "f1_another": other["f1"]}
    return [{"name": row.pop("label"), **row} for row in own]


def _matrices(predictions: Sequence[Prediction]) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.stack([np.asarray(p.reference_labels) for p in predictions]),
        np.stack([np.asarray(p.labels) for p in predictions]),
    )
