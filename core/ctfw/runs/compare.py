"""Runs side by side: what their recipes differ in, and what came out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ctfw.errors import UserError
from ctfw.recipe.load import read
from ctfw.runs.directory import RunDirectory
from ctfw.runs.files import read_json

SCORES = ("bleu-1", "bleu-4", "rouge-l", "coverage", "accuracy", "macro-f1")
SEED = "seed"
IGNORED = ("name", "summary")


@dataclass(frozen=True)
class Outcome:
    """One run: flat settings, scores with intervals, and where it lies.

    scores  column -> (value, low, high); None where undefined
    """

    path: Path
    name: str
    state: str
    settings: Mapping[str, Any]
    scores: Mapping[str, tuple[float | None, float | None, float | None]]
    synthetic: bool


def read_outcome(path: Path) -> Outcome:
    """The settings and scores of a run, or of one stage of it; there may be no scores yet.

    Raises UserError.
    """
    run = RunDirectory.open(newest(path))
    plain = read(run.path / "resolved.yaml")[0].plain()
    scores: dict[str, tuple[float | None, float | None, float | None]] = {}
    synthetic = bool(plain.get("synthetic"))
    stage = path.name if is_stage(path) else "*"
    for file in sorted(run.path.glob(f"stages/{stage}/scores.json")):
        scores |= _scores(read_json(file))
    settings = {key: value for key, value in flat(plain) if key not in IGNORED}
    return Outcome(
        run.path, plain["name"], run.status.get("state", ""), settings, scores, synthetic
    )


def newest(path: Path) -> Path:
    """`path`, the run of a stage, or the newest run below it when it is a recipe's folder."""
    if (path / "resolved.yaml").is_file():
        return path
    if is_stage(path):
        return path.resolve().parent.parent
    inside = sorted(p.parent for p in path.glob("*/resolved.yaml"))
    if not inside:
        below = " (its folders hold runs: name them, e.g. runs/*/*)" if _holds_runs(path) else ""
        raise UserError(f"{path} is neither a run nor the folder of a recipe's runs{below}")
    return inside[-1]


def is_stage(path: Path) -> bool:
    """Whether it is the folder of a stage that wrote predictions."""
    inside = path.resolve()
    return (inside / "predictions.jsonl").is_file() and (
        inside.parent.parent / "resolved.yaml"
    ).is_file()


def report_stage(path: Path) -> Path | None:
    """The stage with the predictions of a run; None where there are none yet.

    Raises UserError when several stages have some.
    """
    if is_stage(path):
        return path.resolve()
    found = sorted(file.parent for file in newest(path).glob("stages/*/predictions.jsonl"))
    if len(found) > 1:
        names = ", ".join(str(stage) for stage in found)
        raise UserError(f"{path} has predictions of several stages; name one of {names}")
    return found[0] if found else None


def _holds_runs(path: Path) -> bool:
    return any(path.glob("*/*/resolved.yaml"))


def differing(outcomes: Sequence[Outcome]) -> list[str]:
    """Dotted settings in which the runs are not all alike, in the order of the recipes."""
    keys = list(dict.fromkeys(key for outcome in outcomes for key in outcome.settings))
    absent = object()
    found = []
    for key in keys:
        values = [outcome.settings.get(key, absent) for outcome in outcomes]
        if any(value != values[0] for value in values[1:]):
            found.append(key)
    return found


@dataclass(frozen=True)
class Group:
    """Runs that differ in the seed alone."""

    settings: Mapping[str, Any]
    members: tuple[Outcome, ...]

    def mean(self, column: str) -> tuple[float, float] | None:
        """(mean, standard deviation over seeds), or None where a member has no value."""
        values = [member.scores.get(column, (None,))[0] for member in self.members]
        known = [value for value in values if value is not None]
        if len(known) != len(values):
            return None
        return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else 0.0


def by_seed(outcomes: Sequence[Outcome]) -> list[Group]:
    """Groups of runs whose recipes differ in the seed alone; of one seed the last run counts."""
    keys = [key for key in differing(outcomes) if key != SEED]
    groups: dict[str, dict[Any, Outcome]] = {}
    for outcome in outcomes:
        identity = repr([outcome.settings.get(key) for key in keys])
        groups.setdefault(identity, {})[outcome.settings.get(SEED)] = outcome
    found = [tuple(members.values()) for members in groups.values()]
    return [Group({key: m[0].settings.get(key) for key in keys}, m) for m in found]


def columns(outcomes: Sequence[Outcome]) -> list[str]:
    """Scores to show, in a fixed order, that at least one run has."""
    order = (*SCORES, "grounded-gain", "likelihood-reliance")
    return [name for name in order if any(name in outcome.scores for outcome in outcomes)]


def flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """(dotted path, scalar) of nested settings; list items by index."""
    if isinstance(value, dict):
        return [x for k, v in value.items() for x in flat(v, f"{path}.{k}" if path else str(k))]
    if isinstance(value, list):
        return [x for i, v in enumerate(value) for x in flat(v, f"{path}.{i}")]
    return [(path, value)]


def _scores(facts: Mapping[str, Any]) -> dict[str, tuple[Any, Any, Any]]:
    model = next(row for row in facts["table"]["rows"] if row["kind"] == "model")
    found = {
        name: (cell["value"], cell["low"], cell["high"]) for name, cell in model["values"].items()
    }
    reliance = facts.get("reliance") or {}
    if gain := reliance.get("grounded_gain"):
        found["grounded-gain"] = (gain["value"], gain["low"], gain["high"])
    if other := (reliance.get("likelihood") or {}).get("another"):
        found["likelihood-reliance"] = (other["value"], other["low"], other["high"])
    return found
