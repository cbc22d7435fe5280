"""ROUGE-L and ROUGE-Lsum: longest common subsequences of tokens (Lin, 2004)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ctfw.scoring.corpus import EncodedPairs
from ctfw.scoring.rouge import rouge_l, rouge_lsum
from ctfw.scoring.tokens import tokenise
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import RougeLConfig
from ctfw_plugins.metrics.text_input import NamedProtocol, mean_of_cases


class RougeL:
    """Value `rouge-l`, or `rouge-lsum`: the mean over cases of an F of precision and recall."""

    needs_labels = False

    def __init__(self, config: RougeLConfig, context: Any = None) -> None:
        self.protocol = NamedProtocol(config.protocol, config.ptb, config.stem)
        self.beta = self.protocol.beta if config.beta is None else config.beta
        self.by_sentence = config.by_sentence

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """Scores with a value per case, which resampling averages."""
        pairs = self.protocol.encode(predictions, for_rouge_l=True)
        if self.by_sentence:
            name, values = "rouge-lsum", self._by_sentence(predictions, pairs)
        else:
            name, values = "rouge-l", rouge_l(pairs, self.beta, self.protocol.best_of)
        details = [f"beta:{self.beta:g}", *self.protocol.stemming]
        signature = self.protocol.signature("mean of cases", *details)
        return mean_of_cases(predictions, pairs, {name: values}, signature)

    def _by_sentence(self, predictions: Sequence[Prediction], pairs: EncodedPairs) -> np.ndarray:
        """(N,) ROUGE-Lsum; a text of one line has its ROUGE-L, which is faster to come by."""
        values = rouge_l(pairs, 1.0)
        for i, prediction in enumerate(predictions):
            texts = prediction.generated, prediction.reference
            if any("\n" in text for text in texts):
                generated, reference = (
                    tokenise(text.split("\n"), self.protocol.tokeniser) for text in texts
                )
                values[i] = rouge_lsum(generated, [reference])
        return values
