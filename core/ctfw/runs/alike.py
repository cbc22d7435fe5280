"""Runs and files brought to the same cases and protocols, and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ctfw.errors import UserError, did_you_mean
from ctfw.runs.systems import GAIN, Source
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
    cases = common_cases(methods)
    patients, notes = patients_of(methods, cases)
    notes = left_out(methods, cases) + notes
    systems = [System(m.name, tuple(s.scores(cases) for s in m.sources)) for m in methods]
    names, missing = _primary(systems, primary, methods)
    columns = [_column(name, systems) for name in names]
    notes += missing + _disagreements(methods, systems, names, cases)
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
                has = sorted({value for s in systems for member in s.members for value in member})
                hint = did_you_mean(name, has)
                raise UserError(
                    f"--primary {name}: no such score in {', '.join(those)}"
                    + (f" ({hint})" if hint else f"; there are {', '.join(has)}")
                    + "".join(f"\n{problem}" for problem in problems)
                    + ("\n" + ANEW if problems else "")
                )
        return list(lacking), []
    names = [name for name, those in lacking.items() if not those]
    if not names:
        raise UserError("no score that all have; name one with --primary, e.g. --primary rouge-l")
    words = [
        f"{name} is not compared: missing in {', '.join(t)}" for name, t in lacking.items() if t
    ]
    return names, words


ANEW = "--alike scores all of them with the baseline's metrics, as they are installed"


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
    """Why metrics of the runs cannot score here, each reason once."""
    return list(dict.fromkeys(p for m in methods for s in m.sources for p in s.problems))


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
