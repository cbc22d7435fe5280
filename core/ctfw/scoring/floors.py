"""Floors: predictions that no image made, scored by the same metrics as a model.

One constant report of the training split reaches the BLEU-4 that published systems report, so a
score means nothing without the floor beside it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ctfw.contracts import Labeler, Metric
from ctfw.errors import BadData
from ctfw.scoring.evidence import evidence_of
from ctfw.scoring.ngrams import NgramTable, bleu
from ctfw.scoring.tokens import tokenise
from ctfw.seed import stream
from ctfw.types import Case, CaseTable, Prediction, Scores

TEXT_FLOORS = ("constant", "frequent", "random")
LABEL_FLOORS = ("all-negative", "all-positive", "label-prior")
ORACLES = ("nearest",)
"""Rows that are told the test labels: beside the floors, and not to be beaten."""


@dataclass(frozen=True)
class Floors:
    """Row name -> predictions in the place of the model's, and how they were made in words."""

    rows: Mapping[str, list[Prediction]]
    notes: tuple[str, ...] = ()


def text_floors(
    train: Sequence[Case],
    predictions: Sequence[Prediction],
    labeler: Labeler | None = None,
    seed: int = 0,
    sample: int = 120,
    labelled: int = 2000,
) -> Floors:
    """Predictions made of training reports, beside the references of `predictions`.

    constant     the training report with the best BLEU-4 against others of the training split;
                 `sample` candidates, each against a second draw of `sample` reports
    frequent     the report that occurs most often in the training split
    random       for each test case a training report drawn with `seed`
    nearest      for each test case the training report whose labels are nearest to the
                 reference's, in the number of labels that differ; the more frequent report where
                 several are. It is told the test labels: an oracle, no floor
    label-prior  each label drawn with its share in the training split; labels only

    Labels come from `labeler`, or from the training cases where it is None; the last two are made
    from `labelled` reports at most, and only where both sides have labels. Raises BadData when
    the training split has no report.
    """
    pool = [case for case in train if case.report.strip()]
    if not pool:
        raise BadData("the training split has no report to make floors from")
    rng = np.random.default_rng(seed)
    constant = pool[_best_constant([case.report for case in pool], rng, sample)]
    counts = Counter(case.report for case in pool)
    frequent = max(pool, key=lambda case: counts[case.report])  # the first of the most frequent
    chosen = {
        "constant": [constant] * len(predictions),
        "frequent": [frequent] * len(predictions),
        "random": [pool[i] for i in rng.integers(len(pool), size=len(predictions))],
    }
    tried = min(sample, len(pool))
    notes = [
        f"best constant report: the best of {tried} training reports against {tried}, of "
        f"{len(pool)}, seed {seed}",
        f"most frequent report: {counts[frequent.report]} times among {len(pool)}",
    ]
    some = _sampled(pool, labelled, seed)
    labels = _labels(some, labeler)
    if labels is None or not _comparable(labels, predictions):
        rows = {key: _as_predictions(each, predictions, labeler) for key, each in chosen.items()}
        return Floors(rows, tuple(notes))
    chosen["nearest"] = _nearest(some, labels, counts, predictions)
    rows = {key: _as_predictions(each, predictions, labeler) for key, each in chosen.items()}
    rows["label-prior"] = _prior(labels, predictions, seed)
    notes.append(
        f"nearest training report and label prior: from {len(some)} of {len(pool)} training "
        f"reports, seed {seed}; the first is an oracle: it is told the labels of the test case"
    )
    return Floors(rows, tuple(notes))


def label_floors(predictions: Sequence[Prediction]) -> dict[str, list[Prediction]]:
    """All labels negative and all positive. They have labels only: text metrics are undefined."""
    rows = [p for p in predictions if p.reference_labels is not None]
    return {
        name: [_labels_only(p, np.full_like(np.asarray(p.reference_labels), value)) for p in rows]
        for value, name in enumerate(LABEL_FLOORS[:2])
    }


def score_all(
    metrics: Mapping[str, Metric],
    predictions: Sequence[Prediction],
    labels_only: bool = False,
    labeler: str = "",
    label_names: Sequence[str] = (),
    cases: CaseTable | None = None,
) -> dict[str, Scores]:
    """Scores by metric; a row that has labels only is left out of the text metrics.

    `labeler` is the signature of what made the labels: it joins the protocol of the metrics that
    read them, because another labeler gives other numbers.
    """
    scored: dict[str, Scores] = {}
    for name, metric in metrics.items():
        if metric.needs_labels or not labels_only:
            scores = metric.score(predictions, cases, label_names)
            if labeler and metric.needs_labels:
                scores = replace(scores, protocol=f"{scores.protocol}|{labeler}")
            scored[name] = scores
    return scored


def _sampled(pool: Sequence[Case], most: int, seed: int) -> list[Case]:
    """At most so many of the pool, in its order."""
    if len(pool) <= most:
        return list(pool)
    chosen = stream(seed, "floors").choice(len(pool), most, replace=False)
    return [pool[i] for i in np.sort(chosen)]


def _labels(cases: Sequence[Case], labeler: Labeler | None) -> np.ndarray | None:
    """(N, L) labels of the cases' reports; None where they have none."""
    if labeler is not None:
        return np.asarray(labeler.label([case.report for case in cases]))
    if any(case.labels is None for case in cases):
        return None
    return np.stack([np.asarray(case.labels) for case in cases])


def _comparable(labels: np.ndarray, predictions: Sequence[Prediction]) -> bool:
    return bool(predictions) and all(
        p.reference_labels is not None and len(p.reference_labels) == labels.shape[1]
        for p in predictions
    )


def _nearest(
    cases: Sequence[Case],
    labels: np.ndarray,
    counts: Mapping[str, int],
    predictions: Sequence[Prediction],
) -> list[Case]:
    """For each prediction the case whose labels differ in the fewest places."""
    order = sorted(range(len(cases)), key=lambda i: (-counts[cases[i].report], i))
    ranked = labels[order].astype(bool)
    found: dict[bytes, Case] = {}
    chosen = []
    for prediction in predictions:
        wanted = np.asarray(prediction.reference_labels).astype(bool)
        key = wanted.tobytes()
        if key not in found:  # argmin takes the first, which is the most frequent
            found[key] = cases[order[int((ranked != wanted).sum(1).argmin())]]
        chosen.append(found[key])
    return chosen


def _prior(labels: np.ndarray, predictions: Sequence[Prediction], seed: int) -> list[Prediction]:
    """Each label present by chance, with its share among the training reports."""
    drawn = stream(seed, "label-prior").random((len(predictions), labels.shape[1]))
    rows = (drawn < labels.mean(0)).astype(np.int8)
    return [_labels_only(p, row) for p, row in zip(predictions, rows, strict=True)]


def _labels_only(prediction: Prediction, labels: np.ndarray) -> Prediction:
    return replace(prediction, generated="", finish="stop", labels=labels, evidence=None)


def _best_constant(reports: Sequence[str], rng: np.random.Generator, sample: int) -> int:
    """Index of the report that works best as everyone's report, by corpus BLEU-4 (r2gen)."""
    candidates = rng.permutation(len(reports))[:sample]
    against = rng.permutation(len(reports))[:sample]
    table = NgramTable(tokenise([reports[i] for i in (*candidates, *against)], "r2gen"), 4)
    first = len(candidates)
    matches = np.stack([_matches(table, k, first) for k in range(4)], axis=1)
    length = table.lengths[:first, None].astype(float)
    guesses = np.maximum(length - np.arange(4), 0) * len(against)
    references = np.full((first, 1), table.lengths[first:].sum(), float)
    sums = np.concatenate([matches, guesses, length * len(against), references], axis=1)
    return int(candidates[int(np.argmax(bleu(sums)[:, 3]))])


def _matches(table: NgramTable, k: int, first: int) -> np.ndarray:
    """(first,) clipped matches of order k + 1 of each leading list with all later lists."""
    docs, counts = table.docs[k], table.counts[k]
    codes = np.unique(table.codes[k], return_inverse=True)[1]
    later = docs >= first
    ref_codes, ref_counts = codes[later], counts[later]
    result = np.zeros(first)
    held = np.zeros(codes.max(initial=0) + 1, np.int64)
    for i in range(first):
        own = slice(*np.searchsorted(docs, [i, i + 1]))
        held[codes[own]] = counts[own]
        result[i] = np.minimum(held[ref_codes], ref_counts).sum()
        held[codes[own]] = 0
    return result


def _as_predictions(
    cases: Sequence[Case], predictions: Sequence[Prediction], labeler: Labeler | None
) -> list[Prediction]:
    """The cases' reports in the place of the generated ones."""
    labels: Sequence[np.ndarray | None]
    if labeler is not None:
        labels = list(labeler.label([case.report for case in cases]))
    else:
        labels = [case.labels for case in cases]
    shown = evidence_of(labeler, [case.report for case in cases])
    return [
        replace(prediction, generated=case.report, finish="stop", labels=row, evidence=said)
        for case, prediction, row, said in zip(cases, predictions, labels, shown, strict=True)
    ]
