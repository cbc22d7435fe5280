"""Findings and Impression of a phantom study, from its labels and its lesion table.

The image decides which finding is present, on which side, in which lobe and how large. What it
does not decide is the wording: each report has a writer who mostly keeps to his own wording.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from importlib import resources
from typing import Any

import numpy as np
import yaml

from ctfw.labels import CT_RATE_LABELS

_WRITERS = (0.6, 0.25, 0.15)  # share of the reports of each writer
_FAITHFUL = 0.85  # how often a writer keeps to his own wording


@lru_cache(maxsize=1)
def templates() -> dict[str, Any]:
    """The sentences of `templates.yaml`."""
    text = resources.files(__package__).joinpath("templates.yaml").read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(text)
    return loaded


def write_report(
    labels: Sequence[int],
    lesions: Sequence[Mapping[str, Any]],
    style: str,
    planted: Sequence[str],
    rng: np.random.Generator,
) -> tuple[str, str]:
    """(findings, impression) of one study.

    labels   18 values of 0 and 1 in the order of CT_RATE_LABELS
    lesions  rows of the lesion table: label, size_mm, side, place
    style    "full" speaks of all 18 labels; "short" of those in `planted` alone
    """
    writer = int(rng.choice(3, p=_WRITERS))
    present = {name for name, value in zip(CT_RATE_LABELS, labels, strict=True) if value}
    facts = {name: _facts([row for row in lesions if row["label"] == name]) for name in present}

    def pick(choices: Any, name: str = "", closing: bool = False) -> str:
        """One wording; the draws are the same in number whatever the image shows."""
        own, other = rng.random() < _FAITHFUL, int(rng.integers(3))
        if isinstance(choices, dict):
            choices = choices[facts[name]["kind"]]
        if closing and style == "short":
            choices = [text for text in choices if "{where}" not in text]
        text: str = choices[(writer if own else other) % len(choices)]
        return text.format(**facts[name]) if name in facts else text

    findings = []
    for entry in templates()[style]:
        name = entry.get("label", "")
        if not name:
            findings.append(pick(entry["say"]))
        elif style == "full" or name in planted:
            findings.append(pick(entry["present" if name in present else "absent"], name))
    last = templates()["impression"]
    listed = [pick(last[name], name, closing=True) for name in CT_RATE_LABELS if name in present]
    return " ".join(findings), " ".join(listed or [pick(last["nothing"])])


def join_sections(findings: str, impression: str, sections: str) -> str:
    """The text that a model should write: `Findings: ... Impression: ...`, or findings alone."""
    if sections == "findings":
        return findings
    return f"Findings: {findings} Impression: {impression}"


def _facts(lesions: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """What the sentences can say about the lesions of one label; the largest gives the size."""
    if not lesions:
        return dict.fromkeys(("where", "side", "kind", "size", "a"), "")
    largest = max(lesions, key=lambda row: row["size_mm"])
    places = sorted({str(row["place"]) for row in lesions})
    size = f"{largest['size_mm']:.0f}"
    sides = {row["side"] for row in lesions}
    where = "the " + largest["place"] if largest["label"] == "Lung nodule" else _where(places)
    return {
        "where": where,
        "side": "Bilateral" if len(sides) > 1 else f"{largest['side'].capitalize()}-sided",
        "kind": str(largest["place"]),
        "size": size,
        "a": "An" if size.startswith("8") or size in ("11", "18") else "A",
    }


def _where(places: Sequence[str]) -> str:
    """ "the right upper lobe", "both lower lobes", "the left lung" or "both lungs"."""
    if not all(place.startswith(("right ", "left ")) for place in places):
        return places[0]
    if len(places) == 1:
        return f"the {places[0]}"
    sides = {place.split(" ", 1)[0] for place in places}
    parts = {place.split(" ", 1)[1] for place in places}
    if len(sides) == 1:
        return f"the {sides.pop()} lung"
    if len(parts) == 1:
        part = parts.pop()
        return "both apices" if part == "apex" else f"both {part}s"
    return "both lungs"
