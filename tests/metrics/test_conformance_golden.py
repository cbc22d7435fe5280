"""Every golden value that the peers' own tests expect is reproduced."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctfw.scoring.corpus import EncodedPairs, encode
from ctfw.scoring.meteor import meteor
from ctfw.scoring.ngrams import bleu, bleu_statistics, brevity_penalty
from ctfw.scoring.rouge import f_score, lcs_lengths, lcs_places, rouge_l, rouge_lsum, rouge_n
from ctfw.scoring.smoothing import precisions
from ctfw.scoring.tokens import tokenise
from ctfw.types import Prediction
from ctfw_plugins.metrics.bleu import Bleu
from ctfw_plugins.metrics.configs import BleuConfig, RougeLConfig, RougeNConfig
from ctfw_plugins.metrics.rouge_l import RougeL
from ctfw_plugins.metrics.rouge_n import RougeN

pytestmark = pytest.mark.realdata
SACREBLEU_TOKENISERS = {"none": "whitespace", "13a": "13a", "intl": "intl", "char": "char"}
NLTK_SMOOTHING = {"none": "none", "method1": "floor", "method2": "add-k", "method4": "length"}


@pytest.fixture
def golden(real_data: Path) -> Any:
    def read(name: str) -> Any:
        return json.loads((real_data / name).read_text(encoding="utf-8"))

    return read


def by_hypothesis(refs: Sequence[Sequence[str]]) -> list[list[str]]:
    """sacrebleu's refs[k][i] as refs[i][k]."""
    return [list(group) for group in zip(*refs, strict=True)]


def sums_of(case: dict[str, Any], tokeniser: str = "whitespace", order: int = 4) -> np.ndarray:
    pairs = encode(case["hyps"], by_hypothesis(case["refs"]), tokeniser)
    return bleu_statistics(pairs, order).sum(0)


def test_coco_caption_bleu_from_statistics(golden: Any) -> None:
    case = golden("metrics/coco_caption/bleu_from_stats.json")
    sums = np.array([*case["correct"], *case["guess"], case["testlen"], case["reflen"]], float)
    assert case["testlen"] / case["reflen"] == pytest.approx(case["ratio"], abs=1e-10)
    for i, value in enumerate(bleu(sums, "coco")):
        assert round(float(value), 3) == case["expected_3dp"][f"Bleu_{i + 1}"]


def test_nltk_bleu(golden: Any) -> None:
    cases = golden("metrics/nltk/bleu_cases.json")
    assert len(cases["sentence_bleu"]) == 7
    for case in cases["sentence_bleu"]:
        order = 5 if "bleu5" in case else 4
        row = bleu_statistics(encode([case["hyp"]], [case["refs"]]), order)[0]
        smoothing = NLTK_SMOOTHING[case.get("smoothing", "none").split()[0]]
        assert bleu(row, smoothing)[order - 1] == pytest.approx(case[f"bleu{order}"], abs=1e-4)
    for case in cases["corpus_bleu"]:
        rows = bleu_statistics(encode(case["hyps"], case["refs"]))
        assert bleu(rows.sum(0))[3] == pytest.approx(case["bleu4"], abs=1e-4)
        assert bleu(rows)[:, 3].mean() == pytest.approx(case["mean_of_sentence_bleu"], abs=1e-4)
        weights = np.array([0.1, 0.3, 0.5, 0.1])
        sums = rows.sum(0)
        weighted = brevity_penalty(sums) * np.exp(weights @ np.log(precisions(sums)))
        assert weighted == pytest.approx(case["weights_0.1_0.3_0.5_0.1"], abs=1e-4)
    for case in cases["modified_precision"]:
        row = bleu_statistics(encode([case["hyp"]], [case["refs"]]), 2)[0]
        assert precisions(row) == pytest.approx([case["p1"], case["p2"]], abs=1e-4)
    for case in cases["brevity_penalty"]:
        refs = [["a"] * size for size in case["ref_lens"]]
        row = bleu_statistics(EncodedPairs([["a"] * case["hyp_len"]], [refs]), 1)[0]
        assert brevity_penalty(row) == pytest.approx(case["bp"], abs=1e-4)


def test_nltk_meteor_without_wordnet(golden: Any) -> None:
    file = golden("metrics/nltk/meteor_cases.json")
    assert file["params"] == {"alpha": 0.9, "beta": 3, "gamma": 0.5}
    for case in file["cases"]:
        score = float(meteor(encode([case["hyp"]], [case["refs"]]))[0])
        key = next(key for key in case if key.startswith("score"))
        assert score == pytest.approx(case[key], abs=1e-12 if key == "score" else 5e-5)


def test_sacrebleu_corpus_bleu(golden: Any) -> None:
    file = golden("metrics/sacrebleu/cases.json")
    for case in file["corpus_bleu"]:
        asked = case["kwargs"]
        sums = sums_of(case, SACREBLEU_TOKENISERS[asked.get("tokenize", "13a")])
        value = bleu(sums, asked.get("smooth_method", "exp"))[3]
        assert 100 * value == pytest.approx(case["score_0_100"], abs=1e-6)
    for key in ("raw_corpus_bleu_floor_0.01", "effective_order_raw_floor_0.01"):
        for case in file[key]:
            value = bleu(sums_of(case), "floor", 0.01, effective_order=True)[3]
            assert value == pytest.approx(case["score_0_1"], abs=1e-9)
    for case in file["max_ngram_order"]:
        value = bleu(sums_of(case, "13a", case["order"]), "exp")[-1]
        assert f"{100 * value:.2f}" == case["score_0_100_2dp"]


def test_sacrebleu_statistics_and_smoothing(golden: Any) -> None:
    file = golden("metrics/sacrebleu/cases.json")
    for case in file["statistics"]:
        assert sums_of(case)[:8].tolist() == [*case["correct"], *case["total"]]
    for case in file["from_statistics"]:
        lengths = [case["sys_len"], case["ref_len"]]
        value = bleu(np.array([*case["correct"], *case["total"], *lengths], float))[3]
        assert value == pytest.approx(case["score_0_1"], abs=1e-9)
    single = file["sentence_bleu"]
    assert len(single["cases"]) == 12
    for case in single["cases"]:
        lower = str.lower if case["lowercase"] else str
        tokeniser = SACREBLEU_TOKENISERS[case["tokenize"]]
        row = bleu_statistics(encode([lower(single["sys"])], [lower(single["ref"])], tokeniser))[0]
        value = bleu(row, case["smooth_method"], case["smooth_value"], effective_order=True)[3]
        assert 100 * value == pytest.approx(case["score_0_100"], abs=single["epsilon"])


def lines_of(folder: Path, name: str) -> list[str]:
    return (folder / name).read_text(encoding="utf-8").splitlines()


def test_rouge_score_line_pairs(golden: Any, real_data: Path) -> None:
    expected = golden("metrics/rouge_score/cases.json")["line_pairs_target_vs_prediction"]
    folder = real_data / "metrics/rouge_score"
    for key, rows in expected.items():
        pairs = encode(
            lines_of(folder, "prediction.txt"),
            lines_of(folder, "target.txt"),
            "rouge-score+stem" if key.endswith("_stem") else "rouge-score",
        )
        n = int(key[5]) if key[5].isdigit() else 0
        f = rouge_n(pairs, n) if n else rouge_l(pairs)
        assert f == pytest.approx([row["fmeasure"] for row in rows], abs=5.1e-6)
        # an enormous or a vanishing beta leaves recall or precision alone
        for name, beta in (("recall", 1e6), ("precision", 1e-6)):
            part = rouge_n(pairs, n, beta) if n else rouge_l(pairs, beta)
            assert part == pytest.approx([row[name] for row in rows], abs=5.2e-6)


def test_rouge_score_small_cases_and_summaries(golden: Any, real_data: Path) -> None:
    file = golden("metrics/rouge_score/cases.json")

    def sentences(text: str, tokeniser: str) -> list[list[str]]:
        return tokenise([line for line in text.split("\n") if line], tokeniser)

    for case in file["small"]:
        kind = case["type"].removeprefix("rouge")
        pairs = encode([case["pred"]], [case["target"]], "rouge-score")
        if kind == "Lsum":
            texts = (sentences(case[key], "rouge-score") for key in ("pred", "target"))
            value = rouge_lsum(next(texts), [next(texts)])
        else:
            value = float((rouge_l(pairs) if kind == "L" else rouge_n(pairs, int(kind)))[0])
        assert value == pytest.approx(case["f"], abs=5e-6 if kind == "Lsum" else 1e-12)
    folder = real_data / "metrics/rouge_score"
    texts = [
        sentences((folder / f"{name}_multi.0.txt").read_text(encoding="utf-8"), "rouge-score+stem")
        for name in ("prediction", "target")
    ]
    expected = file["rougeLsum_stem_multi_0"]
    assert rouge_lsum(texts[0], [texts[1]]) == pytest.approx(expected["fmeasure"], abs=5.1e-6)
    parts = (np.array([expected[name]]) for name in ("precision", "recall"))
    assert f_score(*parts, 1.0)[0] == pytest.approx(expected["fmeasure"], abs=1e-5)
    for case in file["lcs"]:
        ref, can = ([str(i) for i in case[key]] for key in ("ref", "can"))
        assert lcs_lengths(EncodedPairs([can], [[ref]])) == [case["len"]]
        assert len(lcs_places(ref, can)) == case["len"]


def test_radeval_scores(golden: Any) -> None:
    """RadEval: pycocoevalcap's BLEU on white space, rouge-score without stemming."""
    samples = golden("radeval_golden/regression_samples.json")
    expected = golden("radeval_golden/expected_scores_cpu.json")
    rows = [
        Prediction(f"c{i}", f"p{i}", gen, ref)
        for i, (gen, ref) in enumerate(zip(samples["hyps"], samples["refs"], strict=True))
    ]
    found = Bleu(BleuConfig(protocol="whitespace", smoothing="coco")).score(rows)
    assert found.per_case["bleu-4"] == pytest.approx(expected["per_sample"]["bleu"], rel=1e-9)
    rouge = RougeN(RougeNConfig()).score(rows)
    rouge_long = RougeL(RougeLConfig(protocol="rouge_score")).score(rows)
    values = {**found.values, **rouge.values, **rouge_long.values}
    names = {"bleu-1": "bleu_1", "bleu-2": "bleu_2", "bleu-3": "bleu_3", "bleu-4": "bleu"}
    names |= {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL"}
    for ours, theirs in names.items():
        assert round(values[ours], 4) == expected["detailed"][theirs]
    assert expected["default"].items() <= expected["detailed"].items()
    for ours, theirs in (("rouge-1", "rouge1"), ("rouge-2", "rouge2")):
        assert rouge.per_case[ours] == pytest.approx(expected["per_sample"][theirs], abs=1e-12)
    per_sample = expected["per_sample"]["rougeL"]
    assert rouge_long.per_case["rouge-l"] == pytest.approx(per_sample, abs=1e-12)
