"""N-gram precisions of BLEU where an order has no match: how they are smoothed.

All take (..., n) matches and guesses, summed over the corpus or per pair, and the (...,)
hypothesis length, and give (..., n) precisions. The techniques are numbered as in Chen and Cherry,
WMT 2014.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Smoothing = Callable[[np.ndarray, np.ndarray, np.ndarray, float], np.ndarray]


def _none(matches: np.ndarray, guesses: np.ndarray, length: np.ndarray, value: float) -> np.ndarray:
    """c / g, and 0 where there is no guess."""
    return np.divide(matches, guesses, out=np.zeros_like(matches), where=guesses > 0)


def _coco(matches: np.ndarray, guesses: np.ndarray, length: np.ndarray, value: float) -> np.ndarray:
    """(c + 1e-15) / (g + 1e-9), coco-caption's guards against a division by zero."""
    return np.asarray((matches + 1e-15) / (guesses + 1e-9))


def _floor(
    matches: np.ndarray, guesses: np.ndarray, length: np.ndarray, value: float
) -> np.ndarray:
    """Technique 1, nltk's method1: `value` in the place of no match."""
    return _none(np.where(matches > 0, matches, value), guesses, length, value)


def _add_k(
    matches: np.ndarray, guesses: np.ndarray, length: np.ndarray, value: float
) -> np.ndarray:
    """Technique 2, nltk's method2: `value` more matches and guesses for n > 1 (Lin and Och)."""
    more = np.where(np.arange(matches.shape[-1]) > 0, value, 0.0)
    return _none(matches + more, guesses + more, length, value)


def _exp(matches: np.ndarray, guesses: np.ndarray, length: np.ndarray, value: float) -> np.ndarray:
    """Technique 3, sacrebleu's default and mteval's: the k-th order without a match has 2^-k."""
    missing = (matches == 0) & (guesses > 0)
    return _none(np.where(missing, 0.5 ** np.cumsum(missing, -1), matches), guesses, length, value)


def _length(
    matches: np.ndarray, guesses: np.ndarray, length: np.ndarray, value: float
) -> np.ndarray:
    """Technique 4, nltk's method4: as `exp`, times ln(length) / `value`; for 2 tokens or more."""
    missing = (matches == 0) & (length[..., None] > 1)
    scale = np.log(np.maximum(length, 1))[..., None] / value
    smoothed = np.where(missing, scale * 0.5 ** np.cumsum(missing, -1), matches)
    return np.asarray(smoothed / np.maximum(guesses, 1))


SMOOTHINGS: dict[str, tuple[Smoothing, float]] = {
    "none": (_none, 0.0),
    "coco": (_coco, 0.0),
    "exp": (_exp, 0.0),
    "floor": (_floor, 0.1),
    "add-k": (_add_k, 1.0),
    "length": (_length, 5.0),
}
"""Name -> how, and its usual `value`."""


def precisions(sums: np.ndarray, smoothing: str = "none", value: float | None = None) -> np.ndarray:
    """(..., 2n + 2) BLEU statistics -> (..., n) precisions in [0, 1].

    value  of `floor`, `add-k` and `length`; None for the usual one
    Raises KeyError for an unknown smoothing.
    """
    order = (sums.shape[-1] - 2) // 2
    how, usual = SMOOTHINGS[smoothing]
    used = usual if value is None else value
    return how(sums[..., :order], sums[..., order : 2 * order], sums[..., -2], used)
