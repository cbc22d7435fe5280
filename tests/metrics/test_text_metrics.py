"""BLEU and ROUGE-L against the packages that others score with, and against golden values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from ctfw.scoring import ngrams
from ctfw.scoring.ngrams import bleu, bleu_statistics
from ctfw.scoring.tokens import tokenise
from ctfw.types import Prediction
from ctfw_plugins.metrics.bleu import Bleu
from ctfw_plugins.metrics.configs import BleuConfig, RougeLConfig
from ctfw_plugins.metrics.rouge_l import RougeL, lcs, rouge_l

WORDS = st.sampled_from(
    ["no", "right", "lung", "nodule", "was", "not", "observed", ",", ".", "5 mm"]
)
TEXT = st.lists(WORDS, max_size=14).map(" ".join)
PAIRS = st.lists(st.tuples(TEXT, TEXT), min_size=1, max_size=6)


def predictions(pairs: list[tuple[str, str]]) -> list[Prediction]:
    return [Prediction(f"c{i}", f"p{i}", gen, ref) for i, (gen, ref) in enumerate(pairs)]


def split(texts: list[str]) -> list[list[str]]:
    return [text.split() for text in texts]


def sacre(hyps: list[str], refs: list[list[str]], order: int) -> float:
    metric = BLEU(tokenize="none", smooth_method="none", max_ngram_order=order, force=True)
    return float(metric.corpus_score(hyps, refs).score) / 100


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_bleu_equals_sacrebleu(pairs: list[tuple[str, str]]) -> None:
    scores = Bleu(BleuConfig(protocol="whitespace")).score(predictions(pairs))
    hyps, refs = [pair[0] for pair in pairs], [[pair[1] for pair in pairs]]
    for n in range(1, 5):
        assert scores.values[f"bleu-{n}"] == pytest.approx(sacre(hyps, refs, n), abs=1e-12)
        single = [sacre([gen], [[ref]], n) for gen, ref in pairs]
        assert scores.per_case[f"bleu-{n}"] == pytest.approx(single, abs=1e-12)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(TEXT, TEXT, TEXT), min_size=1, max_size=4))
def test_bleu_of_several_references_equals_sacrebleu(triples: list[tuple[str, str, str]]) -> None:
    hyps = [triple[0] for triple in triples]
    sums = bleu_statistics(split(hyps), [split(list(t[1:])) for t in triples]).sum(0)
    expected = sacre(hyps, [[t[1] for t in triples], [t[2] for t in triples]], 4)
    assert bleu(sums)[3] == pytest.approx(expected, abs=1e-12)


def test_bleu_is_the_same_when_ngram_codes_must_be_densified(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(0)
    lists = [[str(word) for word in rng.integers(40, size=30)] for _ in range(20)]
    plain = bleu_statistics(lists[:10], [[ref] for ref in lists[10:]])
    monkeypatch.setattr(ngrams, "_LARGEST", 1 << 18)
    dense = bleu_statistics(lists[:10], [[ref] for ref in lists[10:]])
    assert np.array_equal(plain, dense)
    assert plain[:, 1].sum() > 0


@settings(max_examples=60, deadline=None)
@given(PAIRS)
def test_rouge_l_equals_rouge_score(pairs: list[tuple[str, str]]) -> None:
    scores = RougeL(RougeLConfig(protocol="rouge-score", beta=1)).score(predictions(pairs))
    scorer = RougeScorer(["rougeL"])
    expected = [scorer.score(ref, gen)["rougeL"].fmeasure for gen, ref in pairs]
    assert scores.per_case["rouge-l"] == pytest.approx(expected, abs=1e-12)
    assert scores.values["rouge-l"] == pytest.approx(np.mean(expected), abs=1e-12)


def test_rouge_l_weighs_recall_by_beta() -> None:
    # P = 3/4, R = 3/6 by hand: LCS of "a b c x" and "a y b z c w" is "a b c"
    f = rouge_l([["a", "b", "c", "x"]], [["a", "y", "b", "z", "c", "w"]], 1.2)
    assert f[0] == pytest.approx((1 + 1.44) * 0.75 * 0.5 / (0.5 + 1.44 * 0.75), abs=1e-15)


def test_lcs_holds_beyond_the_surrogate_range() -> None:
    tokens = [str(i) for i in range(60000)]
    assert lcs(tokens, tokens[::2]) == 30000


@settings(max_examples=30, deadline=None)
@given(PAIRS, st.randoms(use_true_random=False))
def test_corpus_scores_ignore_order_and_doubling(pairs: list[tuple[str, str]], rnd: Any) -> None:
    shuffled = list(pairs)
    rnd.shuffle(shuffled)
    for metric in (Bleu(BleuConfig()), RougeL(RougeLConfig())):
        once = metric.score(predictions(pairs)).values
        assert metric.score(predictions(shuffled)).values == pytest.approx(once, abs=1e-12)
        assert metric.score(predictions(pairs * 2)).values == pytest.approx(once, abs=1e-12)


@pytest.mark.parametrize("protocol", ["r2gen", "whitespace", "vlm3d"])
def test_identical_text_scores_one_and_empty_text_zero(protocol: Any) -> None:
    text = "No nodule, mass or infiltration was detected in both lungs. Heart size is normal."
    empty = [("", text), (" \n", text)]
    for metric in (Bleu(BleuConfig(protocol=protocol)), RougeL(RougeLConfig(protocol=protocol))):
        same = metric.score(predictions([(text, text)]))
        assert list(same.values.values()) == pytest.approx([1.0] * len(same.values), abs=1e-12)
        none = metric.score(predictions(empty))
        assert set(none.values.values()) == {0.0}
        mixed = metric.score(predictions([(text, text), *empty]))
        assert all(0 < value < 1 for value in mixed.values.values())


def test_statistics_reduce_to_the_values() -> None:
    pairs = [("a b c d e", "a b c d f"), ("a b", "a b c"), ("", "x"), ("q r s t", "q r s t")]
    scores = Bleu(BleuConfig(protocol="whitespace")).score(predictions(pairs))
    assert scores.statistics is not None
    assert scores.reduce is not None
    weights = np.array([[1, 1, 1, 1], [2, 0, 1, 1]])
    both = scores.reduce(weights @ scores.statistics)
    repeated = [pairs[0], pairs[0], pairs[2], pairs[3]]
    again = Bleu(BleuConfig(protocol="whitespace")).score(predictions(repeated))
    for name, value in scores.values.items():
        assert both[name][0] == value
        assert both[name][1] == pytest.approx(again.values[name], abs=1e-15)


def test_no_predictions_is_undefined_not_zero() -> None:
    for metric in (Bleu(BleuConfig()), RougeL(RougeLConfig())):
        scores = metric.score([])
        assert all(np.isnan(value) for value in scores.values.values())
        assert scores.notes


def test_r2gen_cleans_as_its_paper_does() -> None:
    text = 'Heart: "normal" (size).\nPleural effusion-thickening?  1. No nodule, 4.5 mm.'
    cleaned = "heart normal size . pleural effusion-thickening no nodule 45 mm ."
    assert " ".join(tokenise([text], "r2gen")[0]) == cleaned
    assert tokenise(["...", ""], "r2gen") == [[], []]


def test_vlm3d_cleans_predictions_more_than_references() -> None:
    text = 'The "heart" .\nlungs_x<|eot_id|>'
    assert tokenise([text], "vlm3d", generated=True)[0] == ["The", "heart.lungsx"]
    assert tokenise([text], "vlm3d")[0] == ["The", '"heart".lungs_x<|eot_id|>']


@pytest.mark.realdata
def test_golden_values_of_peers_are_reproduced(real_data: Path) -> None:
    coco = json.loads((real_data / "metrics/coco_caption/bleu_from_stats.json").read_text())
    sums = np.array([*coco["correct"], *coco["guess"], coco["testlen"], coco["reflen"]], float)
    for i, value in enumerate(bleu(sums, "coco")):
        assert round(float(value), 3) == coco["expected_3dp"][f"Bleu_{i + 1}"]

    nltk = json.loads((real_data / "metrics/nltk/bleu_cases.json").read_text())
    for case in nltk["sentence_bleu"]:
        if "smoothing" not in case:
            order = 5 if "bleu5" in case else 4
            sums = bleu_statistics(split([case["hyp"]]), [split(case["refs"])], order)[0]
            assert bleu(sums)[order - 1] == pytest.approx(case[f"bleu{order}"], abs=1e-4)
    for case in nltk["corpus_bleu"]:
        rows = bleu_statistics(split(case["hyps"]), [split(refs) for refs in case["refs"]])
        assert bleu(rows.sum(0))[3] == pytest.approx(case["bleu4"], abs=1e-4)
        assert bleu(rows)[:, 3].mean() == pytest.approx(case["mean_of_sentence_bleu"], abs=1e-4)
    for case in nltk["modified_precision"]:
        row = bleu_statistics(split([case["hyp"]]), [split(case["refs"])], 2)[0]
        precision = row[:2] / row[2:4]
        assert precision == pytest.approx([case["p1"], case["p2"]], abs=1e-4)
    for case in nltk["brevity_penalty"]:
        refs = [["a"] * size for size in case["ref_lens"]]
        row = bleu_statistics([["a"] * case["hyp_len"]], [refs], 1)[0]
        clipped = row[0] / row[1]
        assert bleu(row)[0] / clipped == pytest.approx(case["bp"], abs=1e-4)

    sacrebleu = json.loads((real_data / "metrics/sacrebleu/cases.json").read_text())
    for case in sacrebleu["corpus_bleu"]:
        if case["kwargs"].get("tokenize") == "none":
            refs = [split(list(one)) for one in zip(*case["refs"], strict=True)]
            value = bleu(bleu_statistics(split(case["hyps"]), refs).sum(0))[3]
            assert 100 * value == pytest.approx(case["score_0_100"], abs=1e-6)
    for case in sacrebleu["statistics"]:
        row = bleu_statistics(split(case["hyps"]), [split(case["refs"][0])])[0]
        assert row[:8].tolist() == [*case["correct"], *case["total"]]
    for case in sacrebleu["from_statistics"]:
        lengths = [case["sys_len"], case["ref_len"]]
        value = bleu(np.array([*case["correct"], *case["total"], *lengths], float))[3]
        assert value == pytest.approx(case["score_0_1"], abs=1e-9)


@pytest.mark.realdata
def test_golden_values_of_rouge_and_radeval_are_reproduced(real_data: Path) -> None:
    rouge = json.loads((real_data / "metrics/rouge_score/cases.json").read_text())
    folder = real_data / "metrics/rouge_score"
    gen = tokenise((folder / "prediction.txt").read_text().splitlines(), "rouge-score")
    ref = tokenise((folder / "target.txt").read_text().splitlines(), "rouge-score")
    expected = rouge["line_pairs_target_vs_prediction"]["rougeL"]
    values = rouge_l(gen, ref, 1.0)
    assert values == pytest.approx([row["fmeasure"] for row in expected], abs=5.1e-6)
    for case in rouge["small"]:
        if case["type"] == "rougeL":
            tokens = tokenise([case["pred"], case["target"]], "rouge-score")
            assert rouge_l(tokens[:1], tokens[1:], 1.0)[0] == pytest.approx(case["f"], abs=1e-12)
    for case in rouge["lcs"]:
        assert lcs([str(i) for i in case["ref"]], [str(i) for i in case["can"]]) == case["len"]

    samples = json.loads((real_data / "radeval_golden/regression_samples.json").read_text())
    golden = json.loads((real_data / "radeval_golden/expected_scores_cpu.json").read_text())
    rows = predictions(list(zip(samples["hyps"], samples["refs"], strict=True)))
    scores = Bleu(BleuConfig(protocol="whitespace", smoothing="coco")).score(rows)
    assert scores.per_case["bleu-4"] == pytest.approx(golden["per_sample"]["bleu"], rel=1e-9)
    corpus = {"bleu-1": "bleu_1", "bleu-2": "bleu_2", "bleu-3": "bleu_3", "bleu-4": "bleu"}
    for ours, theirs in corpus.items():
        assert round(scores.values[ours], 4) == golden["detailed"][theirs]
    rl = RougeL(RougeLConfig(protocol="rouge-score", beta=1)).score(rows)
    assert rl.per_case["rouge-l"] == pytest.approx(golden["per_sample"]["rougeL"], abs=1e-12)
