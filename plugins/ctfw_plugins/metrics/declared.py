"""The built-in metrics; imports settings models only."""

from __future__ import annotations

from collections.abc import Iterator

from ctfw.component import Component
from ctfw_plugins.metrics import configs


def components() -> Iterator[Component]:
    """One declaration per metric."""
    folder = "ctfw_plugins.metrics"
    yield Component(
        "bleu",
        f"{folder}.bleu:Bleu",
        configs.BleuConfig,
        "corpus BLEU-1 to BLEU-n",
        revision=2,
    )
    yield Component(
        "rouge-l",
        f"{folder}.rouge_l:RougeL",
        configs.RougeLConfig,
        "longest common subsequence, in the way of coco-caption or of rouge-score",
        needs=("rapidfuzz",),
        revision=2,
    )
    yield Component(
        "rouge-n",
        f"{folder}.rouge_n:RougeN",
        configs.RougeNConfig,
        "ROUGE-1 and ROUGE-2: common n-grams",
        needs=("rapidfuzz",),
    )
    yield Component(
        "cider",
        f"{folder}.cider:Cider",
        configs.CiderConfig,
        "CIDEr-D: n-grams weighted by how rare they are; mostly length on long reports",
    )
    yield Component(
        "meteor",
        f"{folder}.meteor:Meteor",
        configs.MeteorConfig,
        "METEOR of nltk: words, stems and synonyms; not METEOR 1.5",
    )
    yield Component(
        "hf-evaluate",
        f"{folder}.hf_evaluate:HfEvaluate",
        configs.HfEvaluateConfig,
        "a metric of Hugging Face evaluate, from a script on this machine",
        needs=("evaluate>=0.4",),
    )
    yield Component(
        "coverage",
        f"{folder}.coverage:Coverage",
        configs.CoverageConfig,
        "share of the reference's findings that the report states",
    )
    yield Component(
        "accuracy",
        f"{folder}.accuracy:Accuracy",
        configs.AccuracyConfig,
        "label-wise accuracy with specificity, macro and micro F1, CRG",
    )
    yield Component(
        "coverage-by-size",
        f"{folder}.coverage_by_size:CoverageBySize",
        configs.CoverageBySizeConfig,
        "coverage of findings below 3, of 3 to 6, of 6 to 10 and above 10 mm",
    )
    yield Component(
        "green",
        f"{folder}.green:Green",
        configs.GreenConfig,
        "errors and matched findings, counted by a language model (made for chest X-ray)",
    )
    yield Component(
        "bertscore",
        f"{folder}.bertscore:BertScore",
        configs.BertScoreConfig,
        "similarity of contextual token embeddings",
        needs=("torch", "transformers>=5.6", "safetensors"),
    )
    yield Component(
        "radgraph",
        f"{folder}.radgraph:RadGraphF1",
        configs.RadGraphConfig,
        "F1 of entities and relations (radgraph: made for chest X-ray; radgraph-xl: also CT)",
        needs=("radgraph>=0.1.18",),
    )
    yield Component(
        "ratescore",
        f"{folder}.ratescore:RateScore",
        configs.RateScoreConfig,
        "similarity of medical entities, aware of negation (made for reports of many kinds)",
        needs=("RaTEScore", "medspacy"),
    )
