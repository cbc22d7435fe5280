"""What the marking of report tokens asks of a backbone: where they lie in the text."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np


class Words:
    """One token per word, and the end of turn."""

    def spans(self, reports: Sequence[str]) -> list[np.ndarray]:
        found = []
        for report in reports:
            words = [match.span() for match in re.finditer(r"\S+", report)]
            found.append(np.array([*words, (len(report), len(report))], np.int64))
        return found
