"""What the report page's case browser shows: slices, outlines, sentences with their verdicts."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.engine.images import ImageBank
from ctfw.scoring.evidence import Evidence
from ctfw.scoring.sentences import cut
from ctfw.types import Case, Volume
from ctfw.volumes.sprite import outlines, write_sprite


def safe_name(case_id: str) -> str:
    """A file name for a case."""
    return re.sub(r"[^A-Za-z0-9._-]", "_", case_id)


TYPICAL = 4
"""Findings of the case that is shown first; normal and very ill ones follow."""


class Browser:
    """Collects the lines of cases.jsonl and writes the pictures beside it."""

    def __init__(self, folder: Path, images: ImageBank, labeler: Any, names: Sequence[str]) -> None:
        self._folder, self._images, self._labeler = folder, images, labeler
        self._names = tuple(names)

    def entry(
        self, case: Case, generated: str, negative: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """One case: its slices as a sprite, both texts by sentence, and its negative."""
        volume = self._images.volume(case)
        image = self.picture(volume, f"{safe_name(case.id)}.png")
        reference_labels, generated_labels = self.labels_of(case.report), self.labels_of(generated)
        _, y, x = volume.spacing_mm
        return {
            "case": case.id,
            "patient": case.patient,
            "split": case.split,
            "image": image,
            "slices": volume.array.shape[0],
            "positions_mm": [round(float(p), 1) for p in volume.slice_positions_mm],
            "size": [volume.array.shape[2], volume.array.shape[1]],
            "pixel_mm": [round(x, 2), round(y, 2)],
            "lesions": outlines(volume, case, self._names),
            "reference": case.report,
            "generated": generated,
            "reference_sentences": self.sentences(case.report, generated_labels, "reference"),
            "generated_sentences": self.sentences(generated, reference_labels, "generated"),
            "labels": sorted(reference_labels),
            "generated_labels": sorted(generated_labels),
            "negative": negative,
        }

    def picture(self, volume: Volume, name: str) -> str:
        """Write a sprite; its path below the stage's folder."""
        write_sprite(volume, self._folder / "cases" / name)
        return f"cases/{name}"

    def labels_of(self, text: str) -> set[str]:
        """The findings that the labeler reads in a text."""
        row = self._labeler.label([text])[0]
        return {name for name, value in zip(self._labeler.names, row, strict=True) if value}

    def sentences(self, text: str, other: set[str], role: str) -> list[dict[str, Any]]:
        """The text cut into sentences, each with its findings and how they fare in the `other`.

        A labeler without `evidence` gives one sentence without findings: the whole text.
        """
        if not hasattr(self._labeler, "evidence"):
            return [{"text": text, "findings": [], "verdict": ""}]
        return [
            {
                "text": text[start:stop].strip(),
                "findings": [[item.label, item.positive] for item in found],
                "verdict": verdict(found, other, role),
            }
            for start, stop, found in cut(text, self._labeler.evidence(text))
            if text[start:stop].strip()
        ]


def verdict(found: Iterable[Evidence], other: set[str], role: str) -> str:
    """How a sentence's findings fare in the other text; the worst one counts.

    In the reference: missed (stated here, not there), conflict (denied here, stated there). In
    the generated text: hallucinated (stated here, not there), conflict (denied here, stated
    there). agree: a finding stated in both. Agreement on an absence is not marked: it is the rule.
    """
    marks = set()
    for item in found:
        if item.positive:
            wrong = "missed" if role == "reference" else "hallucinated"
            marks.add("agree" if item.label in other else wrong)
        elif item.label in other:
            marks.add("conflict")
    for mark in ("conflict", "hallucinated", "missed", "agree"):
        if mark in marks:
            return mark
    return ""


def spread(cases: Sequence[Case], count: int) -> list[Case]:
    """`count` cases of different patients, with few and with many findings, a typical one first."""
    first: dict[str, Case] = {}
    for case in cases:
        first.setdefault(case.patient, case)
    ranked = sorted(first.values(), key=_findings)
    if len(ranked) > count:
        places = np.linspace(0, len(ranked) - 1, count).round().astype(int)
        ranked = [ranked[i] for i in places]
    return sorted(ranked, key=lambda case: abs(_findings(case) - TYPICAL))


def _findings(case: Case) -> int:
    return 0 if case.labels is None else int(np.sum(case.labels))
