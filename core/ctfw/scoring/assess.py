"""From predictions to the numbers that are shown: scores, floors, reliance, per label, per case.

The same for a stage of a run, for an audit, and for `ctfw score` on a file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

import numpy as np

from ctfw.contracts import Labeler, Metric
from ctfw.errors import BadData
from ctfw.scoring.evidence import evidence_of
from ctfw.scoring.facts import fingerprint
from ctfw.scoring.floors import (
    LABEL_FLOORS,
    ORACLES,
    TEXT_FLOORS,
    Floors,
    label_floors,
    score_all,
    text_floors,
)
from ctfw.scoring.labels import per_label
from ctfw.scoring.likelihood import ReferenceNLL, by_finding, by_group, nll_columns, reliance
from ctfw.scoring.memo import Remembering
from ctfw.scoring.resample import Estimate, paired_difference
from ctfw.scoring.row_labels import row_label
from ctfw.scoring.table import Kind, ScoreTable, build_table
from ctfw.types import Case, CaseTable, Prediction, Scores

HEADLINE_SCORE = "macro-f1"


@dataclass(frozen=True)
class Assessment:
    """Everything that is known about one set of predictions.

    swapped     condition ("another", "noise", ...) -> the same model's reports under that image
    gains       condition -> macro-F1 with the own image minus with that one
    likelihood  condition -> NLL per token of the references under it minus under the own image
    groups      the same by group of tokens, see `ctfw.scoring.likelihood.by_group`
    findings    the same by label, see `ctfw.scoring.likelihood.by_finding`
    nll         (N,) likelihoods by case, see `ctfw.scoring.likelihood.nll_columns`
    """

    predictions: list[Prediction]
    swapped: Mapping[str, list[Prediction]]
    scores: Mapping[str, Mapping[str, Scores]]
    table: ScoreTable
    gains: Mapping[str, Estimate]
    likelihood: Mapping[str, Estimate]
    labels: list[dict[str, Any]]
    labeler: str
    groups: Mapping[str, Any] = field(default_factory=dict)
    findings: Sequence[Mapping[str, Any]] = ()
    drawn: Mapping[str, int] = field(default_factory=dict)
    nll: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def another(self) -> list[Prediction]:
        """The reports under another patient's image; empty where there are none."""
        return list(self.swapped.get("another", ()))

    @property
    def grounded_gain(self) -> Estimate | None:
        """The headline: macro-F1 minus macro-F1 under another patient's image."""
        return self.gains.get("another")

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
    *,
    others: Mapping[str, Sequence[Prediction]] | None = None,
    tokens: ReferenceNLL | None = None,
    cases: CaseTable | None = None,
) -> Assessment:
    """Score predictions beside the floors that `train` gives and beside `another` patient's image.

    train    cases of the training split; empty: no text floors, and the table says so
    another  the same model's reports with another patient's image, for the grounded gain
    nll      (N,) per-token NLL of the references under "own" and the other images
    others   the same model's reports under further images, e.g. "noise"
    tokens   NLL of each token of the references; `nll` follows from it where it is not given
    cases    what the data set knows of the predictions' cases, for metrics that ask it

    Reports under other images are brought into the order of `predictions`. Raises BadData where
    they or the likelihoods are not of the same cases.
    """
    labeler = Remembering(labeler) if labeler is not None else None
    made = with_labels(predictions, labeler)
    shown = {"another": another, **(others or {})}
    swapped = {
        name: with_labels(_of_the_same_cases(name, each, made), labeler)
        for name, each in shown.items()
        if len(each)
    }
    patients = [prediction.patient for prediction in made]
    floors = text_floors(list(train), made, labeler, seed) if train else Floors({}, (_NO_TRAIN,))
    if nll is None and tokens is not None:
        nll = {name: tokens.per_case(name) for name in tokens.tokens}
    _check_counts(nll or {}, len(made))
    scores = _scores(made, swapped, floors, metrics, labeler, cases)
    kinds: dict[str, Kind] = {f"{name}-image": "reliance" for name in swapped}
    table = build_table(scores, patients, kinds | dict.fromkeys(ORACLES, "oracle"), resamples, seed)
    return Assessment(
        predictions=made,
        swapped=swapped,
        scores=scores,
        table=replace(table, notes=(*table.notes, *floors.notes)),
        gains=_gains(scores, swapped, patients, resamples, seed),
        likelihood=reliance(nll or {}, patients, resamples, seed),
        labels=_per_label(made, swapped.get("another", []), labeler),
        labeler=labeler.signature if labeler is not None else "",
        groups=by_group(tokens, patients, resamples, seed) if tokens is not None else {},
        findings=by_finding(tokens) if tokens is not None else (),
        drawn={"resamples": resamples, "seed": seed},
        nll=nll_columns(nll or {}, tokens),
    )


_NO_TRAIN = "no text floors: the reports of the training split were not given (--train FILE)"


def _of_the_same_cases(
    name: str, given: Sequence[Prediction], made: Sequence[Prediction]
) -> list[Prediction]:
    """Reports under another image in the order of those under the own one."""
    mine, theirs = "predictions.jsonl", f"predictions.{name}.jsonl"
    own, other = {p.case: p for p in made}, {p.case: p for p in given}
    for whole, of, part, at in ((own, mine, other, theirs), (other, theirs, own, mine)):
        if missing := [case for case in whole if case not in part]:
            raise BadData(
                f"{at} lacks {len(missing)} of the {len(whole)} cases of {of}, the first is "
                f"'{missing[0]}': it was cut, or is of another run. Bring it back from a copy, or "
                f"remove {theirs} to score without that image"
            )
    return [other[p.case] for p in made]


def _check_counts(nll: Mapping[str, np.ndarray], cases: int) -> None:
    for name, values in nll.items():
        if len(values) != cases:
            raise BadData(
                f"per_case.csv has likelihoods (nll-{name}) of {len(values)} cases and "
                f"predictions.jsonl has {cases}: one of them was cut, or is of another run. Bring "
                "it back from a copy, or remove per_case.csv to score without likelihoods"
            )


def _scores(
    made: list[Prediction],
    swapped: Mapping[str, list[Prediction]],
    floors: Floors,
    metrics: Mapping[str, Metric],
    labeler: Labeler | None,
    cases: CaseTable | None,
) -> dict[str, dict[str, Scores]]:
    """Row name -> metric name -> scores, in the order in which they are shown."""
    rows = {"model": made} | {f"{name}-image": each for name, each in swapped.items()}
    made_up = {**floors.rows, **(label_floors(made) if labeler is not None else {})}
    order = (*TEXT_FLOORS, *LABEL_FLOORS, *ORACLES)
    rows |= {name: made_up[name] for name in order if name in made_up}
    signature = labeler.signature if labeler is not None else ""
    names = labeler.names if labeler is not None else ()
    return {
        name: score_all(metrics, row, name in LABEL_FLOORS, signature, names, cases)
        for name, row in rows.items()
    }


def with_labels(predictions: Sequence[Prediction], labeler: Labeler | None) -> list[Prediction]:
    """The predictions with the labels of both texts, from one labeler."""
    if labeler is None or not predictions:
        return list(predictions)
    generated = labeler.label([p.generated for p in predictions])
    reference = labeler.label([p.reference for p in predictions])
    shown = evidence_of(labeler, [p.generated for p in predictions])
    wanted = evidence_of(labeler, [p.reference for p in predictions])
    return [
        replace(p, labels=g, reference_labels=r, evidence=s, reference_evidence=w)
        for p, g, r, s, w in zip(predictions, generated, reference, shown, wanted, strict=True)
    ]


def as_json(assessment: Assessment) -> dict[str, Any]:
    """The part of scores.json that follows from the predictions."""
    table = asdict(assessment.table)
    for row in table["rows"]:
        row["label"] = row_label(row["name"])
    gain = assessment.grounded_gain
    return {
        "cases": len(assessment.predictions),
        "patients": len({p.patient for p in assessment.predictions}),
        "table": table,
        "reliance": {
            "grounded_gain": gain._asdict() if gain else None,
            "gains": {key: value._asdict() for key, value in assessment.gains.items()},
            "likelihood": {key: value._asdict() for key, value in assessment.likelihood.items()},
            "groups": assessment.groups,
            "findings": assessment.findings,
        },
        "labels": assessment.labels,
        "labeler": assessment.labeler,
        "references": fingerprint(assessment.predictions),
        "intervals": {"level": 0.95, "unit": "patient", **assessment.drawn},
    }


def _gains(
    scores: Mapping[str, Mapping[str, Scores]],
    swapped: Mapping[str, Any],
    patients: Sequence[str],
    n: int,
    seed: int,
) -> dict[str, Estimate]:
    """Macro-F1 with the own image minus with each other: what no training loss optimises."""
    metric = next((m for m, own in scores["model"].items() if HEADLINE_SCORE in own.values), None)
    if metric is None:
        return {}
    own = scores["model"][metric]
    return {
        name: paired_difference(
            own, scores[f"{name}-image"][metric], patients, HEADLINE_SCORE, n, seed
        )
        for name in swapped
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
