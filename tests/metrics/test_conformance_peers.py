"""Ours equal the packages that others score with, to 1e-12, on random text."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.translate.bleu_score import corpus_bleu
from nltk.translate.meteor_score import meteor_score
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from ctfw.scoring.corpus import encode
from ctfw.scoring.meteor import meteor
from ctfw.scoring.ngrams import bleu, bleu_statistics
from ctfw.scoring.rouge import rouge_l, rouge_lsum, rouge_n
from ctfw.scoring.tokens import mteval_13a, tokenise

VOCABULARY = (
    "No no right lung nodule nodules nodular was not observed observing , . 5 mm 4.5mm (small) "
    'effusion-thickening "mass" lobes lobe A&B &amp; 3,2 -5 İ naïve α'
)
WORDS = st.sampled_from(VOCABULARY.split())
TEXT = st.lists(WORDS, min_size=1, max_size=14).map(" ".join)
LINES = st.lists(TEXT, min_size=1, max_size=4).map("\n".join)
REFERENCES = st.lists(TEXT, min_size=1, max_size=3)
CORPUS = st.lists(st.tuples(TEXT, REFERENCES), min_size=1, max_size=5)
Corpus = list[tuple[str, list[str]]]


class WordNet:
    """A stand-in with the two methods that nltk's METEOR asks for."""

    def __init__(self, groups: list[set[str]]) -> None:
        self.groups = groups

    def synonyms(self, word: str) -> set[str]:
        return {name for group in self.groups if word in group for name in group if "_" not in name}

    def synsets(self, word: str) -> list[Any]:
        class Named:
            def __init__(self, name: str) -> None:
                self.text = name

            def name(self) -> str:
                return self.text

        class Synset:
            def __init__(self, names: set[str]) -> None:
                self.names = names

            def lemmas(self) -> list[Named]:
                return [Named(name) for name in self.names]

        return [Synset(group) for group in self.groups if word in group]


NO_WORDNET = WordNet([])
SMALL_WORDNET = WordNet([{"lung", "lobe", "a_b"}, {"nodul", "mass", "right"}, {"no", "not"}])


def sides(corpus: Corpus) -> tuple[list[str], list[list[str]]]:
    return [hyp for hyp, _ in corpus], [refs for _, refs in corpus]


@settings(max_examples=40, deadline=None)
@given(CORPUS, st.sampled_from(["none", "exp", "floor", "add-k"]), st.integers(1, 5))
def test_bleu_equals_sacrebleu(corpus: Corpus, smoothing: str, order: int) -> None:
    hyps, refs = sides(corpus)
    fewest = min(map(len, refs))  # sacrebleu wants as many references for each
    refs = [group[:fewest] for group in refs]
    streams = [[group[k] for group in refs] for k in range(fewest)]
    for theirs, ours in (("13a", "13a"), ("none", "whitespace"), ("intl", "intl")):
        statistics = bleu_statistics(encode(hyps, refs, ours), order)
        metric = BLEU(tokenize=theirs, smooth_method=smoothing, max_ngram_order=order, force=True)
        expected = metric.corpus_score(hyps, streams).score / 100
        assert bleu(statistics.sum(0), smoothing)[-1] == pytest.approx(expected, abs=1e-12)
        metric = BLEU(
            tokenize=theirs, smooth_method=smoothing, max_ngram_order=order, effective_order=True
        )
        each = [metric.sentence_score(h, r).score / 100 for h, r in zip(hyps, refs, strict=True)]
        found = bleu(statistics, smoothing, effective_order=True)[:, -1]
        assert found == pytest.approx(each, abs=1e-12)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=60) | TEXT)
def test_13a_tokens_equal_sacrebleus(text: str) -> None:
    theirs = BLEU(tokenize="13a", force=True).tokenizer(text.rstrip()).split()
    assert mteval_13a(text) == theirs


@settings(max_examples=40, deadline=None)
@given(CORPUS)
def test_bleu_equals_nltk(corpus: Corpus) -> None:
    # nltk counts one guess where a text is too short for an order, so the texts are made longer
    hyps, refs = sides([(f"{hyp} it was as before", group) for hyp, group in corpus])
    words = [hyp.split() for hyp in hyps], [[ref.split() for ref in group] for group in refs]
    statistics = bleu_statistics(encode(hyps, refs)).sum(0)
    weights = [(1.0,), (1 / 2,) * 2, (1 / 3,) * 3, (1 / 4,) * 4]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # nltk warns of orders without a match
        expected = corpus_bleu(words[1], words[0], weights)
    assert bleu(statistics) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(CORPUS)
def test_meteor_equals_nltk(corpus: Corpus) -> None:
    hyps, refs = sides(corpus)
    pairs = encode(hyps, refs)
    for wordnet in (NO_WORDNET, SMALL_WORDNET):
        expected = [
            meteor_score([ref.split() for ref in group], hyp.split(), wordnet=wordnet)
            for hyp, group in corpus
        ]
        synonyms = None if wordnet is NO_WORDNET else wordnet.synonyms
        assert meteor(pairs, synonyms) == pytest.approx(expected, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(CORPUS, st.booleans())
def test_rouge_equals_rouge_score(corpus: Corpus, stem: bool) -> None:
    hyps, refs = sides(corpus)
    scorer = RougeScorer(["rouge1", "rouge2", "rouge3", "rougeL"], use_stemmer=stem)
    expected = [scorer.score_multi(group, hyp) for hyp, group in corpus]
    pairs = encode(hyps, refs, "rouge-score+stem" if stem else "rouge-score")
    for n in (1, 2, 3):
        each = [scores[f"rouge{n}"].fmeasure for scores in expected]
        assert rouge_n(pairs, n) == pytest.approx(each, abs=1e-12)
    each = [scores["rougeL"].fmeasure for scores in expected]
    assert rouge_l(pairs) == pytest.approx(each, abs=1e-12)


@settings(max_examples=60, deadline=None)
@given(LINES, st.lists(LINES, min_size=1, max_size=2), st.booleans())
def test_rouge_lsum_equals_rouge_score(hyp: str, refs: list[str], stem: bool) -> None:
    def sentences(text: str) -> list[list[str]]:
        return tokenise(text.split("\n"), "rouge-score+stem" if stem else "rouge-score")

    expected = RougeScorer(["rougeLsum"], use_stemmer=stem).score_multi(refs, hyp)
    found = rouge_lsum(sentences(hyp), [sentences(ref) for ref in refs])
    assert found == pytest.approx(expected["rougeLsum"].fmeasure, abs=1e-12)
