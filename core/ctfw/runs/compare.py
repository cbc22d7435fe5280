"""Runs side by side: what their recipes differ in, and what came out."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ctfw.errors import UserError
from ctfw.registry import Catalog
from ctfw.runs.begun import PROCESSES, begun_with
from ctfw.runs.directory import RunDirectory
from ctfw.runs.files import read_json
from ctfw.runs.method import digest, method_of, read_resolved

SCORES = ("bleu-1", "bleu-4", "rouge-l", "coverage", "accuracy", "macro-f1")
GAIN, RELIANCE = "grounded-gain", "likelihood-reliance"
GAIN_WORDS = "own minus another patient's image"
RELIANCE_PROTOCOL = "NLL per token of the reference|another patient's image minus own"
SEED = "seed"
_ABSENT = object()

Value = tuple[float | None, float | None, float | None]


class Shown(NamedTuple):
    """A column: a score under one protocol, and what stands above it."""

    name: str
    protocol: str
    title: str


@dataclass(frozen=True)
class Outcome:
    """One run: flat settings of its method, scores with intervals, and where it lies.

    settings   those of the recipe, and the number of processes: it decides the cases of a step
    scores     name -> (value, low, high); None where undefined
    protocols  name of a score -> its signature
    stage      the stage that was named, where the run has predictions of several
    changed    what is wrong with the recipe that is kept in the folder; empty where it is whole
    """

    path: Path
    name: str
    state: str
    settings: Mapping[str, Any]
    scores: Mapping[str, Value]
    synthetic: bool
    protocols: Mapping[str, str] = field(default_factory=dict)
    stage: str = ""
    changed: str = ""

    @property
    def title(self) -> str:
        """The name of the recipe and the folder of the run, and the stage where one was named."""
        return "/".join(part for part in (self.name, self.path.name, self.stage) if part)

    @property
    def key(self) -> tuple[Path, str]:
        """What tells runs apart that have one title."""
        return self.path, self.stage

    def value(self, column: Shown) -> Value | None:
        """The score of a column; None where this run has none under that protocol."""
        if self.protocols.get(column.name, "") != column.protocol:
            return None
        return self.scores.get(column.name)


def read_outcome(path: Path, catalog: Catalog) -> Outcome:
    """The settings and scores of a run, or of one stage of it; there may be no scores yet.

    Raises UserError, also where resolved.yaml is not whole.
    """
    run = RunDirectory.open(newest(path))
    plain = read_resolved(run.path)
    method, installed = method_of(plain, catalog)
    scores: dict[str, Value] = {}
    protocols: dict[str, str] = {}
    stage = path.resolve().name if is_stage(path) else ""
    for file in sorted(run.path.glob(f"stages/{stage or '*'}/scores.json")):
        facts = read_json(file)
        if not any(row["kind"] == "model" for row in (facts.get("table") or {}).get("rows", ())):
            raise UserError(f"{file} is damaged: it has no scores of the model; copy the run again")
        scores |= _scores(facts)
        protocols |= _protocols(facts)
    several = len(list(run.path.glob("stages/*/predictions.jsonl"))) > 1
    named = {"stage": stage} if stage and several else {}
    return Outcome(
        run.path,
        plain["name"],
        run.status.get("state", ""),
        {**dict(flat(method)), PROCESSES: begun_with(run) or 1, **named},
        scores,
        bool(plain.get("synthetic")),
        protocols,
        named.get("stage", ""),
        _changed(run, method) if installed else "",
    )


def _changed(run: RunDirectory, method: Mapping[str, Any]) -> str:
    """Whether resolved.yaml is another recipe than the run was started with, in words."""
    started, found = str(run.status.get("hash") or ""), digest(method)
    if not started or started == found:
        return ""
    return (
        f"{run.path / 'resolved.yaml'} is not the recipe that the run was started with (hash "
        f"{found[:6]}, not {started[:6]}): it was cut or edited, or the run was made with another "
        "version of ctfw; its settings may be wrong here"
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
    found = []
    for key in keys:
        values = [outcome.settings.get(key, _ABSENT) for outcome in outcomes]
        if any(value != values[0] for value in values[1:]):
            found.append(key)
    return found


@dataclass(frozen=True)
class Group:
    """Runs that differ in the seed alone.

    copies  (a run of the same recipe and seed as a member, that member)
    """

    settings: Mapping[str, Any]
    members: tuple[Outcome, ...]
    copies: tuple[tuple[Outcome, Outcome], ...] = ()

    def mean(self, column: Shown) -> tuple[float, float] | None:
        """(mean, standard deviation over seeds), or None where a member has no value."""
        values = [(member.value(column) or (None,))[0] for member in self.members]
        known = [value for value in values if value is not None]
        if len(known) != len(values):
            return None
        return statistics.fmean(known), statistics.stdev(known) if len(known) > 1 else 0.0


def by_seed(outcomes: Sequence[Outcome]) -> list[Group]:
    """Groups of runs whose recipes differ in the seed alone.

    Of several runs of one recipe and seed the first that has scores counts, the others are its
    copies.
    """
    keys = [key for key in differing(outcomes) if key != SEED]
    groups: dict[str, dict[Any, Outcome]] = {}
    spare: dict[str, list[Outcome]] = {}
    for outcome in outcomes:
        identity = repr([outcome.settings.get(key, "absent") for key in keys])
        members, seed = groups.setdefault(identity, {}), outcome.settings.get(SEED)
        earlier = members.get(seed)
        if earlier is not None:
            better = bool(outcome.scores) and not earlier.scores
            spare.setdefault(identity, []).append(earlier if better else outcome)
            members[seed] = outcome if better else earlier
        else:
            members[seed] = outcome
    return [
        Group(
            {key: next(iter(members.values())).settings.get(key) for key in keys},
            tuple(members.values()),
            tuple((copy, members[copy.settings.get(SEED)]) for copy in spare.get(identity, ())),
        )
        for identity, members in groups.items()
    ]


def copies_in_words(groups: Sequence[Group], names: Mapping[tuple[Path, str], str]) -> list[str]:
    """Which runs are left out because another one has their recipe and seed."""
    return [
        f"{names[copy.key]} is left out of means and comparisons: it has the recipe and the seed "
        f"of {names[kept.key]}"
        for group in groups
        for copy, kept in group.copies
    ]


def columns(outcomes: Sequence[Outcome]) -> list[Shown]:
    """Scores to show, in a fixed order, that at least one run has; one column per protocol."""
    found: list[Shown] = []
    for name in (*SCORES, GAIN, RELIANCE):
        protocols = list(
            dict.fromkeys(o.protocols.get(name, "") for o in outcomes if name in o.scores)
        )
        heads = [protocol.partition("|")[0] for protocol in protocols]
        told = len(set(heads)) == len(heads)
        found += [
            Shown(name, protocol, name + f"@{head if told and head else number}" * (len(heads) > 1))
            for number, (protocol, head) in enumerate(zip(protocols, heads, strict=True), start=1)
        ]
    return found


def flat(value: Any, path: str = "") -> list[tuple[str, Any]]:
    """(dotted path, setting) of nested settings; blocks in a list by index.

    A list of numbers or words is one setting, a tuple.
    """
    if isinstance(value, dict):
        return [x for k, v in value.items() for x in flat(v, f"{path}.{k}" if path else str(k))]
    if isinstance(value, list) and any(isinstance(item, (dict, list)) for item in value):
        return [x for i, v in enumerate(value) for x in flat(v, f"{path}.{i}")]
    return [(path, tuple(value) if isinstance(value, list) else value)]


def _scores(facts: Mapping[str, Any]) -> dict[str, Value]:
    model = next(row for row in facts["table"]["rows"] if row["kind"] == "model")
    found = {
        name: (cell["value"], cell["low"], cell["high"]) for name, cell in model["values"].items()
    }
    reliance = facts.get("reliance") or {}
    if gain := reliance.get("grounded_gain"):
        found[GAIN] = (gain["value"], gain["low"], gain["high"])
    if other := (reliance.get("likelihood") or {}).get("another"):
        found[RELIANCE] = (other["value"], other["low"], other["high"])
    return found


def _protocols(facts: Mapping[str, Any]) -> dict[str, str]:
    """Name of a score -> the signature that the run wrote with it."""
    found = {row["name"]: row["protocol"] for row in facts["table"].get("columns", ())}
    if "macro-f1" in found:
        found[GAIN] = f"{found['macro-f1']}|{GAIN_WORDS}"
    return found | {RELIANCE: RELIANCE_PROTOCOL}
