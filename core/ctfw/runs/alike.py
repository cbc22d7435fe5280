"""Runs and files brought to the same cases and protocols, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ctfw.errors import UserError, did_you_mean
from ctfw.runs.compare import GAIN
from ctfw.runs.spelling import like
from ctfw.runs.systems import Source
from ctfw.scoring.columns import Column
from ctfw.scoring.comparison import Comparison, System, compare_systems

PRIMARY = ("macro-f1", GAIN, "bleu-4")


@dataclass(frozen=True)
class Method:
    """One row of the comparison: a file, a run, or the runs of several seeds."""

    name: str
    sources: tuple[Source, ...]


def compare_methods(
    methods: Sequence[Method], primary: Sequence[str] | None = None
) -> tuple[Comparison, list[str]]:
    """(the first method against each other one, what was left out in words).

    primary  names of the scores to test; by default those of PRIMARY that all methods have

    Raises UserError when the methods have no case in common, other references for the same case,
    other protocols for the same score, or lack a score that is asked for.
    """
    first = methods[0].sources[0]
    methods = [Method(m.name, tuple(like(first, s) for s in m.sources)) for m in methods]
    cases = common_cases(methods)
    patients, notes = patients_of(methods, cases)
    notes = left_out(methods, cases) + _unwritten(methods, cases) + notes
    systems = [System(m.name, tuple(s.scores(cases) for s in m.sources)) for m in methods]
    names, missing = _primary(systems, primary, methods)
    columns = [_column(name, systems) for name in names]
    notes += missing + _unnumbered(systems, names)
    notes += _disagreements(methods, systems, names, cases)
    try:
        return compare_systems(systems, columns, patients), notes
    except ValueError as error:
        raise UserError(f"{error}; compare other scores with --primary") from error


def common_cases(methods: Sequence[Method]) -> list[str]:
    """The cases that all have, in the order of the first. Raises UserError."""
    named = [(method.name, source) for method in methods for source in method.sources]
    first, basis = named[0]
    shared = set.intersection(*(set(source.predictions) for _, source in named))
    cases = [case for case in basis.predictions if case in shared]
    if not cases:
        firsts = ", ".join(f"{n} has '{next(iter(s.predictions), '')}'" for n, s in named)
        raise UserError(
            f"no case is in all of them ({firsts}, ...): they were made on other data, or name the "
            "cases otherwise"
        )
    reference = {case: _plain(basis.predictions[case].reference) for case in cases}
    for name, source in named[1:]:
        other = [c for c in cases if _plain(source.predictions[c].reference) != reference[c]]
        if other:
            raise UserError(
                f"{first} and {name} have different references for {len(other)} of {len(cases)} "
                f"cases, the first is '{other[0]}': scores against different texts do not compare"
            )
    return cases


def left_out(methods: Sequence[Method], cases: Sequence[str]) -> list[str]:
    """How many predictions are not of a common case, per method."""
    more = {
        method.name: max(len(source.predictions) for source in method.sources) - len(cases)
        for method in methods
    }
    words = [f"{number} of {name}" for name, number in more.items() if number]
    return [f"left out, because not all have these cases: {', '.join(words)}"] if words else []


def patients_of(methods: Sequence[Method], cases: Sequence[str]) -> tuple[list[str], list[str]]:
    """((N,) patient of each case, notes).

    A table without patients takes each case for a patient of its own, so where the sources do not
    agree the grouping with the fewest patients is used: it never makes intervals too narrow.
    """
    found = [
        (method.name, [source.predictions[case].patient for case in cases])
        for method in methods
        for source in method.sources
    ]
    name, patients = min(found, key=lambda item: len(set(item[1])))
    if all(other == patients for _, other in found):
        return patients, []
    return patients, [f"patients as in {name}: the others group the cases otherwise"]


def _primary(
    systems: Sequence[System], asked: Sequence[str] | None, methods: Sequence[Method]
) -> tuple[list[str], list[str]]:
    """(names to compare, words about those of PRIMARY that are left out)."""
    lacking = {
        name: [s.name for s in systems if any(name not in member for member in s.members)]
        for name in dict.fromkeys(asked or PRIMARY)
    }
    if asked:
        problems = unusable(methods)
        for name, those in lacking.items():
            if those:
                raise UserError(
                    f"--primary {name}: no such score in {', '.join(those)}{_known(name, systems)}"
                    + "".join(f"\n{problem}" for problem in problems)
                )
        return list(lacking), []
    names = [name for name, those in lacking.items() if not those]
    if not names:
        raise UserError("no score that all have; name one with --primary, e.g. --primary rouge-l")
    words = [
        f"{name} is not compared: missing in {', '.join(t)}" for name, t in lacking.items() if t
    ]
    return names, words


def _known(name: str, systems: Sequence[System]) -> str:
    """What the name may have meant, or the names there are; empty where another system has it."""
    has = sorted({value for s in systems for member in s.members for value in member})
    if name in has:
        return ""
    hint = did_you_mean(name, has)
    return f" ({hint})" if hint else f"; there are {', '.join(has)}"


ANEW = "--alike scores all of them with the baseline's metrics, as they are installed"


def _unwritten(methods: Sequence[Method], cases: Sequence[str]) -> list[str]:
    """How many reports are missing, which count as empty ones."""
    return [
        f"{method.name} has no report for {number} of {len(cases)} cases: each counts as empty"
        for method in methods
        for source in method.sources
        if (number := sum(source.predictions[case].finish == "missing" for case in cases))
    ]


def _unnumbered(systems: Sequence[System], names: Sequence[str]) -> list[str]:
    """How many cases have no number in a score that is a mean of what the run wrote per case."""
    found = []
    for system in systems:
        for name, scores in ((name, member[name]) for member in system.members for name in names):
            column = scores.per_case.get(name)
            if scores.statistics is None and column is not None and np.isnan(column).any():
                found.append(
                    f"{name}: {int(np.isnan(column).sum())} of {len(column)} cases of "
                    f"{system.name} have no number and are left out of its mean"
                )
    return list(dict.fromkeys(found))


def _disagreements(
    methods: Sequence[Method], systems: Sequence[System], names: Sequence[str], cases: Sequence[str]
) -> list[str]:
    """Scores that are not what the run itself wrote, e.g. because a plugin has changed since."""
    return [
        f"{method.name}: {words}"
        for method, system in zip(methods, systems, strict=True)
        for source, scores in zip(method.sources, system.members, strict=True)
        if len(source.predictions) == len(cases)
        for name in names
        if (words := source.disagrees(name, scores[name]))
    ]


def unusable(methods: Sequence[Method]) -> list[str]:
    """Why metrics of the runs cannot score here and numbers of them not be used, once each."""
    sources = [source for method in methods for source in method.sources]
    scorers = list(dict.fromkeys(problem for source in sources for problem in source.problems))
    damage = list(dict.fromkeys(source.damage for source in sources if source.damage))
    return [*damage, *scorers, *([ANEW] if scorers else [])]


def _column(name: str, systems: Sequence[System]) -> Column:
    """The column of a score. Raises UserError where the protocols differ."""
    first = systems[0].members[0][name]
    protocols = {s.name: member[name].protocol for s in systems for member in s.members}
    for system in systems:
        for member in system.members:
            if member[name].protocol != first.protocol:
                raise UserError(_refusal(name, protocols))
    return Column.of(name, first)


def _refusal(name: str, protocols: Mapping[str, str]) -> str:
    lines = [f"  {system}: {protocol}" for system, protocol in protocols.items()]
    return "\n".join(
        [
            f"{name} was scored by different protocols, and such numbers do not compare:",
            *lines,
            "--alike scores all of them with the metrics and the labeler of the baseline; "
            "--primary compares other scores",
        ]
    )


def _plain(text: str) -> str:
    return " ".join(text.split())
