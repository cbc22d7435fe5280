"""N-gram counts on integer ids, and BLEU from additive statistics.

BLEU: Papineni et al., ACL 2002. `c_k` are n-gram matches clipped by the reference (by the
largest count among several references), `g_k` the n-grams of the hypothesis, `h` its length and
`r` the reference length closest to it (the shorter one on a tie).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

Tokens = Sequence[str]
_LARGEST = 1 << 62


class NgramTable:
    """Counts of the n-grams, n = 1..order, of D token lists.

    lengths  (D,) tokens per list
    docs, codes, counts  per order three parallel arrays, sorted by (doc, code): n-gram `code`
             stands `count` times in list `doc`; codes are the same for all lists
    sizes    per order a number that every code is below
    """

    def __init__(self, lists: Sequence[Tokens], order: int) -> None:
        vocabulary: dict[str, int] = {}
        ids = [vocabulary.setdefault(token, len(vocabulary)) for doc in lists for token in doc]
        flat = np.asarray(ids, np.int64)
        self.lengths = np.asarray([len(doc) for doc in lists], np.int64)
        owner = np.repeat(np.arange(len(lists)), self.lengths)
        left = np.repeat(np.cumsum(self.lengths), self.lengths) - np.arange(len(flat))
        self.docs: list[np.ndarray] = []
        self.codes: list[np.ndarray] = []
        self.counts: list[np.ndarray] = []
        self.sizes: list[int] = []
        codes, size, base = flat, max(len(vocabulary), 1), max(len(vocabulary), 1)
        for n in range(1, order + 1):
            if n > 1:
                windows = max(len(flat) - n + 1, 0)
                codes, size = codes[:windows] * base + flat[n - 1 :], size * base
            if size > _LARGEST // (base * max(len(lists), 1)):
                distinct, codes = np.unique(codes, return_inverse=True)
                size = max(len(distinct), 1)
            inside = left[: len(codes)] >= n
            key = owner[: len(codes)][inside] * size + codes[inside]
            unique, counts = np.unique(key, return_counts=True)
            self.docs.append(unique // size)
            self.codes.append(unique % size)
            self.counts.append(counts)
            self.sizes.append(size)


def bleu_statistics(
    hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]], order: int = 4
) -> np.ndarray:
    """(N, 2 * order + 2) float64: c_1..c_n, g_1..g_n, h, r of each pair; additive over pairs.

    `references[i]` holds one or more references of `hypotheses[i]`.
    """
    number = len(hypotheses)
    owner = np.asarray([i for i, refs in enumerate(references) for _ in refs], np.int64)
    table = NgramTable([*hypotheses, *(ref for refs in references for ref in refs)], order)
    result = np.zeros((number, 2 * order + 2))
    for k in range(order):
        result[:, k] = _clipped(table, k, number, owner)
    length = table.lengths[:number]
    for k in range(order):
        result[:, order + k] = np.maximum(length - k, 0)
    result[:, -2] = length
    result[:, -1] = _closest(length, table.lengths[number:], owner)
    return result


def _clipped(table: NgramTable, k: int, number: int, owner: np.ndarray) -> np.ndarray:
    """(N,) matches of order k + 1, clipped by the largest count among the references."""
    docs, codes, counts = table.docs[k], table.codes[k], table.counts[k]
    is_hyp = docs < number
    hyp_keys = docs[is_hyp] * table.sizes[k] + codes[is_hyp]  # sorted, as the table is
    if not len(hyp_keys):
        return np.zeros(number)
    ref_keys = owner[docs[~is_hyp] - number] * table.sizes[k] + codes[~is_hyp]
    place = np.minimum(np.searchsorted(hyp_keys, ref_keys), len(hyp_keys) - 1)
    found = hyp_keys[place] == ref_keys
    most = np.zeros(len(hyp_keys), np.int64)
    np.maximum.at(most, place[found], counts[~is_hyp][found])
    matched = np.minimum(most, counts[is_hyp])
    return np.bincount(docs[is_hyp], weights=matched, minlength=number)


def _closest(length: np.ndarray, ref_lengths: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """(N,) reference length nearest to the hypothesis, the shorter on a tie."""
    # Sorting by (owner, distance, length) puts the chosen reference of each pair first.
    order = np.lexsort((ref_lengths, np.abs(ref_lengths - length[owner]), owner))
    result = np.zeros(len(length))
    first = np.unique(owner[order], return_index=True)
    result[first[0]] = ref_lengths[order][first[1]]
    return result


def bleu(sums: np.ndarray, smoothing: str = "none") -> np.ndarray:
    """(..., K) statistics, summed or per pair -> (..., n) cumulative BLEU-1..n in [0, 1].

    BLEU_n = BP * (prod_{k<=n} c_k / g_k)^(1/n), BP = exp(1 - r/h) where h < r, else 1; 0 where a
    precision is 0. `smoothing="coco"` puts in the guards of coco-caption instead: (c_k + 1e-15) /
    (g_k + 1e-9), and the same in the length ratio.
    """
    order = (sums.shape[-1] - 2) // 2
    matches, guesses = sums[..., :order], sums[..., order : 2 * order]
    hyp, ref = sums[..., -2], sums[..., -1]
    if smoothing == "coco":
        precision = (matches + 1e-15) / (guesses + 1e-9)
        ratio = (hyp + 1e-15) / (ref + 1e-9)
    else:
        precision = np.divide(matches, guesses, out=np.zeros_like(matches), where=guesses > 0)
        ratio = np.divide(hyp, ref, out=np.full_like(hyp, np.inf), where=ref > 0)
    with np.errstate(divide="ignore"):
        mean_log = np.cumsum(np.log(precision), axis=-1) / np.arange(1, order + 1)
        penalty = np.exp(np.minimum(0.0, 1 - 1 / ratio))
    return np.where(hyp[..., None] > 0, np.exp(mean_log) * penalty[..., None], 0.0)
