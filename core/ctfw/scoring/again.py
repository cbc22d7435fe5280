"""What a report stage has kept, so that its numbers can be made again without a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.contracts import Labeler
from ctfw.runs.files import read_json, read_lines
from ctfw.scoring.likelihood import IMAGES, OWN, Marks, ReferenceNLL, marks
from ctfw.settings import Generation
from ctfw.types import Prediction

SPANS = "spans.jsonl"
_KEPT = ("split", "checkpoint", "fingerprint", "labeler_agreement")


def read_tokens(
    folder: Path, predictions: Sequence[Prediction], labeler: Labeler | None
) -> ReferenceNLL | None:
    """The likelihood of every token of the references, as `nll.IMAGE.jsonl` and `spans.jsonl` hold
    it; None where they are not there or are of other cases."""
    read = [p.case for p in predictions if p.reference.strip()]
    found = {}
    for name in IMAGES:
        file = folder / f"nll.{name}.jsonl"
        if not file.is_file():
            continue
        lines = {line["case"]: line["nll"] for line in read_lines(file)}
        if list(lines) != read:
            return None
        found[name] = [np.asarray(lines.get(p.case, []), float) for p in predictions]
    if OWN not in found:
        return None
    return ReferenceNLL(found, _marks(folder / SPANS, predictions, labeler))


def _marks(file: Path, predictions: Sequence[Prediction], labeler: Labeler | None) -> list[Marks]:
    spans = {line["case"]: line["spans"] for line in read_lines(file)}
    if not spans:
        return []
    return [
        marks(p.reference, np.asarray(spans.get(p.case, []), np.int64), labeler)
        for p in predictions
    ]


def kept_facts(folder: Path) -> dict[str, Any]:
    """What scores.json tells of the run and predictions do not: split, checkpoint, fingerprint of
    the data, how far the labeler agrees with it, and under `generation` decoding and prompt."""
    file = folder / "scores.json"
    if not file.is_file():
        return {}
    facts = read_json(file)
    decoding = facts.get("generation") or {}
    settings = (*Generation.model_fields, "prompt")
    return {key: facts[key] for key in _KEPT if key in facts} | {
        "generation": {key: decoding[key] for key in settings if key in decoding}
    }
