"""CIDEr-D (Vedantam et al., CVPR 2015), as coco-caption computes it."""

from __future__ import annotations

import numpy as np

from ctfw.scoring.corpus import EncodedPairs

SIGMA = 6.0


def cider_d(pairs: EncodedPairs, order: int = 4, sigma: float = SIGMA) -> np.ndarray:
    """(N,) CIDEr-D of each pair, between 0 and 10.

    10 / n * sum_k exp(-d^2 / (2 sigma^2)) * sum_g min(h_g, r_g) r_g / (|h| |r|), mean over the
    references of a pair, with tf-idf weights h, r of the k-grams g, d the difference in bigrams,
    and idf = log N - log max(1, number of pairs with g in a reference). The idf comes from the
    references that are scored: with one pair it is 0, and so is the score.
    """
    texts = len(pairs.lengths)
    refs, owner = pairs.references, pairs.pair[pairs.references]
    hyps = pairs.hypotheses[owner]
    total = np.zeros(len(refs))
    for ngrams in pairs.ngrams(order):
        idf = _idf(ngrams.best, ngrams.ngram, len(pairs))
        weight = ngrams.spread(idf)
        own = ngrams.count * weight
        other = ngrams.spread(ngrams.hyp * idf)
        squares = np.bincount(ngrams.text, weights=own * own, minlength=texts)
        norm = np.sqrt(squares + ngrams.once * np.log(max(len(pairs), 1)) ** 2)
        shared = np.bincount(ngrams.text, weights=np.minimum(own, other) * own, minlength=texts)
        below = norm[hyps] * norm[refs]
        total += np.divide(shared[refs], below, out=np.zeros(len(refs)), where=below > 0)
    bigrams = np.maximum(pairs.lengths - 1, 0)
    penalty = np.exp(-((bigrams[hyps] - bigrams[refs]) ** 2) / (2 * sigma**2))
    return 10 / order * pairs.per_pair(total * penalty)


def _idf(best: np.ndarray, ngram: np.ndarray, number: int) -> np.ndarray:
    """(G,) inverse document frequency of the n-gram of each group (see `PairNgrams`)."""
    if not len(best):
        return np.zeros(0)
    frequency = np.add.reduceat((best > 0).astype(np.int64), ngram)
    idf = np.log(number) - np.log(np.maximum(frequency, 1))
    return np.repeat(idf, np.diff(ngram, append=len(best)))
