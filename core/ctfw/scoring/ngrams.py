"""N-gram counts on integer ids, and BLEU from additive statistics.

BLEU: Papineni et al., ACL 2002. `c_k` are n-gram matches clipped by the reference (by the
largest count among several references), `g_k` the n-grams of the hypothesis, `h` its length and
`r` the reference length closest to it (the shorter one on a tie).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ctfw.scoring.smoothing import precisions

if TYPE_CHECKING:
    from ctfw.scoring.corpus import EncodedPairs

Tokens = Sequence[str]
_MULTIPLIERS = np.random.default_rng(20260101).integers(1 << 62, 1 << 63, 64, dtype=np.uint64) | 1


def renumber(codes: np.ndarray) -> np.ndarray:
    """(W,) int64 codes >= 0 -> (W,) numbers below W; equal codes, and no others, get equal numbers.

    The number is the index of some window with that code. It is found through a table at the place
    that a multiplicative hash gives (Knuth, TAOCP 3, 6.4): what lost its place to another code is
    tried again with another multiplier. Half the time of a sort, and exact.
    """
    numbers = np.zeros(len(codes), np.int32)
    left, mine = np.arange(len(codes), dtype=np.int32), codes
    for multiplier in _MULTIPLIERS:
        if not len(left):
            return numbers
        bits = max(len(left) - 1, 1).bit_length()
        place = ((mine.view(np.uint64) * multiplier) >> np.uint64(64 - bits)).view(np.int64)
        table = np.empty(1 << bits, np.int32)
        table[place] = np.arange(len(left), dtype=np.int32)
        found = table[place]
        numbers[left] = left[found]
        lost = np.flatnonzero(mine[found] != mine)
        left, mine = left[lost], mine[lost]
    first, inverse = np.unique(mine, return_index=True, return_inverse=True)[1:]
    numbers[left] = left[first[inverse]]
    return numbers


def windows(
    flat: np.ndarray, lengths: np.ndarray, vocabulary: int, order: int, repeated: bool = False
) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    """The n-grams of D texts for n = 1..order: (W,) text, (W,) number, and what numbers are below.

    flat        (T,) int32 token ids of all texts, one text after the other
    lengths     (D,) tokens of each text
    vocabulary  a number that every id is below
    repeated    give only the n-grams that stand more than once in all texts together

    Equal numbers are equal n-grams, in all texts. An n-gram that stands once makes every longer
    one with it stand once, so that those need not be looked at.
    """
    owner = np.repeat(np.arange(len(lengths), dtype=np.int32), lengths)
    ends = np.cumsum(lengths, dtype=np.int32)
    left = np.repeat(ends, lengths) - np.arange(len(flat), dtype=np.int32)
    before = flat  # number of the (n - 1)-gram at each place; -1 where there is none
    for n in range(1, order + 1):
        if n == 1:
            place, numbers, size = np.arange(len(flat), dtype=np.int32), flat, max(vocabulary, 1)
        else:
            inside = (
                (left[: 1 - n] >= n) & (before[: 1 - n] >= 0) & (before[1 : 2 - n or None] >= 0)
            )
            place = np.flatnonzero(inside).astype(np.int32)
            numbers = renumber(before[place] * np.int64(vocabulary) + flat[place + n - 1])
            size = max(len(place), 1)
        if repeated:
            kept = np.bincount(numbers, minlength=1)[numbers] > 1
            place, numbers = place[kept], numbers[kept]
        before = np.full(len(flat), -1, np.int32)
        before[place] = numbers
        yield owner[place], numbers, size


def runs(ordered: np.ndarray) -> np.ndarray:
    """Where a new value starts in a sorted array."""
    starts = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=starts[1:])
    return np.flatnonzero(starts)


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
        self.lengths = np.asarray([len(doc) for doc in lists], np.int64)
        self.docs: list[np.ndarray] = []
        self.codes: list[np.ndarray] = []
        self.counts: list[np.ndarray] = []
        self.sizes: list[int] = []
        flat = np.asarray(ids, np.int64)
        for owner, codes, size in windows(flat, self.lengths, len(vocabulary), order):
            unique, counts = np.unique(owner * size + codes, return_counts=True)
            self.docs.append(unique // size)
            self.codes.append(unique % size)
            self.counts.append(counts)
            self.sizes.append(size)


@dataclass(frozen=True, slots=True)
class PairNgrams:
    """The n-grams of one order in pairs of a hypothesis and its references.

    once         (D,) how many n-grams of a text stand once in all texts together. They match
                 nothing, and are no entries
    text, count  (E,) entries: the n-gram stands `count` times in that text; sorted by n-gram, then
                 by text, so that the texts of a pair are neighbours
    group        (G,) index of the first entry of each n-gram in each pair
    ngram        (K,) index of the first group of each n-gram
    hyp, best    (G,) how often the hypothesis has it, and the reference that has it most often
    """

    once: np.ndarray
    text: np.ndarray
    count: np.ndarray
    group: np.ndarray
    ngram: np.ndarray
    hyp: np.ndarray
    best: np.ndarray

    @classmethod
    def of(
        cls,
        owner: np.ndarray,
        numbers: np.ndarray,
        size: int,
        windows: np.ndarray,
        pair: np.ndarray,
    ) -> PairNgrams:
        """owner, numbers, size as from `windows`; `windows` (D,) n-grams of each text; `pair` (D,)
        pair of each text, whose first is the hypothesis, in ascending order."""
        bits = max(len(pair) - 1, 0).bit_length()
        # Half the time of a sort where 32 bits are enough.
        kind = np.dtype(np.uint32 if size << bits <= 1 << 32 else np.uint64)
        keys = numbers.astype(kind)
        keys <<= kind.type(bits)
        keys |= owner.astype(kind)
        keys.sort()
        start = runs(keys)
        count = np.diff(start, append=len(keys)).astype(np.int32)
        keys = keys[start]
        number, text = keys >> bits, (keys & ((1 << bits) - 1)).astype(np.int32)
        opens = np.zeros(len(keys), bool)
        opens[runs(number)] = True
        of_pair = pair[text]
        new = opens.copy()
        new[1:] |= of_pair[1:] != of_pair[:-1]
        group = np.flatnonzero(new)
        leads = np.diff(pair, prepend=-1) > 0  # the hypothesis of each pair
        own = leads[text]
        hyp = np.where(own[group], count[group], 0)
        best = np.maximum.reduceat(np.where(own, 0, count), group) if len(group) else hyp
        once = windows - np.bincount(owner, minlength=len(pair))
        return cls(once, text, count, group, np.flatnonzero(opens[group]), hyp, best)

    def spread(self, values: np.ndarray) -> np.ndarray:
        """(G,) values of the groups -> (E,) of their entries."""
        return np.repeat(values, np.diff(self.group, append=len(self.text)))

    def clipped(self, pair: np.ndarray, number: int) -> np.ndarray:
        """(N,) matches of each pair, clipped by the largest count among the references."""
        matched = np.minimum(self.hyp, self.best)
        return np.bincount(pair[self.text[self.group]], weights=matched, minlength=number)

    def overlap(self, texts: int) -> np.ndarray:
        """(D,) matches of each reference with its hypothesis, clipped; for hypotheses no number
        that means anything."""
        matched = np.minimum(self.spread(self.hyp), self.count)
        return np.bincount(self.text, weights=matched, minlength=texts)


def bleu_statistics(pairs: EncodedPairs, order: int = 4) -> np.ndarray:
    """(N, 2 * order + 2) float64: c_1..c_n, g_1..g_n, h, r of each pair; additive over pairs."""
    length = pairs.lengths[pairs.hypotheses]
    result = np.zeros((len(length), 2 * order + 2))
    for k, ngrams in enumerate(pairs.ngrams(order)):
        result[:, k] = ngrams.clipped(pairs.pair, len(length))
        result[:, order + k] = np.maximum(length - k, 0)
    result[:, -2] = length
    result[:, -1] = _closest(length, pairs.lengths[pairs.references], pairs.pair[pairs.references])
    return result


def _closest(length: np.ndarray, ref_lengths: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """(N,) reference length nearest to the hypothesis, the shorter on a tie."""
    # Sorting by (owner, distance, length) puts the chosen reference of each pair first.
    order = np.lexsort((ref_lengths, np.abs(ref_lengths - length[owner]), owner))
    first = order[runs(owner[order])]
    result = np.zeros(len(length))
    result[owner[first]] = ref_lengths[first]
    return result


def brevity_penalty(sums: np.ndarray, smoothing: str = "none") -> np.ndarray:
    """(..., K) statistics -> (...,) exp(1 - r/h) where h < r, else 1; 0 for an empty hypothesis."""
    hyp, ref = sums[..., -2], sums[..., -1]
    if smoothing == "coco":
        ratio = (hyp + 1e-15) / (ref + 1e-9)
    else:
        ratio = np.divide(hyp, ref, out=np.full_like(hyp, np.inf), where=ref > 0)
    with np.errstate(divide="ignore"):
        return np.where(hyp > 0, np.exp(np.minimum(0.0, 1 - 1 / ratio)), 0.0)


def bleu(
    sums: np.ndarray,
    smoothing: str = "none",
    value: float | None = None,
    effective_order: bool = False,
) -> np.ndarray:
    """(..., K) statistics, summed or per pair -> (..., n) cumulative BLEU-1..n in [0, 1].

    BLEU_n = BP * (prod_{k<=n} p_k)^(1/n); p_k = c_k / g_k, smoothed as `smoothing` says (see
    `ctfw.scoring.smoothing`); 0 where a precision is 0, where nothing at all matches (but for
    "coco"), and for an empty hypothesis. `effective_order`: only the orders that the hypothesis
    is long enough for, as sacrebleu's BLEU of single sentences has it.
    """
    order = (sums.shape[-1] - 2) // 2
    precision = precisions(sums, smoothing, value)
    used = np.broadcast_to(np.arange(1, order + 1), precision.shape)
    if effective_order:
        # "add-k" adds guesses too, so that no order is without one.
        long_enough = (sums[..., order : 2 * order] > 0) | (smoothing == "add-k")
        precision = np.where(long_enough, precision, 1.0)
        used = np.maximum(np.cumsum(long_enough, -1), 1)
    with np.errstate(divide="ignore"):
        mean = np.exp(np.cumsum(np.log(precision), axis=-1) / used)
    matched = (sums[..., :1] > 0) | (smoothing == "coco")
    return np.where(matched, mean * brevity_penalty(sums, smoothing)[..., None], 0.0)
