"""The built-in metrics; imports settings models only."""

from __future__ import annotations

from collections.abc import Iterator

from ctfw.component import Component
from ctfw_plugins.metrics import configs


def components() -> Iterator[Component]:
    """One declaration per metric."""
    folder = "ctfw_plugins.metrics"
    yield Component("bleu", f"{folder}.bleu:Bleu", configs.BleuConfig, "corpus BLEU-1 to BLEU-n")
    yield Component(
        "rouge-l",
        f"{folder}.rouge_l:RougeL",
        configs.RougeLConfig,
        "longest common subsequence",
        needs=("rapidfuzz",),
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
        "green",
        f"{folder}.green:Green",
        configs.GreenConfig,
        "errors and matched findings, counted by a language model (made for chest X-ray)",
    )
