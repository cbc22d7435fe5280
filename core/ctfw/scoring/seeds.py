"""Several seeds of one method: both sources of variance, and one interval.

A score varies because other patients could have been tested, and because training again with
another seed gives another model. With K seeds, s the standard deviation of their scores and W
the bootstrap variance of their mean (the same patients drawn for all seeds), the variance of the
mean is V = W + s^2 / K (law of total variance; both terms matter: Bouthillier et al., MLSys 2021).
The interval is mean +- t sqrt(V), t with V^2 / (W^2 / (P - 1) + (s^2 / K)^2 / (K - 1)) degrees of
freedom, P the number of patients (Satterthwaite, Biometrics Bulletin 1946). W holds the part of
the seeds' variance that differs from patient to patient, divided by K, as s^2 / K does: the
interval is rather too wide than too narrow.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from ctfw.scoring.intervals import LEVEL, percentile, undefined

_LIKE_NORMAL = 10_000  # degrees of freedom above which t is the normal distribution to 4 digits


class SeedMean(NamedTuple):
    """Mean over seeds with its 95 % interval.

    sd_seeds     standard deviation between seeds; NaN with one seed
    sd_patients  standard deviation of the mean when patients are resampled
    undefined    resamples in which the score of some seed is undefined
    """

    value: float
    low: float
    high: float
    seeds: int
    sd_seeds: float
    sd_patients: float
    undefined: int


class SeedDifference(NamedTuple):
    """Mean of one method minus mean of another, with a 95 % interval and a two-sided p-value."""

    value: float
    low: float
    high: float
    p: float
    undefined: int


def over_seeds(values: np.ndarray, draws: np.ndarray, patients: int) -> SeedMean:
    """The mean of one method.

    values    (K,) the score of each seed
    draws     (K, n) the scores on resamples, the same patients in a column
    patients  their number

    With one seed the interval is the percentile interval over patients: the variance between seeds
    is not known, and not in it.
    """
    mean, seeds = float(values.mean()), len(values)
    drawn = draws.mean(0)
    lost = undefined(drawn)
    within = _variance(drawn)
    if seeds == 1:
        return SeedMean(mean, *percentile(drawn), 1, math.nan, math.sqrt(within), lost)
    sd = float(values.std(ddof=1))
    ends = _interval(mean, *_spread(within, sd**2 / seeds, patients - 1, seeds - 1))
    return SeedMean(mean, *ends, seeds, sd, math.sqrt(within), lost)


def seed_difference(
    a: np.ndarray, draws_a: np.ndarray, b: np.ndarray, draws_b: np.ndarray, patients: int
) -> SeedDifference:
    """Mean of `a` minus mean of `b`; arrays as in `over_seeds`, the same patients in a column.

    The variance between seeds is pooled over both methods, so that one of them may have one seed:
    s^2 (1 / K_a + 1 / K_b) with K_a + K_b - 2 degrees of freedom. p is that of Student's t.
    Raises ValueError when each has one seed: `randomisation_test` compares two models.
    """
    free = len(a) + len(b) - 2
    if not free:
        raise ValueError("one seed of each method: compare the two models")
    value = float(a.mean() - b.mean())
    drawn = draws_a.mean(0) - draws_b.mean(0)
    squares = float(np.sum((a - a.mean()) ** 2) + np.sum((b - b.mean()) ** 2))
    between = squares / free * (1 / len(a) + 1 / len(b))
    spread = _spread(_variance(drawn), between, patients - 1, free)
    return SeedDifference(value, *_interval(value, *spread), _p(value, *spread), undefined(drawn))


def t_quantile(level: float, free: float) -> float:
    """Quantile of Student's t for a level of at least 1/2 and any degrees of freedom from 1 on."""
    if free > _LIKE_NORMAL:
        return NormalDist().inv_cdf(level)
    angles, tail = _t_tail(free)
    return math.sqrt(free) / math.tan(float(np.interp(2 * (1 - level), tail, angles)))


def t_p_value(t: float, free: float) -> float:
    """Two-sided p-value of Student's t."""
    if free > _LIKE_NORMAL:
        return 2 * NormalDist().cdf(-abs(t))
    angles, tail = _t_tail(free)
    return float(np.interp(math.atan2(math.sqrt(free), abs(t)), angles, tail))


def _t_tail(free: float) -> tuple[np.ndarray, np.ndarray]:
    """Angles v from 0 to pi/2, and P(|T| >= sqrt(free) / tan v): the integral of sin^(free - 1)."""
    # v = pi/2 u^2: near 0 the integrand has no derivative in v where free < 2, and has one in u.
    roots = np.linspace(0, 1, 40_001)
    angles = math.pi / 2 * roots**2
    density = np.sin(angles) ** (free - 1) * roots
    area = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    return angles, area / area[-1]


def _spread(within: float, between: float, free_in: int, free_between: int) -> tuple[float, float]:
    """(standard error of the two variances together, its degrees of freedom)."""
    total = within + between
    parts = ((within, free_in), (between, free_between))
    share = sum(part**2 / free for part, free in parts if free > 0)
    return math.sqrt(total), total**2 / share if share > 0 else math.inf


def _interval(value: float, error: float, free: float) -> tuple[float, float]:
    half = t_quantile((1 + LEVEL) / 2, free) * error
    return value - half, value + half


def _p(value: float, error: float, free: float) -> float:
    """NaN where nothing varies and the two still differ: there is nothing to test with."""
    if error > 0:
        return t_p_value(value / error, free)
    return 1.0 if value == 0 and error == 0 else math.nan


def _variance(drawn: np.ndarray) -> float:
    finite = drawn[np.isfinite(drawn)]
    return float(finite.var(ddof=1)) if len(finite) > 1 else math.nan
