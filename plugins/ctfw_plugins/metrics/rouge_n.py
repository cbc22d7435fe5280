"""ROUGE-1, ROUGE-2, ...: common n-grams (Lin, 2004), F1 as the package rouge-score has it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ctfw.scoring.rouge import rouge_n
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import RougeNConfig
from ctfw_plugins.metrics.text_input import NamedProtocol, mean_of_cases


class RougeN:
    """Values `rouge-1`, `rouge-2`, ...: the mean over cases of the F1 of common n-grams."""

    needs_labels = False

    def __init__(self, config: RougeNConfig, context: Any = None) -> None:
        self.protocol = NamedProtocol(config.protocol, config.ptb, config.stem)
        self.orders = config.n

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """Scores with a value per case, which resampling averages."""
        pairs = self.protocol.encode(predictions)
        per_case = {f"rouge-{n}": rouge_n(pairs, n) for n in self.orders}
        signature = self.protocol.signature("mean of cases", "f1", *self.protocol.stemming)
        return mean_of_cases(predictions, pairs, per_case, signature)
