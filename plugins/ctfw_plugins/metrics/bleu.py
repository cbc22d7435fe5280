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
    """Values `bleu-1` to `bleu-n`, cumulative; an empty text is an empty hypothesis.

    Under vlm3d also `bleu-mean`, the mean of BLEU-1 to BLEU-4: the "BLEU" of its leaderboard.
    """

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

        def reduce(sums: np.ndarray) -> dict[str, np.ndarray]:
            defined = sums[..., -1:] > 0
            return self._named(np.where(defined, bleu(sums, self.smoothing), np.nan))

        notes = notes_on_empty(predictions, pairs)
        return Scores(
            values={name: float(value) for name, value in reduce(statistics.sum(0)).items()},
            protocol=self.protocol.signature("corpus", f"smooth:{self.smoothing}"),
            per_case=self._named(bleu(statistics, self.smoothing)),
            statistics=statistics,
            reduce=reduce,
            notes=(*notes, SCALE) if self.protocol.name == "sacrebleu" else notes,
        )

    def _named(self, values: np.ndarray) -> dict[str, np.ndarray]:
        """(..., n) BLEU-1 to BLEU-n by name."""
        named = {f"bleu-{i + 1}": values[..., i] for i in range(self.n)}
        if self.protocol.frozen.mean_bleu and self.n >= 4:
            named["bleu-mean"] = values[..., :4].mean(-1)
        return named
