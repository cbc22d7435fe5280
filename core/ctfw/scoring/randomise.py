"""Tests between two systems on the same cases, and what to do with several p-values.

Approximate randomisation (Noreen 1989; Riezler and Maxwell, 2005): if the two systems are alike,
it does not matter which of them wrote which reports. So the reports of each patient, all of them
together, change sides with probability 1/2, and p is the share of trials in which the scores then
differ at least as much as they do.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from ctfw.scoring.resample import block_rows, parts, patient_sums, resample, values
from ctfw.types import Scores

TRIALS = 10_000
_TIE = 1e-9  # relative: a difference that is the same but for rounding counts as the same


class PairedTest(NamedTuple):
    """Value of the first system minus value of the second, with its p-value.

    p          two-sided; NaN where the difference, or every trial, is undefined
    trials     those in which both values are defined, and that p counts
    undefined  the other trials
    """

    difference: float
    p: float
    trials: int
    undefined: int


def randomisation_test(
    a: Scores, b: Scores, patients: Sequence[str], trials: int = TRIALS, seed: int = 0
) -> dict[str, PairedTest]:
    """Paired approximate randomisation of every value that both systems have.

    p = (1 + #{|d'| >= |d|}) / (1 + trials), with d' the difference after swapping. The systems
    of one patient's reports are swapped together. Raises ValueError when the two are not scored
    on the same number of cases, or by statistics of different size.
    """
    (left, reduce_a), (right, reduce_b) = parts(a), parts(b)
    if left.shape[1] != right.shape[1]:
        raise ValueError(f"statistics of {left.shape[1]} and {right.shape[1]} columns cannot swap")
    first, second = patient_sums([left, right], patients)
    change = second - first
    names = [name for name in reduce_a(left.sum(0)) if name in reduce_b(right.sum(0))]
    swapped: dict[str, list[np.ndarray]] = {name: [] for name in names}
    for moved in _swaps(change, trials, seed):
        of_a, of_b = reduce_a(left.sum(0) + moved), reduce_b(right.sum(0) - moved)
        for name in names:
            swapped[name].append(of_a[name] - of_b[name])
    value_a, value_b = values(a), values(b)
    return {
        name: _paired(value_a[name], value_b[name], np.abs(np.concatenate(swapped[name])))
        for name in names
    }


def bootstrap_test(
    a: Scores, b: Scores, patients: Sequence[str], n: int = 1000, seed: int = 0
) -> dict[str, PairedTest]:
    """The p-value of the paired bootstrap as the Moses script and sacrebleu compute it.

    p = (1 + #{|d*| - mean |d*| >= |d|}) / (1 + n), with d* the difference on resampled patients
    (Koehn, EMNLP 2004). It looks at one side only where the difference is clear, and is here to
    compare with papers that give it; `randomisation_test` is the test to report. Raises as
    `resample`.
    """
    first, second = resample([a, b], patients, n, seed)
    value_a, value_b = values(a), values(b)
    tests = {}
    for name in (name for name in first if name in second):
        drawn = np.abs(first[name] - second[name])
        finite = drawn[np.isfinite(drawn)]
        centred = drawn - (finite.mean() if len(finite) else np.nan)
        tests[name] = _paired(value_a[name], value_b[name], centred)
    return tests


def smallest_p(patients: int, trials: int = TRIALS) -> float:
    """The smallest p that swapping so many patients can give.

    Of the 2^P ways to swap, two (none and all) give the observed difference.
    """
    return max(2.0 ** (1 - patients), 1 / (1 + trials))


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values (Holm, Scand. J. Statist. 1979), in the order given.

    With m tests in order of p: max over the tests up to this one of (m - rank + 1) p, at most 1.
    A NaN is a test that was not made: it stays NaN and does not count.
    """
    p = np.asarray(p_values, float)
    adjusted = np.full(len(p), np.nan)
    made = np.flatnonzero(~np.isnan(p))
    order = made[np.argsort(p[made], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(factors * p[order]))
    return [float(value) for value in adjusted]


def _paired(value_a: float, value_b: float, extreme: np.ndarray) -> PairedTest:
    """The test of a difference against (n,) values that count when they are as large."""
    difference = value_a - value_b
    finite = extreme[np.isfinite(extreme)]
    lost = len(extreme) - len(finite)
    if not np.isfinite(difference) or not len(finite):
        return PairedTest(difference, np.nan, len(finite), lost)
    tie = _TIE * max(abs(value_a), abs(value_b))
    count = int(np.count_nonzero(finite >= abs(difference) - tie))
    return PairedTest(difference, (1 + count) / (1 + len(finite)), len(finite), lost)


def _swaps(change: np.ndarray, trials: int, seed: int) -> Iterator[np.ndarray]:
    """Blocks of (rows, K): what the swapped patients change in the sums of the first system."""
    number, rows = len(change), block_rows([change])
    rng = np.random.default_rng(seed)
    words = -(-number // 64)  # whole words, so that the block size does not change the bits
    for start in range(0, trials, rows):
        size = min(rows, trials - start)
        bits = rng.integers(0, 2**64, size=(size, words), dtype=np.uint64)
        chosen = np.unpackbits(bits.view(np.uint8), axis=1)[:, :number]
        yield chosen.astype(np.float64) @ change
