"""A protocol is frozen: its signatures and its values of made-up reports are pinned here.

A change of a pinned value is a new version of the protocol, never an edit of this table.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from nltk.translate.meteor_score import meteor_score
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU

from ctfw.errors import UserError
from ctfw.plugins import load_plugins
from ctfw.scoring.protocols import PROTOCOLS, protocol_named
from ctfw.scoring.tokens import TOKENISERS, tokenise
from ctfw.types import Prediction

ROOT = Path(__file__).resolve().parents[2]
REPORTS = json.loads((ROOT / "benchmarks/made_up_reports.json").read_text(encoding="utf-8"))
FIVE = [
    Prediction(f"c{i}", f"p{i}", report["generated"], report["references"][0])
    for i, report in enumerate(REPORTS[:5])
]
CATALOG = load_plugins(only="none").catalog
SIGNATURES = {
    "bleu": "{}|corpus|smooth:{smoothing}{ptb}|refs:1|v1",
    "rouge-l": "{}|mean of cases|beta:{beta}{stem}{ptb}|refs:1|v1",
    "rouge-n": "{}|mean of cases|f1{stem}{ptb}|refs:1|v1",
    "meteor": "{}|mean of cases|meteor-nltk|exact+stem{ptb}|refs:1|v1",
    "cider": "{}|mean of cases|cider-d|n:4|sigma:6|idf:these references{ptb}|refs:1|v1",
}
PARTS = {
    "r2gen": {"smoothing": "none", "beta": "1.2"},
    "vlm3d": {"smoothing": "coco", "beta": "1.2"},
    "coco_ptb": {"smoothing": "coco", "beta": "1.2", "ptb": "|ptb:python"},
    "sacrebleu": {"smoothing": "exp", "beta": "1"},
    "rouge_score": {"smoothing": "none", "beta": "1", "stem": "|stem:no"},
    "whitespace": {"smoothing": "none", "beta": "1.2"},
}
VALUES: dict[str, dict[str, float]] = {
    "r2gen": {
        "bleu-1": 0.5501887324,
        "bleu-2": 0.4122047333,
        "bleu-3": 0.3038145941,
        "bleu-4": 0.2194475957,
        "rouge-l": 0.5081839688,
        "rouge-1": 0.6370468677,
        "rouge-2": 0.3476377084,
        "meteor": 0.482779816,
        "cider": 0.6670504332,
    },
    "vlm3d": {
        "bleu-1": 0.3790323863,
        "bleu-2": 0.2753729743,
        "bleu-3": 0.1917614978,
        "bleu-4": 0.1294313995,
        "bleu-mean": 0.2438995645,
        "rouge-l": 0.3578834357,
        "rouge-1": 0.4368419859,
        "rouge-2": 0.2231145565,
        "meteor": 0.369457662,
        "cider": 0.4656582695,
    },
    "coco_ptb": {
        "bleu-1": 0.5015656894,
        "bleu-2": 0.381546383,
        "bleu-3": 0.2823234837,
        "bleu-4": 0.2068167939,
        "rouge-l": 0.4599750012,
        "rouge-1": 0.590454673,
        "rouge-2": 0.3329535309,
        "meteor": 0.4465807115,
        "cider": 0.7364824196,
    },
    "sacrebleu": {
        "bleu-1": 0.4637124609,
        "bleu-2": 0.340326897,
        "bleu-3": 0.2454669758,
        "bleu-4": 0.1728091587,
        "rouge-l": 0.4356250288,
        "rouge-1": 0.5383972686,
        "rouge-2": 0.28331511,
        "meteor": 0.4505683169,
        "cider": 0.5951036491,
    },
    "rouge_score": {
        "bleu-1": 0.4979830773,
        "bleu-2": 0.3777674015,
        "bleu-3": 0.2781573079,
        "bleu-4": 0.2045235884,
        "rouge-l": 0.4694585094,
        "rouge-1": 0.5878708368,
        "rouge-2": 0.3308110168,
        "meteor": 0.4488469872,
        "cider": 0.7297150661,
    },
    "whitespace": {
        "bleu-1": 0.3790323864,
        "bleu-2": 0.2753729743,
        "bleu-3": 0.1917614978,
        "bleu-4": 0.1294313995,
        "rouge-l": 0.3578834357,
        "rouge-1": 0.4368419859,
        "rouge-2": 0.2231145565,
        "meteor": 0.369457662,
        "cider": 0.4656582695,
    },
}


def scored(protocol: str) -> dict[str, Any]:
    """metric -> its scores of the five pairs."""
    found = {}
    for name in SIGNATURES:
        component = CATALOG.get("metric", name)
        more = {"synonyms": "never"} if name == "meteor" else {}
        metric = component.load()(component.config(protocol=protocol, **more), None)
        found[name] = metric.score(FIVE)
    return found


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_signatures_and_values_are_pinned(protocol: str) -> None:
    parts = {"ptb": "", "stem": ""} | PARTS[protocol]
    values: dict[str, float] = {}
    for name, scores in scored(protocol).items():
        assert scores.protocol == SIGNATURES[name].format(protocol, **parts)
        values |= scores.values
    assert values == pytest.approx(VALUES[protocol], abs=1e-9)


def test_pinned_values_are_those_of_the_packages_they_are_named_after() -> None:
    hyps, refs = [p.generated for p in FIVE], [p.reference for p in FIVE]
    for n in range(1, 5):
        theirs = BLEU(max_ngram_order=n).corpus_score(hyps, [refs]).score / 100
        assert VALUES["sacrebleu"][f"bleu-{n}"] == pytest.approx(theirs, abs=1e-9)
    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"])
    each = [scorer.score(ref, hyp) for hyp, ref in zip(hyps, refs, strict=True)]
    for ours, theirs in (("rouge-1", "rouge1"), ("rouge-2", "rouge2"), ("rouge-l", "rougeL")):
        mean = sum(scores[theirs].fmeasure for scores in each) / len(each)
        assert VALUES["rouge_score"][ours] == pytest.approx(mean, abs=1e-9)

    class NoWordNet:
        def synsets(self, word: str) -> list[Any]:
            return []

    for protocol, tokeniser in (("whitespace", "whitespace"), ("r2gen", "r2gen")):
        tokens = [tokenise(texts, tokeniser) for texts in (hyps, refs)]
        each_meteor = [meteor_score([r], h, wordnet=NoWordNet()) for h, r in zip(*tokens)]
        mean = sum(each_meteor) / len(each_meteor)
        assert VALUES[protocol]["meteor"] == pytest.approx(mean, abs=1e-9)


def test_every_tokeniser_of_a_protocol_exists_and_names_are_checked() -> None:
    for protocol in PROTOCOLS.values():
        used = {protocol.tokeniser, protocol.for_rouge_l, protocol.stemmed} - {""}
        assert used <= set(TOKENISERS)
    assert protocol_named("vlm3d").for_rouge_l == "vlm3d-spaces"
    with pytest.raises(UserError, match="r2gen"):
        protocol_named("r2gn")


def test_r2gen_cleans_as_its_code_does() -> None:
    text = 'Heart: "normal" (size).\nPleural effusion-thickening?  1. No nodule, 4.5 mm.'
    cleaned = "heart normal size . pleural effusion-thickening no nodule 45 mm ."
    assert " ".join(tokenise([text], "r2gen")[0]) == cleaned
    # The code takes "1. " out wherever it stands, keeps "7. ", and ends a sentence of marks alone.
    odd = tokenise(["Level T11. No 7. 2. A lesion... (?). End"], "r2gen")[0]
    assert " ".join(odd) == "level t1no 7 . a lesion . . end ."
    assert tokenise(["...", "", ' "." '], "r2gen") == [[], [], []]


def test_vlm3d_cleans_predictions_more_than_references() -> None:
    text = 'The "heart" .\nlungs_x<|eot_id|>'
    assert tokenise([text], "vlm3d", generated=True)[0] == ["The", "heart.lungsx"]
    assert tokenise([text], "vlm3d")[0] == ["The", '"heart".lungs_x<|eot_id|>']
    # " . " goes before " .", each once: two blanks leave one, which the second rule takes
    assert tokenise(["a . b", "a . b  .  c"], "vlm3d") == [["a.b"], ["a.b.", "c"]]
    assert tokenise(['a " . b'], "vlm3d", generated=True) == [["a.b"]]


def test_vlm3d_rouge_counts_the_empty_tokens_of_double_blanks() -> None:
    assert tokenise(["a  b", " ", ""], "vlm3d-spaces") == [["a", "", "b"], [], []]
    component = CATALOG.get("metric", "rouge-l")
    metric = component.load()(component.config(protocol="vlm3d"), None)
    # 3 tokens on each side, two of them common: P = R = 2/3
    score = metric.score([Prediction("c", "p", "a  b", "a  c")])
    assert score.values["rouge-l"] == pytest.approx(2 / 3, abs=1e-12)
