"""Patient-clustered intervals by bootstrap on sufficient statistics.

Reports of one patient are not independent, so whole patients are drawn with replacement. A
resample is a row of counts of patients, and all resamples of all scores are one product of counts
and per-patient sums, in blocks of bounded memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Literal

import numpy as np

from ctfw.scoring.intervals import Estimate, Interval, bca, percentile
from ctfw.types import Scores

_BLOCK = 1 << 20  # numbers of one array held in memory at once
Reduce = Callable[[np.ndarray], Mapping[str, np.ndarray]]
Method = Literal["percentile", "bca"]


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
    scores: Scores,
    patients: Sequence[str],
    n: int = 2000,
    seed: int = 0,
    method: Method = "percentile",
) -> dict[str, Interval]:
    """95 % interval of each of the scores' values that can be recomputed from per-case parts.

    method  "percentile", or "bca": bias-corrected and accelerated (`bca`)

    Raises ValueError when the number of patients is not the number of cases.
    """
    (draws,) = resample([scores], patients, n, seed)
    if method == "percentile":
        return {name: percentile(drawn) for name, drawn in draws.items()}
    found, left_out = values(scores), leave_one_out(scores, patients)
    return {name: bca(found[name], draws[name], left_out[name]) for name in draws}


def paired_difference(
    a: Scores,
    b: Scores,
    patients: Sequence[str],
    name: str,
    n: int = 2000,
    seed: int = 0,
    method: Method = "percentile",
) -> Estimate:
    """Value of `a` minus value of `b`, two systems on the same cases, patients drawn together.

    Raises ValueError when the two do not score the same number of cases.
    """
    first, second = resample([a, b], patients, n, seed)
    draws = first[name] - second[name]
    value = values(a)[name] - values(b)[name]
    if method == "percentile":
        return Estimate(value, *percentile(draws))
    left_out = leave_one_out(a, patients)[name] - leave_one_out(b, patients)[name]
    return Estimate(value, *bca(value, draws, left_out))


def mean_interval(
    numbers: np.ndarray,
    patients: Sequence[str],
    n: int = 2000,
    seed: int = 0,
    method: Method = "percentile",
) -> Estimate:
    """Mean of one number per case (NaN left out), e.g. differences of likelihood."""
    column = np.asarray(numbers, float)
    scores = Scores(values={}, protocol="mean", per_case={"mean": column})
    return Estimate(values(scores)["mean"], *bootstrap(scores, patients, n, seed, method)["mean"])


def resample(
    systems: Sequence[Scores], patients: Sequence[str], n: int = 2000, seed: int = 0
) -> list[dict[str, np.ndarray]]:
    """For each system: name of a value -> (n,) values on resamples; NaN where undefined.

    In each resample the same patients are drawn for all systems, so that draws can be subtracted.
    All values are NaN where there is one patient only. Raises ValueError when the systems, or the
    patients, are not of the same number of cases.
    """
    pieces = [parts(scores) for scores in systems]
    tables = patient_sums([statistics for statistics, _ in pieces], patients)
    if why_no_interval(patients):
        return [
            {name: np.full(n, np.nan) for name in reduce(statistics.sum(0))}
            for statistics, reduce in pieces
        ]
    blocks = [
        [reduce(sums) for sums, (_, reduce) in zip(block, pieces, strict=True)]
        for block in _resampled(tables, n, seed)
    ]
    return [
        {name: np.concatenate([block[i][name] for block in blocks]) for name in blocks[0][i]}
        for i in range(len(systems))
    ]


def values(scores: Scores) -> dict[str, float]:
    """The values on all cases, computed as `resample` computes them."""
    statistics, reduce = parts(scores)
    return {name: float(value) for name, value in reduce(statistics.sum(0)).items()}


def leave_one_out(scores: Scores, patients: Sequence[str]) -> dict[str, np.ndarray]:
    """Name of a value -> (P,) values without each patient in turn."""
    statistics, reduce = parts(scores)
    (table,) = patient_sums([statistics], patients)
    return {name: np.asarray(value) for name, value in reduce(table.sum(0) - table).items()}


def has_parts(scores: Scores) -> bool:
    """Whether the scores can be computed again from parts of cases."""
    return bool(scores.per_case) or (scores.statistics is not None and scores.reduce is not None)


def parts(scores: Scores) -> tuple[np.ndarray, Reduce]:
    """(N, K) statistics and their reduction; per-case means where a metric gives none.

    Raises ValueError when the scores have neither.
    """
    if scores.statistics is not None and scores.reduce is not None:
        return scores.statistics, scores.reduce
    if not has_parts(scores):
        raise ValueError("these scores have neither statistics nor per-case values to resample")
    names, columns = list(scores.per_case), []
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


def patient_sums(statistics: Sequence[np.ndarray], patients: Sequence[str]) -> list[np.ndarray]:
    """Each (N, K) table of cases as a (P, K) table of patients, in order of first appearance.

    Raises ValueError when the tables, or the patients, are not of the same number of cases.
    """
    index, names = patient_clusters(patients)
    sizes = {len(table) for table in statistics}
    if len(sizes) > 1:
        raise ValueError(f"{' and '.join(map(str, sorted(sizes)))} cases: not the same cases")
    if sizes != {len(index)}:
        raise ValueError(f"{len(index)} patients for {sizes.pop()} cases")
    sums = []
    for table in statistics:
        total = np.zeros((len(names), table.shape[1]))
        np.add.at(total, index, table)
        sums.append(total)
    return sums


def block_rows(tables: Sequence[np.ndarray]) -> int:
    """How many resamples fit into a block: counts (rows, P) and sums (rows, K) are bounded."""
    return max(1, _BLOCK // max(len(tables[0]), *(table.shape[1] for table in tables)))


def _resampled(tables: Sequence[np.ndarray], n: int, seed: int) -> Iterator[list[np.ndarray]]:
    """Blocks of resampled sums: for each (P, K) table a (rows, K) array."""
    number, rows = len(tables[0]), block_rows(tables)
    rng = np.random.default_rng(seed)
    for start in range(0, n, rows):
        size = min(rows, n - start)
        drawn = rng.integers(number, size=(size, number), dtype=np.int32).astype(np.int64)
        drawn += np.arange(size)[:, None] * number
        counts = np.bincount(drawn.ravel(), minlength=size * number).reshape(size, number)
        weights = counts.astype(float)
        yield [weights @ table for table in tables]
