"""Report text -> the 18 CT-RATE labels, by rules kept as data in `rules.yaml`.

The labels mean what the manual labels of CT-RATE mean (Hamamci et al., arXiv 2403.17834): any
reported lymph node is Lymphadenopathy, a purely coronary plaque is not Arterial wall
calcification, a doubted finding counts as present. Label the raw text, before any cleaning for
BLEU; text that has been cleaned (" . " between lower-cased sentences) works as well.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from ctfw.errors import BadData
from ctfw.labels import CT_RATE_LABELS
from ctfw.scoring.evidence import Evidence
from ctfw_plugins.labelers.configs import CtRate18Config
from ctfw_plugins.labelers.rules import RuleSet


class CtRate18:
    """`names` are the 18 labels in CT-RATE's order; `signature` names rules and settings.

    Raises BadData when the rules file cannot be used.
    """

    def __init__(self, config: CtRate18Config, context: Any = None) -> None:
        source, text = _rules_text(config.rules)
        data = _parse(source, text)
        self._rules = RuleSet(data, source, config.uncertain)
        if self._rules.names != CT_RATE_LABELS:
            wrong = set(self._rules.names) ^ set(CT_RATE_LABELS)
            what = f"check {', '.join(sorted(wrong))}" if wrong else "their order differs"
            raise BadData(f"{source}: the labels are not the 18 CT-RATE labels: {what}")
        self.names: tuple[str, ...] = CT_RATE_LABELS
        digest = hashlib.sha256(text.encode()).hexdigest()[:8]
        self.signature = f"ct-rate-18|rules:{digest}|uncertain:{config.uncertain}"

    def label(self, texts: Sequence[str]) -> np.ndarray:
        """(N, 18) int8: 1 where at least one sentence states the finding. Empty text: all 0."""
        labels = np.zeros((len(texts), len(self.names)), np.int8)
        for row, text in zip(labels, texts, strict=True):
            for start, end in self._rules.sentences(text):
                for index, positive in self._rules.read(text[start:end]):
                    row[index] |= positive
        return labels

    def evidence(self, text: str) -> list[Evidence]:
        """Every sentence that mentions a label, in the order of the text."""
        return [
            Evidence(text[start:end], start, end, self.names[index], positive)
            for start, end in self._rules.sentences(text)
            for index, positive in self._rules.read(text[start:end])
        ]


def _rules_text(path: Path | None) -> tuple[str, str]:
    """(name for messages, content) of the rules file."""
    if path is None:
        return "rules.yaml", (resources.files(__package__) / "rules.yaml").read_text("utf-8")
    try:
        return str(path), path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadData(f"{path}: cannot read the rules of ct-rate-18: {error}") from error


def _parse(source: str, text: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadData(f"{source}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise BadData(f"{source}: must be a mapping with 'labels' and the shared pattern lists")
    return data
