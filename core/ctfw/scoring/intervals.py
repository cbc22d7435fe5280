"""Ends of intervals from the draws of a bootstrap."""

from __future__ import annotations

from statistics import NormalDist
from typing import NamedTuple

import numpy as np

LEVEL = 0.95
_NORMAL = NormalDist()


class Interval(NamedTuple):
    """Ends of a 95 % interval; both NaN where it is undefined."""

    low: float
    high: float


class Estimate(NamedTuple):
    """A number with its 95 % interval."""

    value: float
    low: float
    high: float


def undefined(draws: np.ndarray) -> int:
    """In how many of the draws the score is undefined, e.g. no positive of a label was drawn."""
    return int(np.count_nonzero(~np.isfinite(draws)))


def percentile(draws: np.ndarray) -> Interval:
    """2.5 % and 97.5 % of the draws in which the score is defined."""
    return _quantiles(draws, (1 - LEVEL) / 2, (1 + LEVEL) / 2)


def bca(value: float, draws: np.ndarray, left_out: np.ndarray) -> Interval:
    """Bias-corrected and accelerated interval (Efron, JASA 1987).

    z0 = Phi^-1(share of draws below `value`, ties counted half) corrects the bias of the median;
    a = sum(d^3) / (6 sum(d^2)^1.5) with d = mean of `left_out` - `left_out` how the standard error
    changes with the value. The ends are the quantiles Phi(z0 + (z0 + z) / (1 - a (z0 + z))) of the
    draws with z = -1.96 and 1.96. A share of 0 or 1 counts as half a draw.
    """
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return Interval(np.nan, np.nan)
    below = (np.sum(finite < value) + np.sum(finite <= value)) / 2
    share = float(np.clip(below, 0.5, len(finite) - 0.5)) / len(finite)
    z0 = _NORMAL.inv_cdf(share)
    left = left_out[np.isfinite(left_out)]
    d = left.mean() - left if len(left) else np.zeros(1)
    spread = 6 * float(np.sum(d**2)) ** 1.5
    a = float(np.sum(d**3)) / spread if spread > 0 else 0.0

    def level(z: float) -> float:
        scale = 1 - a * (z0 + z)
        # Beyond the pole of the formula the quantile has reached the end of the draws.
        return _NORMAL.cdf(z0 + (z0 + z) / scale) if scale > 0 else float(z0 + z > 0)

    z = _NORMAL.inv_cdf((1 + LEVEL) / 2)
    return _quantiles(finite, level(-z), level(z))


def _quantiles(draws: np.ndarray, low: float, high: float) -> Interval:
    finite = draws[np.isfinite(draws)]
    if not len(finite):
        return Interval(np.nan, np.nan)
    ends = np.quantile(finite, [low, high])
    return Interval(float(ends[0]), float(ends[1]))
