"""Scores made of other scores, with the per-case parts that resampling needs."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ctfw.types import Scores


def difference(own: Scores, other: Scores, name: str, called: str, words: str) -> Scores:
    """`own` minus `other` in the value `name`, as scores of their own whose value is `called`.

    Both sides are kept per case, so that resampling and swapping move them together. Raises
    ValueError without statistics, or when the two are not of the same cases.
    """
    if own.statistics is None or other.statistics is None or not own.reduce or not other.reduce:
        raise ValueError(f"{name!r} has no statistics per case")
    left, right, width = own.reduce, other.reduce, own.statistics.shape[1]

    def reduce(sums: np.ndarray) -> dict[str, np.ndarray]:
        return {called: left(sums[..., :width])[name] - right(sums[..., width:])[name]}

    table = np.concatenate([own.statistics, other.statistics], axis=1)
    value = float(reduce(table.sum(0))[called])
    return Scores({called: value}, f"{own.protocol}|{words}", statistics=table, reduce=reduce)


def renamed(scores: Scores, name: str, called: str) -> Scores:
    """The same scores with one value under another name: of two metrics that give `bleu-4`."""
    if name == called:
        return scores
    reduce = scores.reduce
    return replace(
        scores,
        values={called: scores.values[name]},
        per_case={called: scores.per_case[name]} if name in scores.per_case else {},
        reduce=None if reduce is None else lambda sums: {called: reduce(sums)[name]},
        lower_is_better=frozenset({called} if name in scores.lower_is_better else ()),
        without_direction=frozenset({called} if name in scores.without_direction else ()),
    )
