"""A labeler that reads by rules: states of findings, and the sentences that show them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctfw.errors import BadData
from ctfw.scoring.evidence import Evidence
from ctfw_plugins.labelers.patterns import read_rules
from ctfw_plugins.labelers.rules import DOUBTED, STATED, UNMENTIONED, RuleSet


class Reader:
    """Reads reports by a rules file that must hold exactly `names`, in their order.

    digest  hash of the rules, for signatures
    least   the weakest state that counts as present: STATED, or DOUBTED

    Raises BadData when the rules file cannot be used.
    """

    def __init__(
        self, labeler: str, builtin: str, own: Path | None, names: tuple[str, ...], doubt: str
    ) -> None:
        source, self.digest, data = read_rules(labeler, builtin, own)
        self._rules = RuleSet(data, source)
        if self._rules.names != names:
            wrong = set(self._rules.names) ^ set(names)
            what = f"check {', '.join(sorted(wrong))}" if wrong else "their order differs"
            raise BadData(f"{source}: the labels are not the {len(names)} of {labeler}: {what}")
        self.names = names
        self.least = DOUBTED if doubt == "positive" else STATED

    def states(self, texts: Sequence[str]) -> np.ndarray:
        """(N, L) int8 of UNMENTIONED, DENIED, DOUBTED, STATED: the strongest in the report."""
        states = np.full((len(texts), len(self.names)), UNMENTIONED, np.int8)
        for row, text in zip(states, texts, strict=True):
            for _, _, index, state in self._rules.mentions(text):
                row[index] = max(row[index], state)
        return states

    def evidence(self, text: str) -> list[Evidence]:
        """Every sentence that mentions a label, in the order of the text."""
        return [
            Evidence(text[start:end], start, end, self.names[index], state >= self.least)
            for start, end, index, state in self._rules.mentions(text)
        ]
