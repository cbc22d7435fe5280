"""ROUGE-L: longest common subsequence of tokens (Lin, 2004)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from rapidfuzz.distance import LCSseq

from ctfw.scoring.tokens import tokenise
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import RougeLConfig

_SURROGATES = (0xD800, 0xE000)


class RougeL:
    """Value `rouge-l`, the mean over cases of F = (1 + b^2) P R / (R + b^2 P).

    P = LCS / tokens generated, R = LCS / tokens of the reference.
    """

    needs_labels = False

    def __init__(self, config: RougeLConfig, context: Any = None) -> None:
        self.config = config

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """Scores with a value per case, which resampling averages."""
        generated = tokenise([p.generated for p in predictions], self.config.protocol, True)
        reference = tokenise([p.reference for p in predictions], self.config.protocol)
        f = rouge_l(generated, reference, self.config.beta)
        return Scores(
            values={"rouge-l": float(f.mean()) if len(f) else np.nan},
            protocol=f"{self.config.protocol}|mean of cases|beta:{self.config.beta:g}|refs:1",
            per_case={"rouge-l": f},
            notes=() if predictions else ("no predictions to score",),
        )


def rouge_l(
    generated: Sequence[Sequence[str]], reference: Sequence[Sequence[str]], beta: float
) -> np.ndarray:
    """(N,) ROUGE-L F of token lists; 0 where either is empty."""
    result = np.zeros(len(generated))
    for i, (hypothesis, truth) in enumerate(zip(generated, reference, strict=True)):
        common = lcs(hypothesis, truth)
        if common:
            p, r = common / len(hypothesis), common / len(truth)
            result[i] = (1 + beta**2) * p * r / (r + beta**2 * p)
    return result


def lcs(a: Sequence[str], b: Sequence[str]) -> int:
    """Length of the longest common subsequence of two token lists."""
    ids: dict[str, int] = {}
    first = "".join(_character(ids.setdefault(token, len(ids))) for token in a)
    second = "".join(_character(ids.setdefault(token, len(ids))) for token in b)
    return int(LCSseq.similarity(first, second))


def _character(number: int) -> str:
    """One code point per token id, so that the matcher runs on strings."""
    low, high = _SURROGATES
    return chr(number if number < low else number + high - low)
