"""Chest X-ray report text -> the 14 CheXpert observations, by rules kept in `chexpert_14.yaml`.

Each observation is blank, denied, doubted or stated. Two conventions turn that into 0 and 1:

r2gen       stated alone is positive: blank and doubted count as 0 (R2Gen's `compute_ce.py`)
f1chexbert  stated and doubted are positive (the package of that name, "rrg" mode)

"No Finding" is set when the text says something and states or doubts no observation besides
Support Devices (Irvin et al., arXiv 1901.07031). The rules are ours: numbers made by the CheXpert
labeler or by CheXbert do not compare with numbers made here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ctfw.labels import CHEXPERT_LABELS
from ctfw.scoring.evidence import Evidence
from ctfw_plugins.labelers.by_rules import Reader
from ctfw_plugins.labelers.configs import Chexpert14Config
from ctfw_plugins.labelers.rules import DOUBTED

_DOUBT = {"r2gen": "negative", "f1chexbert": "positive"}
_OBSERVED = tuple(name for name in CHEXPERT_LABELS if name != "No Finding")


class Chexpert14:
    """`names` are the 14 observations in CheXpert's order; `signature` names the convention.

    Raises BadData when the rules file cannot be used.
    """

    def __init__(self, config: Chexpert14Config, context: Any = None) -> None:
        self.names: tuple[str, ...] = CHEXPERT_LABELS
        doubt = _DOUBT[config.convention]
        self._reader = Reader("chexpert-14", "chexpert_14.yaml", config.rules, _OBSERVED, doubt)
        self.signature = (
            f"chexpert-14|rules:{self._reader.digest}|{config.convention}|uncertain:{doubt}"
        )

    def label(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 14) int8. An empty text has no label, "No Finding" neither."""
        states = self._reader.states(texts)
        findings = [i for i, name in enumerate(_OBSERVED) if name != "Support Devices"]
        said = np.array([any(map(str.isalnum, text)) for text in texts], bool)
        clear = said & (states[:, findings] < DOUBTED).all(1)
        return np.column_stack([clear, states >= self._reader.least]).astype(np.int8)

    def evidence(self, text: str) -> list[Evidence]:
        """Every sentence that mentions an observation; "No Finding" has no sentence of its own."""
        return self._reader.evidence(text)
