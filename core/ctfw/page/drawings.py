"""The figures of visual reliance as SVG files of their own, for a paper or a talk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ctfw.page.canvas import standalone
from ctfw.page.figures import label_dumbbells
from ctfw.page.records import ScoreFile
from ctfw.page.reliance_figures import image_dots
from ctfw.runs.files import clean, write_text

_SYNTHETIC = "Synthetic phantoms: says nothing about patients."


def save_drawings(folder: Path, scores: Mapping[str, Any]) -> list[Path]:
    """`coverage.svg` (per label, own image against another patient's) and `nll.svg` (per image)
    from the content of a scores.json; the paths of those that there was something to draw for.

    Raises UserError when they cannot be written.
    """
    found = ScoreFile.model_validate(clean(scores))
    pictures = {
        "coverage.svg": label_dumbbells(
            found.labels, "coverage", "Coverage of each finding (recall)"
        ),
        "nll.svg": image_dots(found.reliance.groups),
    }
    note = _SYNTHETIC if found.synthetic else ""
    paths = []
    for name, shown in pictures.items():
        if shown is not None:
            write_text(folder / name, standalone(shown, note))
            paths.append(folder / name)
    return paths
