"""Report text -> the 18 CT-RATE labels, by rules kept as data in `ct_rate_18.yaml`.

The labels mean what the manual labels of CT-RATE mean (Hamamci et al., arXiv 2403.17834): any
reported lymph node is Lymphadenopathy, a purely coronary plaque is not Arterial wall
calcification, a doubted finding counts as present. Label the raw text, before any cleaning for
BLEU; text that has been cleaned (" . " between lower-cased sentences) works as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ctfw.labels import CT_RATE_LABELS
from ctfw.scoring.evidence import Evidence
from ctfw_plugins.labelers.by_rules import Reader
from ctfw_plugins.labelers.configs import CtRate18Config


class CtRate18:
    """`names` are the 18 labels in CT-RATE's order; `signature` names rules and settings.

    Raises BadData when the rules file cannot be used.
    """

    def __init__(self, config: CtRate18Config, context: Any = None) -> None:
        self.names: tuple[str, ...] = CT_RATE_LABELS
        self._reader = Reader(
            "ct-rate-18", "ct_rate_18.yaml", config.rules, self.names, config.uncertain
        )
        self.signature = f"ct-rate-18|rules:{self._reader.digest}|uncertain:{config.uncertain}"

    def label(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 18) int8: 1 where at least one sentence states the finding. Empty text: all 0."""
        return (self._reader.states(texts) >= self._reader.least).astype(np.int8)

    def evidence(self, text: str) -> list[Evidence]:
        """Every sentence that mentions a label, in the order of the text."""
        return self._reader.evidence(text)
