"""Patient-clustered intervals by bootstrap on sufficient statistics.

Reports of one patient are not independent, so whole patients are drawn with replacement
(percentile intervals, 95 %). A resample is a row of multinomial counts, and all resamples of all
scores are one product of counts and per-patient sums.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ctfw.types import Scores

_BLOCK = 1 << 22  # counts held in memory at once
Reduce = Callable[[np.ndarray], Mapping[str, np.ndarray]]


class Interval(NamedTuple):
    """Ends of a 95 % interval; both NaN where it is undefined."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def patient_clusters(patients: Sequence[str]) -> tuple[np.ndarray, list[str]]:
    """((N,) index of each case's patient, patients in order of first appearance)."""
    order: dict[str, int] = {}
    index = np.asarray([order.setdefault(patient, len(order)) for patient in patients], np.int64)
    return index, list(order)


def why_no_interval(patients: Sequence[str]) -> str:
    """Why no interval can be given, in words; empty where one can."""
    number = len(set(patients))
    if number > 1:
        return ""
    return "no cases" if not number else "one patient only: nothing to resample"


def bootstrap(
    scores: Scores, patients: Sequence[str], n: int = 2000, seed: int = 0
) -> dict[str, Interval]:
    """95 % interval of each of the scores' values that can be recomputed from per-case parts.

    Raises ValueError when the number of patients is not the number of cases.
    """
    statistics, reduce = _parts(scores)
    names = list(reduce(statistics.sum(0)))
    if why_no_interval(patients):
        return {name: Interval(np.nan, np.nan) for name in names}
    blocks = [reduce(sums) for (sums,) in _resampled([statistics], patients, n, seed)]
    return {name: _percentiles(np.concatenate([block[name] for block in blocks])) for name in names}


def paired_difference(
    a: Scores, b: Scores, patients: Sequence[str], name: str, n: int = 2000, seed: int = 0
) -> Estimate:
    """Value of `a` minus value of `b`, two systems on the same cases, patients drawn together.

    Raises ValueError when the two do not score the same number of cases.
    """
    (left, reduce_a), (right, reduce_b) = _parts(a), _parts(b)
    if len(left) != len(right):
        raise ValueError(f"{len(left)} cases against {len(right)}: not a paired comparison")
    value = float(reduce_a(left.sum(0))[name] - reduce_b(right.sum(0))[name])
    if why_no_interval(patients):
        return Estimate(value, np.nan, np.nan)
    draws = [
        reduce_a(first)[name] - reduce_b(second)[name]
        for first, second in _resampled([left, right], patients, n, seed)
    ]
    return Estimate(value, *_percentiles(np.concatenate(draws)))


def mean_interval(
    values: np.ndarray, patients: Sequence[str], n: int = 2000, seed: int = 0
) -> Estimate:
    """Mean of one number per case (NaN left out), e.g. differences of likelihood."""
    column = np.asarray(values, float)
    scores = Scores(values={}, protocol="mean", per_case={"mean": column})
    statistics, reduce = _parts(scores)
    value = float(reduce(statistics.sum(0))["mean"])
    return Estimate(value, *bootstrap(scores, patients, n, seed)["mean"])


def _parts(scores: Scores) -> tuple[np.ndarray, Reduce]:
    """(N, K) statistics and their reduction; per-case means where a metric gives none."""
    if scores.statistics is not None and scores.reduce is not None:
        return scores.statistics, scores.reduce
    names = list(scores.per_case)
    if not names:
        raise ValueError("these scores have neither statistics nor per-case values to resample")
    columns = []
    for name in names:
        value = np.asarray(scores.per_case[name], float)
        valid = ~np.isnan(value)
        columns += [np.where(valid, value, 0.0), valid.astype(float)]

    def reduce(sums: np.ndarray) -> dict[str, np.ndarray]:
        with np.errstate(invalid="ignore", divide="ignore"):
            return {
                name: np.asarray(sums[..., 2 * i]) / sums[..., 2 * i + 1]
                for i, name in enumerate(names)
            }

    return np.stack(columns, axis=1), reduce


def _resampled(
    statistics: Sequence[np.ndarray], patients: Sequence[str], n: int, seed: int
) -> Iterator[list[np.ndarray]]:
    """Blocks of resampled sums: for each of `statistics` a (rows, K) array."""
    index, names = patient_clusters(patients)
    if len(index) != len(statistics[0]):
        raise ValueError(f"{len(index)} patients for {len(statistics[0])} cases")
    sums = []
    for table in statistics:
        total = np.zeros((len(names), table.shape[1]))
        np.add.at(total, index, table)
        sums.append(total)
    rng = np.random.default_rng(seed)
    chances = np.full(len(names), 1 / len(names))
    rows = max(1, _BLOCK // len(names))
    for start in range(0, n, rows):
        weights = rng.multinomial(len(names), chances, size=min(rows, n - start)).astype(float)
        yield [weights @ total for total in sums]


def _percentiles(draws: np.ndarray) -> Interval:
    """2.5 % and 97.5 % of the draws in which the score is defined."""
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return Interval(np.nan, np.nan)
    low, high = np.percentile(finite, [2.5, 97.5])
    return Interval(float(low), float(high))
