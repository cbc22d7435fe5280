"""Systems against a baseline on the same cases: differences, intervals, tests, and which is best.

A system is a method: one model, or several that differ in the seed alone. Two single models are
compared by swapping patients (`randomise`), methods with several seeds by their means with both
variances (`seeds`). The p-values of all differences to the baseline are adjusted together (Holm).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from ctfw.scoring.columns import Column
from ctfw.scoring.intervals import percentile, undefined
from ctfw.scoring.randomise import TRIALS, PairedTest, holm, randomisation_test
from ctfw.scoring.resample import resample, values
from ctfw.scoring.seeds import SeedMean, over_seeds, seed_difference
from ctfw.types import Scores

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class System:
    """A method: name of a value -> scores on the common cases, of the model of each seed."""

    name: str
    members: tuple[Mapping[str, Scores], ...]


class Contrast(NamedTuple):
    """A system minus the baseline in one value.

    p, holm    two-sided p-value, and adjusted for all differences of the comparison
    undefined  resamples in which the difference is undefined, which its interval leaves out
    untested   trials in which it is undefined, which p leaves out
    """

    value: float
    low: float
    high: float
    p: float
    holm: float
    undefined: int
    untested: int


@dataclass(frozen=True)
class Compared:
    """One system's means by value, and its differences to the baseline (which has none)."""

    name: str
    means: Mapping[str, SeedMean]
    contrasts: Mapping[str, Contrast] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Baseline first.

    best   value -> the system that is best, where its difference to the next is significant
    tests  how many differences to the baseline Holm's adjustment took together
    """

    columns: tuple[Column, ...]
    systems: tuple[Compared, ...]
    best: Mapping[str, str]
    cases: int
    patients: int
    resamples: int
    trials: int

    @property
    def tests(self) -> int:
        return sum(not math.isnan(c.p) for s in self.systems for c in s.contrasts.values())

    @property
    def seeds(self) -> bool:
        """Whether some system has several seeds."""
        return any(mean.seeds > 1 for system in self.systems for mean in system.means.values())


def compare_systems(
    systems: Sequence[System],
    columns: Sequence[Column],
    patients: Sequence[str],
    n: int = 2000,
    trials: int = TRIALS,
    seed: int = 0,
) -> Comparison:
    """Compare the first of the systems with each other one, in the values that `columns` name.

    patients  (N,) of the common cases, in the order in which all scores have them

    Raises ValueError when a value cannot be recomputed from per-case parts.
    """
    work = _Work(systems, columns, patients, n, trials, seed)
    baseline, *others = systems
    raw = {
        (other.name, column.name): work.contrast(other, baseline, column.name)
        for other in others
        for column in columns
    }
    adjusted = holm([contrast.p for contrast in raw.values()])
    contrasts: dict[str, dict[str, Contrast]] = {other.name: {} for other in others}
    for ((name, value), contrast), p in zip(raw.items(), adjusted, strict=True):
        contrasts[name][value] = contrast._replace(holm=p)
    compared = [Compared(baseline.name, work.means(baseline))]
    compared += [Compared(s.name, work.means(s), contrasts[s.name]) for s in others]
    return Comparison(
        tuple(columns),
        tuple(compared),
        work.best(compared),
        len(patients),
        len(set(patients)),
        n,
        trials,
    )


class _Work:
    """Draws and tests, each made once: a metric gives several values, a pair is met twice."""

    def __init__(
        self,
        systems: Sequence[System],
        columns: Sequence[Column],
        patients: Sequence[str],
        n: int,
        trials: int,
        seed: int,
    ) -> None:
        self.systems = {system.name: system for system in systems}
        self.columns, self.patients = columns, patients
        self.trials, self.seed = trials, seed
        every = {
            id(member[column.name]): member[column.name]
            for system in systems
            for member in system.members
            for column in columns
        }
        draws = resample(list(every.values()), patients, n, seed)
        self.draws = dict(zip(every, draws, strict=True))
        self.values = {key: values(scores) for key, scores in every.items()}
        self.tests: dict[tuple[int, int], dict[str, PairedTest]] = {}
        for column in columns:
            if any(
                column.name not in self.draws[id(m[column.name])]
                for s in systems
                for m in s.members
            ):
                raise ValueError(f"{column.name!r} cannot be recomputed from per-case parts")

    def arrays(self, system: System, name: str) -> tuple[np.ndarray, np.ndarray]:
        """((K,) values, (K, n) draws) of a system's seeds."""
        keys = [id(member[name]) for member in system.members]
        found = np.array([self.values[key][name] for key in keys])
        return found, np.stack([self.draws[key][name] for key in keys])

    def means(self, system: System) -> dict[str, SeedMean]:
        number = len(set(self.patients))
        return {c.name: over_seeds(*self.arrays(system, c.name), number) for c in self.columns}

    def contrast(self, a: System, b: System, name: str) -> Contrast:
        """`a` minus `b`, not yet adjusted."""
        (first, draws_a), (second, draws_b) = self.arrays(a, name), self.arrays(b, name)
        if len(first) > 1 or len(second) > 1:
            found = seed_difference(first, draws_a, second, draws_b, len(set(self.patients)))
            return Contrast(*found[:4], math.nan, found.undefined, 0)
        test = self.swapped(a.members[0][name], b.members[0][name])[name]
        drawn = draws_a[0] - draws_b[0]
        ends = percentile(drawn)
        return Contrast(test.difference, *ends, test.p, math.nan, undefined(drawn), test.undefined)

    def swapped(self, a: Scores, b: Scores) -> dict[str, PairedTest]:
        key = (id(a), id(b))
        if key not in self.tests:
            self.tests[key] = randomisation_test(a, b, self.patients, self.trials, self.seed)
        return self.tests[key]

    def best(self, compared: Sequence[Compared]) -> dict[str, str]:
        """Per column the best system, where a test against the next best is significant.

        One test per column, adjusted over the columns (Holm).
        """
        found: dict[str, tuple[str, float]] = {}
        for column in self.columns:
            sign = {True: 1.0, False: -1.0, None: 0.0}[column.higher_is_better]
            ranked = sorted(
                (s for s in compared if not math.isnan(s.means[column.name].value)),
                key=lambda s: -sign * s.means[column.name].value,
            )
            if sign and len(ranked) > 1:
                first, second = (self.systems[s.name] for s in ranked[:2])
                found[column.name] = first.name, self.contrast(first, second, column.name).p
        adjusted = holm([p for _, p in found.values()])
        return {
            name: best
            for (name, (best, _)), p in zip(found.items(), adjusted, strict=True)
            if p < SIGNIFICANT
        }
