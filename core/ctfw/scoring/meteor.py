"""METEOR as nltk computes it (Lavie and Agarwal, WMT 2007): exact words, stems, synonyms.

This is not the Java program METEOR 1.5 that coco-caption calls: that one has paraphrases and other
weights, and much lower numbers. The two never stand in one column, so the signature says
`meteor-nltk` and which stages were used.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from itertools import pairwise

import numpy as np

from ctfw.scoring.corpus import EncodedPairs
from ctfw.scoring.porter import stem

ALPHA, BETA, GAMMA = 0.9, 3.0, 0.5
Synonyms = Callable[[str], set[str]]
Match = tuple[int, int]


def meteor(pairs: EncodedPairs, synonyms: Synonyms | None = None) -> np.ndarray:
    """(N,) METEOR of each pair in lower case, the best over its references.

    (1 - g (chunks / m)^b) F with F = P R / (a P + (1 - a) R), P = m / tokens generated, R = m /
    tokens of the reference, m matched tokens in `chunks` contiguous runs; a 0.9, b 3, g 0.5.
    Tokens are matched from the end of the generated text, each with the last one left that is the
    same word, then the same stem (Porter), then one of `synonyms` of its stem.
    """
    lower, stems, words = _forms(pairs.vocabulary)
    texts = pairs.slices(lower[pairs.ids].tolist())
    hyps = pairs.hypotheses[pairs.pair[pairs.references]].tolist()
    found = [
        _score(texts[hyp], texts[ref], stems, words, synonyms)
        for hyp, ref in zip(hyps, pairs.references.tolist())
    ]
    return pairs.best_of_pair(np.array(found, float))


def wordnet() -> Synonyms | None:
    """Synonyms from WordNet, where nltk and its data are installed; None where they are not."""
    try:
        reader = import_module("nltk.corpus").wordnet
        reader.ensure_loaded()
    except (ImportError, LookupError):
        return None

    @lru_cache(maxsize=1 << 16)
    def synonyms(word: str) -> set[str]:
        names = (lemma.name() for synset in reader.synsets(word) for lemma in synset.lemmas())
        return {name for name in names if "_" not in name}

    return synonyms


def _forms(vocabulary: Sequence[str]) -> tuple[np.ndarray, list[int], list[str]]:
    """(V,) id of each token's lower case; id of each id's stem; the word of each id."""
    ids: dict[str, int] = {}
    lower = [ids.setdefault(token.lower(), len(ids)) for token in vocabulary]
    stems = [ids.setdefault(stem(word), len(ids)) for word in list(ids)]
    return np.array(lower, np.int64), stems, list(ids)


def _score(
    hyp: list[int], ref: list[int], stems: list[int], words: list[str], synonyms: Synonyms | None
) -> float:
    matches = _matched(range(len(hyp)), hyp, range(len(ref)), ref)
    if len(matches) < min(len(hyp), len(ref)):
        for_stems = [stems[token] for token in hyp], [stems[token] for token in ref]
        matches += _matched(*_left(matches, *for_stems))
        if synonyms is not None:
            matches += _synonymous(*_left(matches, *for_stems), words, synonyms)
    if not matches:
        return 0.0
    precision, recall = len(matches) / len(hyp), len(matches) / len(ref)
    mean = precision * recall / (ALPHA * precision + (1 - ALPHA) * recall)
    return float((1 - GAMMA * (_chunks(matches) / len(matches)) ** BETA) * mean)


def _matched(
    hyp_places: Sequence[int], hyp: list[int], ref_places: Sequence[int], ref: list[int]
) -> list[Match]:
    """Tokens that are the same, from the end of both; each token once."""
    left: dict[int, list[int]] = {}
    for place, token in zip(ref_places, ref):
        left.setdefault(token, []).append(place)
    found = []
    for place, token in zip(reversed(hyp_places), reversed(hyp)):
        places = left.get(token)
        if places:
            found.append((place, places.pop()))
    return found


def _left(
    matches: list[Match], hyp: list[int], ref: list[int]
) -> tuple[list[int], list[int], list[int], list[int]]:
    """Places and tokens that no match holds: of the hypothesis, then of the reference."""
    used = [set(places) for places in zip(*matches)] if matches else [set(), set()]
    hyp_places = [i for i in range(len(hyp)) if i not in used[0]]
    ref_places = [i for i in range(len(ref)) if i not in used[1]]
    return hyp_places, [hyp[i] for i in hyp_places], ref_places, [ref[i] for i in ref_places]


def _synonymous(
    hyp_places: list[int],
    hyp: list[int],
    ref_places: list[int],
    ref: list[int],
    words: list[str],
    synonyms: Synonyms,
) -> list[Match]:
    """As `_matched` for words of which the one in the reference is a synonym of the other."""
    left: dict[str, list[int]] = {}
    for place, token in zip(ref_places, ref):
        left.setdefault(words[token], []).append(place)
    found = []
    for place, token in zip(reversed(hyp_places), reversed(hyp)):
        known = (left[name] for name in synonyms(words[token]) | {words[token]} if left.get(name))
        last = max(known, key=lambda places: places[-1], default=None)
        if last:
            found.append((place, last.pop()))
    return found


def _chunks(matches: list[Match]) -> int:
    """Number of runs in which both sides advance by one token."""
    ordered = sorted(matches)
    steps = pairwise(ordered)
    return 1 + sum((a + 1, b + 1) != following for (a, b), following in steps)
