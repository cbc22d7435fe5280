"""BLEU-1..n over the corpus (Papineni et al., ACL 2002)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ctfw.scoring.ngrams import bleu, bleu_statistics
from ctfw.scoring.tokens import tokenise
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import BleuConfig


class Bleu:
    """Values `bleu-1` to `bleu-n`, cumulative; an empty text is an empty hypothesis."""

    needs_labels = False

    def __init__(self, config: BleuConfig, context: Any = None) -> None:
        self.config = config

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """Scores with (N, 2n + 2) statistics: matches, guesses, lengths."""
        config = self.config
        generated = tokenise([p.generated for p in predictions], config.protocol, generated=True)
        reference = tokenise([p.reference for p in predictions], config.protocol)
        statistics = bleu_statistics(generated, [[tokens] for tokens in reference], config.n)
        per_case = bleu(statistics, config.smoothing)
        names = [f"bleu-{n}" for n in range(1, config.n + 1)]

        def reduce(sums: np.ndarray) -> dict[str, np.ndarray]:
            values = bleu(sums, config.smoothing)
            return {name: values[..., i] for i, name in enumerate(names)}

        total = reduce(statistics.sum(0))
        return Scores(
            values={name: float(total[name]) if predictions else np.nan for name in names},
            protocol=f"{config.protocol}|corpus|smooth:{config.smoothing}|refs:1",
            per_case={name: per_case[:, i] for i, name in enumerate(names)},
            statistics=statistics,
            reduce=reduce,
            notes=() if predictions else ("no predictions to score",),
        )
