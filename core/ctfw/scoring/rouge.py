"""ROUGE-N, ROUGE-L and ROUGE-Lsum (Lin, 2004) in the two conventions that are in use.

F = (1 + b^2) P R / (R + b^2 P) with P = matches / tokens generated, R = matches / tokens of the
reference. coco-caption has b = 1.2 and takes the best P and the best R of several references;
the package rouge-score has b = 1 and takes the reference with the best F.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np
from rapidfuzz.distance import LCSseq

from ctfw.scoring.corpus import EncodedPairs
from ctfw.scoring.ngrams import Tokens

_SURROGATES = range(0xD800, 0xE000)
_CHARACTERS = 0x110000 - len(_SURROGATES)


def f_score(precision: np.ndarray, recall: np.ndarray, beta: float) -> np.ndarray:
    """F of precision and recall, recall weighted by `beta`; 0 where both are 0."""
    below = recall + beta**2 * precision
    above = (1 + beta**2) * precision * recall
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def rouge_l(pairs: EncodedPairs, beta: float = 1.0, best_of: str = "f") -> np.ndarray:
    """(N,) ROUGE-L of each pair; 0 where either side is empty.

    best_of  with several references, "f" takes the best F, "parts" the best P and the best R
    """
    owner = pairs.pair[pairs.references]
    common = np.array(lcs_lengths(pairs), float)
    hyp, ref = pairs.lengths[pairs.hypotheses][owner], pairs.lengths[pairs.references]
    return _of_pairs(pairs, common, hyp, ref, beta, best_of)


def rouge_n(pairs: EncodedPairs, n: int, beta: float = 1.0, best_of: str = "f") -> np.ndarray:
    """(N,) ROUGE-N of each pair; 0 where either side has no n-gram."""
    owner = pairs.pair[pairs.references]
    common = pairs.ngrams(n)[n - 1].overlap(len(pairs.lengths))[pairs.references]
    grams = np.maximum(pairs.lengths - n + 1, 0)
    hyp, ref = grams[pairs.hypotheses][owner], grams[pairs.references]
    return _of_pairs(pairs, common, hyp, ref, beta, best_of)


def _of_pairs(
    pairs: EncodedPairs,
    common: np.ndarray,
    hyp: np.ndarray,
    ref: np.ndarray,
    beta: float,
    best_of: str,
) -> np.ndarray:
    """(R,) matches and sizes of each reference and its hypothesis -> (N,) F."""
    precision, recall = common / np.maximum(hyp, 1), common / np.maximum(ref, 1)
    if best_of == "parts":
        best = pairs.best_of_pair(precision), pairs.best_of_pair(recall)
        return f_score(*best, beta)
    return pairs.best_of_pair(f_score(precision, recall, beta))


def lcs_lengths(pairs: EncodedPairs) -> list[int]:
    """(R,) longest common subsequence of each reference with its hypothesis, in tokens."""
    if len(pairs.vocabulary) > _CHARACTERS:
        texts = pairs.slices(pairs.ids.tolist())
    else:
        texts = pairs.slices(as_characters(pairs.ids))
    similarity = LCSseq.similarity
    hypothesis = pairs.hypotheses[pairs.pair[pairs.references]].tolist()
    return [
        int(similarity(texts[hyp], texts[ref]))
        for hyp, ref in zip(hypothesis, pairs.references.tolist())
    ]


def as_characters(ids: np.ndarray) -> str:
    """One code point per token id, because the matcher is fastest on strings; the range that
    UTF-16 reserves is left out."""
    shifted = ids + len(_SURROGATES) * (ids >= _SURROGATES.start)
    return shifted.astype("<u4").tobytes().decode("utf-32-le")


def rouge_lsum(hypothesis: Sequence[Tokens], references: Sequence[Sequence[Tokens]]) -> float:
    """ROUGE-Lsum of one summary, given as sentences of tokens, and its references (Lin, 2004,
    3.2): for each sentence of the reference the union of its LCS with every generated sentence,
    a token counted no more often than either side has it. The best F of several references, b = 1.
    """
    return max((_summary_f(hypothesis, reference) for reference in references), default=0.0)


def _summary_f(hypothesis: Sequence[Tokens], reference: Sequence[Tokens]) -> float:
    in_hyp = Counter(token for sentence in hypothesis for token in sentence)
    in_ref = Counter(token for sentence in reference for token in sentence)
    hits = 0
    for sentence in reference:
        union = sorted({i for other in hypothesis for i in lcs_places(sentence, other)})
        for token in (sentence[i] for i in union):
            if in_hyp[token] > 0 and in_ref[token] > 0:
                hits += 1
                in_hyp[token] -= 1
                in_ref[token] -= 1
    if not hits:
        return 0.0
    precision, recall = hits / sum(map(len, hypothesis)), hits / sum(map(len, reference))
    return 2 * precision * recall / (precision + recall)


def lcs_places(first: Tokens, second: Tokens) -> list[int]:
    """Indices in `first` of one longest common subsequence with `second`.

    Of several it is the one that rouge-score's walk back from the ends finds: a match is taken
    where there is one, else a token of `first` is passed unless that shortens the subsequence.
    Rows of the table are bit strings (Hyyro, 2004): bit j is 0 where the length grows at j.
    """
    places: dict[str, int] = {}
    for j, token in enumerate(second):
        places[token] = places.get(token, 0) | 1 << j
    full = (1 << len(second)) - 1
    rows = [full]
    for token in first:
        row = rows[-1]
        found = row & places.get(token, 0)
        rows.append(((row + found) | (row - found)) & full)
    i, j, taken = len(first), len(second), []
    while i and j:
        mask = (1 << j) - 1
        if first[i - 1] == second[j - 1]:
            i, j = i - 1, j - 1
            taken.append(i)
        elif (rows[i] & mask).bit_count() < (rows[i - 1] & mask).bit_count():
            j -= 1
        else:
            i -= 1
    return taken[::-1]
