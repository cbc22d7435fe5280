"""Runs, and files of other systems, as predictions that are scored again without any model."""

from __future__ import annotations

import csv
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.contracts import Labeler, Metric
from ctfw.errors import UserError
from ctfw.plugins import Plugins
from ctfw.runs.compare import GAIN, GAIN_WORDS, RELIANCE, RELIANCE_PROTOCOL
from ctfw.runs.files import read_json
from ctfw.runs.scorers import Scorer, run_cases, run_labeler, run_metrics, words_of
from ctfw.scoring.assess import with_labels
from ctfw.scoring.cells import unguarded
from ctfw.scoring.columns import column_names
from ctfw.scoring.derive import difference, renamed
from ctfw.scoring.floors import score_all
from ctfw.scoring.predictions import read_predictions
from ctfw.types import CaseTable, Prediction, Scores

_F1 = "macro-f1"


@dataclass(frozen=True)
class Labels:
    """Names of the labels, and the signature of what set them; both empty: there are none."""

    names: tuple[str, ...] = ()
    signature: str = ""


@dataclass(frozen=True)
class Source:
    """Predictions of a run or a file by case, with what scores them.

    another   the same model's reports with another patient's image; empty where there are none
    per_case  name -> case -> number, as the run wrote them: likelihoods, and scores of metrics
              that need a model, which are not computed again
    recorded  name -> (protocol, whether higher is better) of the numbers in `per_case` that are
              averaged to a score
    table     name -> score on all cases, as the run wrote it
    problems  why a metric cannot score here, in words; grows while scoring
    damage    why numbers that the run wrote cannot be used, in words; empty where they can
    dataset   the cases of the split, with the data set's own labels
    """

    path: Path
    predictions: Mapping[str, Prediction]
    metrics: Mapping[str, Metric]
    labels: Labels
    another: Mapping[str, Prediction] = field(default_factory=dict)
    per_case: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    recorded: Mapping[str, tuple[str, bool]] = field(default_factory=dict)
    table: Mapping[str, float] = field(default_factory=dict)
    problems: dict[str, None] = field(default_factory=dict)
    damage: str = ""
    dataset: Callable[[], CaseTable] | None = None

    def scores(self, cases: Sequence[str]) -> dict[str, Scores]:
        """Name of a value -> scores on these cases, in their order."""
        recorded = self._recorded(cases)
        own = self._scored([self.predictions[case] for case in cases])
        names = column_names({"own": own})
        found = {
            names[metric, value]: renamed(scores, value, names[metric, value])
            for metric, scores in own.items()
            for value, number in scores.values.items()
            if not (math.isnan(number) and names[metric, value] in recorded)
        }
        metric = next((metric for metric, scores in own.items() if _F1 in scores.values), None)
        if metric is not None and all(case in self.another for case in cases):
            other = self._scored([self.another[case] for case in cases])[metric]
            found[GAIN] = difference(own[metric], other, _F1, GAIN, GAIN_WORDS)
        return recorded | found

    def disagrees(self, name: str, scores: Scores) -> str:
        """How a score on all cases differs from what the run wrote; empty where it does not."""
        wrote, found = self.table.get(name, math.nan), scores.values[name]
        if math.isnan(wrote) or abs(wrote - found) < 1e-5:
            return ""
        return f"{name} was {wrote:.4f} in the run and is {found:.4f} when its reports are scored"

    def _scored(self, predictions: Sequence[Prediction]) -> dict[str, Scores]:
        """Scores by metric; one that cannot score these is left out, with the reason."""
        found: dict[str, Scores] = {}
        for name, metric in self.metrics.items():
            try:
                found |= self._one(name, metric, predictions)
            except UserError as error:
                self.problems.setdefault(words_of(error), None)
        return found

    def _one(
        self, name: str, metric: Metric, predictions: Sequence[Prediction]
    ) -> dict[str, Scores]:
        """One metric's scores; the data set is read only where the metric fails without it."""
        signed = (False, self.labels.signature, self.labels.names)
        try:
            return score_all({name: metric}, predictions, *signed)
        except UserError as error:
            if self.dataset is None:
                raise
            try:
                cases = self.dataset()
            except UserError as gone:
                raise UserError(f"{error} (the run's data set: {words_of(gone)})") from error
            return score_all({name: metric}, predictions, *signed, cases)

    def _recorded(self, cases: Sequence[str]) -> dict[str, Scores]:
        """Scores that are means of numbers which the run wrote for each of these cases.

        A score that lacks the row of a case is left out: a mean over the rest would be another.
        """
        found = {
            name: _mean(name, [self.per_case[name][case] for case in cases], *how)
            for name, how in self.recorded.items()
            if all(case in self.per_case[name] for case in cases)
        }
        own, other = (self.per_case.get(f"nll-{image}", {}) for image in ("own", "another"))
        if all(case in own and case in other for case in cases):
            more = [other[case] - own[case] for case in cases]
            found[RELIANCE] = _mean(RELIANCE, more, RELIANCE_PROTOCOL, True)
        return found


def read_run(stage: Path, plugins: Plugins, scorer: Scorer | None = None) -> Source:
    """The predictions of a report stage, with its own metrics and labels, or those of `scorer`.

    Raises UserError where the folder lacks what is needed.
    """
    labeler = scorer.labeler if scorer is not None else None
    metrics, problems = run_metrics(stage, plugins) if scorer is None else (scorer.metrics, ())
    facts = read_json(stage / "scores.json") if (stage / "scores.json").is_file() else {}
    names = tuple(str(row["name"]) for row in facts.get("labels") or ())
    labels = Labels(names, str(facts.get("labeler") or ""))
    if labeler is None and not (labels.names and labels.signature):
        labeler = run_labeler(stage, plugins)
    if labeler is not None:
        labels = Labels(tuple(labeler.names), labeler.signature)

    def predictions(name: str) -> dict[str, Prediction]:
        file = stage / name
        made = read_predictions(file, None, None, names or labels.names) if file.is_file() else []
        return _by_case(made, labeler)

    made = predictions("predictions.jsonl")
    per_case = read_per_case(stage / "per_case.csv")
    return Source(
        stage,
        made,
        metrics,
        labels,
        predictions("predictions.another.jsonl"),
        per_case,
        _recorded_means(facts, per_case),
        (_table(facts) if scorer is None else {}) | _written_reliance(facts),
        dict.fromkeys(problems),
        _damage(stage / "per_case.csv", per_case, list(made)),
        lambda: run_cases(stage, plugins),
    )


def read_file(
    path: Path, columns: Mapping[str, str], scorer: Scorer, references: CaseTable | None = None
) -> Source:
    """Predictions of any system; its own labels are not used, so that all are labelled alike.

    references  the texts of a file that has none, see `read_predictions`
    """
    made = _by_case(read_predictions(path, columns, references, None), scorer.labeler)
    labels = Labels(tuple(scorer.labeler.names), scorer.labeler.signature)
    return Source(path, made, scorer.metrics, labels, problems=dict.fromkeys(scorer.problems))


def read_per_case(file: Path) -> dict[str, dict[str, float]]:
    """Column -> case -> number of a per_case.csv; columns that hold words are left out.

    A case whose row ends before a column is not in that column.
    """
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    found: dict[str, dict[str, float]] = {}
    for name in rows[0] if rows else ():
        try:
            found[name] = {
                unguarded(row["case"]): float(row[name] or "nan")
                for row in rows
                if row[name] is not None
            }
        except ValueError:
            continue
    return found


def _damage(file: Path, per_case: Mapping[str, Mapping[str, float]], cases: Sequence[str]) -> str:
    """How many cases have no whole row in the file that has one for each; empty where all have."""
    if not file.is_file():
        return ""
    columns = per_case.values()
    short = [c for c in cases if not columns or any(c not in column for column in columns)]
    if not short:
        return ""
    return (
        f"{file} has no whole row for {len(short)} of {len(cases)} cases, the first is "
        f"'{short[0]}': it was cut, so what it holds is not compared; copy the run again"
    )


def _by_case(made: Sequence[Prediction], labeler: Labeler | None) -> dict[str, Prediction]:
    return {p.case: p for p in with_labels(made, labeler)}


def _recorded_means(
    facts: Mapping[str, Any], per_case: Mapping[str, Mapping[str, float]]
) -> dict[str, tuple[str, bool]]:
    """Scores of the run that are the mean of their cases: name -> (protocol, higher is better)."""
    found, wrote = {}, _table(facts)
    for column in (facts.get("table") or {}).get("columns", ()):
        name = column["name"]
        value = wrote.get(name)
        numbers = [x for x in per_case.get(name, {}).values() if not math.isnan(x)]
        # Six digits are kept per case, so the mean may differ from the score in the sixth. Where
        # all cases are alike, a score of the whole corpus would pass for a mean.
        close = value is not None and numbers and abs(float(np.mean(numbers)) - value) < 1e-5
        if close and len(set(numbers)) > 1:
            found[name] = (column["protocol"], column["higher_is_better"] is not False)
    return found


def _table(facts: Mapping[str, Any]) -> dict[str, float]:
    """Name -> score of the model, as the run wrote it; undefined ones are left out."""
    rows = (facts.get("table") or {}).get("rows", ())
    model: Mapping[str, Any] = next((row for row in rows if row["kind"] == "model"), {})
    cells = {name: cell.get("value") for name, cell in (model.get("values") or {}).items()}
    return {name: value for name, value in cells.items() if value is not None}


def _written_reliance(facts: Mapping[str, Any]) -> dict[str, float]:
    """The likelihood reliance as the run wrote it: no choice of metrics or labeler changes it."""
    likelihood = (facts.get("reliance") or {}).get("likelihood") or {}
    value = (likelihood.get("another") or {}).get("value")
    return {} if value is None else {RELIANCE: float(value)}


def _mean(name: str, numbers: Sequence[float], protocol: str, higher: bool) -> Scores:
    column = np.asarray(numbers, float)
    value = float(np.nanmean(column)) if not np.isnan(column).all() else math.nan
    lower = frozenset() if higher else frozenset({name})
    return Scores({name: value}, protocol, {name: column}, lower_is_better=lower)
