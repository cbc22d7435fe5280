"""BLEU, ROUGE-L and CIDEr-D equal coco-caption's: by its own values of made-up texts, and live.

`coco.json` and `ptb.json` were written by `python tests/metrics/golden/make_peers.py`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw.scoring.cider import cider_d
from ctfw.scoring.corpus import EncodedPairs, encode
from ctfw.scoring.ngrams import bleu, bleu_statistics
from ctfw.scoring.ptb import ptb
from ctfw.scoring.ptb_java import find_java, ptb_java
from ctfw.scoring.rouge import rouge_l

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "metrics" / "golden"
VOCABULARY = "No no lung nodule was not seen , . 5 mm 4.5 naïve"
WORDS = st.sampled_from(VOCABULARY.split())
TEXT = st.lists(WORDS, min_size=1, max_size=14).map(" ".join)
CORPUS = st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1, max_size=3)), min_size=1, max_size=5)


def made_up(tokeniser: str) -> EncodedPairs:
    text = (ROOT / "benchmarks" / "made_up_reports.json").read_text(encoding="utf-8")
    reports = json.loads(text)
    return encode([r["generated"] for r in reports], [r["references"] for r in reports], tokeniser)


@pytest.mark.parametrize("name", ["whitespace", "coco_ptb"])
def test_values_of_coco_caption_are_reproduced(name: str) -> None:
    expected = json.loads((GOLDEN / "coco.json").read_text(encoding="utf-8"))[name]
    pairs = made_up("ptb" if name == "coco_ptb" else name)
    statistics = bleu_statistics(pairs)
    assert bleu(statistics.sum(0), "coco") == pytest.approx(expected["bleu"], abs=1e-12)
    of_cases = bleu(statistics, "coco").T
    assert of_cases == pytest.approx(np.array(expected["bleu_each"]), abs=1e-12)
    rouge = rouge_l(pairs, 1.2, "parts")
    assert rouge == pytest.approx(expected["rouge_l_each"], abs=1e-12)
    assert rouge.mean() == pytest.approx(expected["rouge_l"], abs=1e-12)
    cider = cider_d(pairs)
    assert cider == pytest.approx(expected["cider_each"], abs=1e-12)
    assert cider.mean() == pytest.approx(expected["cider"], abs=1e-12)


def test_ptb_tokens_equal_stanfords_on_odd_texts() -> None:
    lines = json.loads((GOLDEN / "ptb.json").read_text(encoding="utf-8"))
    assert len(lines) > 40
    for text, tokens in lines:
        assert ptb(text) == tokens


@settings(max_examples=60, deadline=None)
@given(CORPUS)
def test_scores_equal_pycocoevalcap_live(corpus: Any) -> None:
    reason = "pycocoevalcap is not installed: pip install -e '.[peers]'"
    Bleu = pytest.importorskip("pycocoevalcap.bleu.bleu", reason=reason).Bleu
    Rouge = pytest.importorskip("pycocoevalcap.rouge.rouge").Rouge
    Cider = pytest.importorskip("pycocoevalcap.cider.cider").Cider
    res = {i: [hyp] for i, (hyp, _) in enumerate(corpus)}
    gts = {i: refs for i, (_, refs) in enumerate(corpus)}
    pairs = encode([hyp for hyp, _ in corpus], [refs for _, refs in corpus])
    statistics = bleu_statistics(pairs)
    total, each = Bleu(4).compute_score(gts, res, verbose=0)
    assert bleu(statistics.sum(0), "coco") == pytest.approx(total, abs=1e-12)
    of_cases = bleu(statistics, "coco").T
    assert of_cases == pytest.approx(np.array(each), abs=1e-12)
    assert rouge_l(pairs, 1.2, "parts") == pytest.approx(Rouge().compute_score(gts, res)[1])
    assert cider_d(pairs) == pytest.approx(Cider().compute_score(gts, res)[1], abs=1e-12)


def test_java_tokens_are_those_that_were_kept() -> None:
    pytest.importorskip("pycocoevalcap", reason="pycocoevalcap is not installed")
    try:
        find_java()
    except Exception as error:
        pytest.skip(str(error))
    lines = json.loads((GOLDEN / "ptb.json").read_text(encoding="utf-8"))
    texts = [text for text, _ in lines]
    apart = [text for pair in zip(texts, ["zeta"] * len(texts)) for text in pair]
    assert ptb_java(apart)[::2] == [tokens for _, tokens in lines]
    assert ptb_java([]) == []
