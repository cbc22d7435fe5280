"""Hypotheses and references as integers: one pass of encoding that all text metrics share."""

from __future__ import annotations

import gc
import weakref
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, count
from typing import Any

import numpy as np

from ctfw.scoring.ngrams import PairNgrams, Tokens, windows
from ctfw.scoring.tokens import tokenise
from ctfw.types import Prediction

KEPT = 2
"""Encodings that are kept at once: a corpus of 2,000 pairs of 200 words takes about 40 MB."""


class EncodedPairs:
    """N hypotheses, each with one or more references, as token ids.

    vocabulary  the token of each id
    ids         (T,) int32 of all texts: the first hypothesis, its references, the next hypothesis
    lengths     (D,) tokens of each text; `ends` where each text ends in `ids`
    pair        (D,) which pair a text belongs to
    hypotheses, references  indices of the texts that are one or the other, (N,) and (D - N,)
    """

    def __init__(
        self, hypotheses: Sequence[Tokens], references: Sequence[Sequence[Tokens]]
    ) -> None:
        """Raises ValueError where a hypothesis has no reference, or the numbers differ."""
        if len(hypotheses) != len(references) or not all(references):
            raise ValueError(
                f"{len(hypotheses)} hypotheses for {len(references)} lists of references: each "
                "hypothesis needs a list with one reference or more"
            )
        texts = [
            text for own, refs in zip(hypotheses, references, strict=True) for text in (own, *refs)
        ]
        ids: defaultdict[str, int] = defaultdict(count().__next__)
        self.lengths = np.array(list(map(len, texts)), np.int64)
        each = map(ids.__getitem__, chain.from_iterable(texts))
        self.ids = np.fromiter(each, np.int32, int(self.lengths.sum()))
        self.vocabulary = tuple(ids)
        self.ends = np.cumsum(self.lengths)
        size = np.array([1 + len(refs) for refs in references], np.int64)
        self.pair = np.repeat(np.arange(len(size)), size)
        self.hypotheses = np.cumsum(size) - size
        self.references = np.setdiff1d(np.arange(len(texts)), self.hypotheses, assume_unique=True)
        self._ngrams: list[PairNgrams] = []

    def __len__(self) -> int:
        return len(self.hypotheses)

    def ngrams(self, order: int) -> list[PairNgrams]:
        """The n-grams of n = 1..order; counted once."""
        if len(self._ngrams) < order:
            made = windows(self.ids, self.lengths, len(self.vocabulary), order, repeated=True)
            self._ngrams = [
                PairNgrams.of(*found, np.maximum(self.lengths - n, 0), self.pair)
                for n, found in enumerate(made)
            ]
        return self._ngrams[:order]

    def slices(self, values: Sequence[Any]) -> list[Any]:
        """`values`, one per token of `ids`, cut into the texts."""
        ends = self.ends.tolist()
        return [values[start:end] for start, end in zip([0, *ends], ends)]

    def per_pair(self, of_references: np.ndarray) -> np.ndarray:
        """(D - N,) values of the references -> (N,) mean over those of a pair."""
        owner = self.pair[self.references]
        total = np.bincount(owner, weights=of_references, minlength=len(self))
        return np.asarray(total / np.maximum(np.bincount(owner, minlength=len(self)), 1))

    def best_of_pair(self, of_references: np.ndarray) -> np.ndarray:
        """(D - N,) values of the references -> (N,) the largest of those of a pair."""
        if not len(self):
            return np.zeros(0)
        first = np.searchsorted(self.references, self.hypotheses)
        return np.asarray(np.maximum.reduceat(of_references, first))


def encode(
    hypotheses: Sequence[str],
    references: Sequence[str | Sequence[str]],
    tokeniser: str = "whitespace",
) -> EncodedPairs:
    """Texts -> token ids. An entry of `references` is one text or several of the same pair.

    Raises KeyError for an unknown tokeniser, ValueError where a hypothesis has no reference.
    """
    several = [[entry] if isinstance(entry, str) else list(entry) for entry in references]
    with _no_collection():
        flat = iter(tokenise([text for entry in several for text in entry], tokeniser))
        tokens = [[next(flat) for _ in entry] for entry in several]
        return EncodedPairs(tokenise(hypotheses, tokeniser, generated=True), tokens)


@contextmanager
def _no_collection() -> Iterator[None]:
    """No garbage collection: it would walk the new tokens again and again, and find no cycle."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


_kept: dict[tuple[Any, ...], tuple[EncodedPairs, weakref.ref[Prediction]]] = {}


def encode_predictions(predictions: Sequence[Prediction], tokeniser: str) -> EncodedPairs:
    """The encoding of predictions and their references, made once for all metrics that score them.

    An encoding is kept while its first prediction is in use, and at most `KEPT` of them: the
    metrics of one table, called one after the other, tokenise once, and nothing is left when the
    predictions are gone. It is found by the texts, so a list that was changed is encoded anew.
    """
    generated = tuple(prediction.generated for prediction in predictions)
    reference = tuple(prediction.reference for prediction in predictions)
    key = (tokeniser, generated, reference)
    if key in _kept:
        return _kept[key][0]
    made = encode(generated, reference, tokeniser)
    if predictions:
        for oldest in list(_kept)[: len(_kept) + 1 - KEPT]:
            _kept.pop(oldest, None)
        _kept[key] = made, weakref.ref(predictions[0], lambda _: _kept.pop(key, None))
    return made
