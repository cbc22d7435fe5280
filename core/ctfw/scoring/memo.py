"""A labeler that reads no text twice: floors and references repeat themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ctfw.contracts import Labeler


class Remembering:
    """The same labels as `labeler`, each distinct text read once."""

    def __init__(self, labeler: Labeler) -> None:
        self.names = labeler.names
        self.signature = labeler.signature
        self.evidence = getattr(labeler, "evidence", None)
        self._labeler: Any = labeler
        self._rows: dict[str, np.ndarray] = {}

    def label(self, texts: Sequence[str]) -> np.ndarray:
        """(N, L) int8 in the order of `names`."""
        new = [text for text in dict.fromkeys(texts) if text not in self._rows]
        if new:
            self._rows |= dict(zip(new, self._labeler.label(new), strict=True))
        rows = [self._rows[text] for text in texts]
        return np.stack(rows) if rows else np.zeros((0, len(self.names)), np.int8)
