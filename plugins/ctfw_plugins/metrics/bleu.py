"""BLEU-1..n over the corpus (Papineni et al., ACL 2002)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ctfw.scoring.ngrams import bleu, bleu_statistics
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import BleuConfig
from ctfw_plugins.metrics.text_input import NamedProtocol, notes_on_empty

SCALE = "BLEU is between 0 and 1 here; sacrebleu prints it times 100"


class Bleu:
    """Values `bleu-1` to `bleu-n`, cumulative; an empty text is an empty hypothesis."""

    needs_labels = False

    def __init__(self, config: BleuConfig, context: Any = None) -> None:
        self.n = config.n
        self.protocol = NamedProtocol(config.protocol, config.ptb)
        chosen = config.smoothing
        self.smoothing = self.protocol.smoothing if chosen == "protocol" else chosen

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """Scores with (N, 2n + 2) statistics: matches, guesses, lengths. NaN without a reference
        that has a token."""
        pairs = self.protocol.encode(predictions)
        statistics = bleu_statistics(pairs, self.n)
        per_case = bleu(statistics, self.smoothing)
        names = [f"bleu-{n}" for n in range(1, self.n + 1)]

        def reduce(sums: np.ndarray) -> dict[str, np.ndarray]:
            defined = sums[..., -1:] > 0
            values = np.where(defined, bleu(sums, self.smoothing), np.nan)
            return {name: values[..., i] for i, name in enumerate(names)}

        total = reduce(statistics.sum(0))
        notes = notes_on_empty(predictions, pairs)
        return Scores(
            values={name: float(total[name]) for name in names},
            protocol=self.protocol.signature("corpus", f"smooth:{self.smoothing}"),
            per_case={name: per_case[:, i] for i, name in enumerate(names)},
            statistics=statistics,
            reduce=reduce,
            notes=(*notes, SCALE) if self.protocol.name == "sacrebleu" else notes,
        )
