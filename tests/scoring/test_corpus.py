"""Texts are encoded once, counted exactly, and forgotten with the predictions."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw.scoring import corpus, ngrams
from ctfw.scoring.corpus import EncodedPairs, encode, encode_predictions
from ctfw.scoring.ngrams import bleu_statistics
from ctfw.scoring.rouge import lcs_lengths, lcs_places, rouge_l
from ctfw.types import Prediction
from ctfw_plugins.metrics.bleu import Bleu
from ctfw_plugins.metrics.cider import Cider
from ctfw_plugins.metrics.configs import BleuConfig, CiderConfig, MeteorConfig, RougeLConfig
from ctfw_plugins.metrics.meteor import Meteor
from ctfw_plugins.metrics.rouge_l import RougeL

TOKENS = st.lists(st.sampled_from("abcde"), max_size=12)
GROUPS = st.lists(st.tuples(TOKENS, st.lists(TOKENS, min_size=1, max_size=3)), max_size=5)
Groups = list[tuple[list[str], list[list[str]]]]


def counted(tokens: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(tokens[i : i + n]) for i in range(len(tokens) - n + 1))


def statistics_by_hand(groups: Groups) -> np.ndarray:
    """BLEU statistics by Counter, as the definition reads."""
    rows = []
    for hyp, refs in groups:
        row: list[float] = []
        for n in range(1, 5):
            best: Counter[tuple[str, ...]] = Counter()
            for ref in refs:
                best |= counted(ref, n)
            row.append((counted(hyp, n) & best).total())
        row += [max(len(hyp) - n, 0) for n in range(4)]
        row += [len(hyp), min((abs(len(ref) - len(hyp)), len(ref)) for ref in refs)[1]]
        rows.append(row)
    return np.array(rows, float).reshape(-1, 10)


def pairs_of(groups: Groups) -> EncodedPairs:
    return EncodedPairs([hyp for hyp, _ in groups], [refs for _, refs in groups])


@settings(max_examples=100, deadline=None)
@given(GROUPS)
def test_statistics_equal_a_count_by_hand(groups: Groups) -> None:
    assert np.array_equal(bleu_statistics(pairs_of(groups)), statistics_by_hand(groups))


CODES = st.lists(st.integers(0, 2**62), max_size=60).map(lambda codes: codes + codes[::3])


@pytest.mark.parametrize("multipliers", [ngrams._MULTIPLIERS, [], [0, 0], [1, 1 << 63]])
@settings(max_examples=50, deadline=None)
@given(CODES)
def test_equal_codes_and_no_others_get_equal_numbers(
    multipliers: Sequence[int], codes: list[int]
) -> None:
    """Also where every code hashes to one place, and where no multiplier is left."""
    usual = ngrams._MULTIPLIERS
    try:
        ngrams._MULTIPLIERS = np.array(multipliers, np.uint64)
        numbers = ngrams.renumber(np.array(codes, np.int64))
    finally:
        ngrams._MULTIPLIERS = usual
    assert all(0 <= number < len(codes) for number in numbers)
    assert len(set(zip(codes, numbers))) == len(set(codes)) == len(set(numbers))


def test_a_vocabulary_whose_codes_would_overflow_is_counted_exactly() -> None:
    rng = np.random.default_rng(0)
    vocabulary, texts = 60_000, 40
    assert vocabulary**4 * texts > 2**63
    lists = [[f"w{i}" for i in rng.integers(vocabulary, size=4000)] for _ in range(texts)]
    copies = [words[:1000] + other[1000:] for words, other in pairwise(lists)]
    groups = [(copy, [words]) for copy, words in zip(copies, lists)]
    found = bleu_statistics(pairs_of(groups))
    assert np.array_equal(found, statistics_by_hand(groups))
    assert found[:, 3].min() >= 997


def test_more_words_than_characters_still_have_a_common_subsequence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tokens = [str(i) for i in range(60_000)]  # beyond the range that UTF-16 reserves
    pairs = EncodedPairs([tokens], [[tokens[::2]]])
    assert lcs_lengths(pairs) == [30_000]
    monkeypatch.setattr("ctfw.scoring.rouge._CHARACTERS", 100)
    assert lcs_lengths(pairs) == [30_000]


def test_rouge_l_weighs_recall_by_beta() -> None:
    # P = 3/4, R = 3/6 by hand: the subsequence of "a b c x" and "a y b z c w" is "a b c"
    f = rouge_l(encode(["a b c x"], ["a y b z c w"]), 1.2)
    assert f[0] == pytest.approx((1 + 1.44) * 0.75 * 0.5 / (0.5 + 1.44 * 0.75), abs=1e-15)


def test_best_reference_is_the_best_f_or_the_best_parts() -> None:
    pairs = encode(["a b c d"], [["a b", "a b c x y z"]])
    # P, R are 2/4, 2/2 and 3/4, 3/6: F is 2/3 and 3/5, of the best parts 2 * 3/4 / (7/4)
    assert rouge_l(pairs, 1.0, "f")[0] == pytest.approx(2 / 3, abs=1e-15)
    assert rouge_l(pairs, 1.0, "parts")[0] == pytest.approx(6 / 7, abs=1e-15)


@given(TOKENS, TOKENS)
def test_places_are_a_longest_common_subsequence(first: list[str], second: list[str]) -> None:
    places = lcs_places(first, second)
    assert len(places) == lcs_lengths(EncodedPairs([second], [[first]]))[0]
    rest = iter(second)
    assert all(first[i] in rest for i in places)


def predictions() -> list[Prediction]:
    return [Prediction(f"c{i}", "p", f"No nodule {i}.", f"A nodule {i}.") for i in range(5)]


def test_metrics_of_one_table_tokenise_once(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    plain = corpus.tokenise
    monkeypatch.setattr(corpus, "tokenise", lambda *a, **k: calls.append(a) or plain(*a, **k))
    made = predictions()
    for metric in (
        Bleu(BleuConfig()),
        RougeL(RougeLConfig()),
        Cider(CiderConfig()),
        Meteor(MeteorConfig(synonyms="never")),
    ):
        metric.score(made)
    assert len(calls) == 2  # hypotheses and references


def test_a_changed_list_is_encoded_anew() -> None:
    made = predictions()
    first = encode_predictions(made, "whitespace")
    assert encode_predictions(list(made), "whitespace") is first
    made[2] = Prediction("c2", "p", "Effusion.", "A nodule 2.")
    assert encode_predictions(made, "whitespace") is not first
    assert encode_predictions(made, "r2gen") is not encode_predictions(made, "whitespace")


def test_encodings_go_with_their_predictions_and_stay_few() -> None:
    made = predictions()
    before = len(corpus._kept)
    encode_predictions(made, "whitespace")
    del made
    gc.collect()
    assert len(corpus._kept) <= before
    many = [predictions() for _ in range(9)]
    for i, some in enumerate(many):
        some[0] = Prediction("x", "p", f"text {i}", "text")
        encode_predictions(some, "whitespace")
    assert len(corpus._kept) <= corpus.KEPT
