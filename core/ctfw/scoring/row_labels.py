"""What people read in place of the names of a score table's rows."""

from __future__ import annotations

from collections.abc import Mapping

ROW_LABELS: Mapping[str, str] = {
    "model": "this model",
    "another-image": "this model, another patient's image",
    "noise-image": "this model, noise",
    "blank-image": "this model, a blank image",
    "shuffled-image": "this model, slices shuffled",
    "mirrored-image": "this model, left and right exchanged",
    "constant": "best constant report",
    "frequent": "most frequent report",
    "random": "random training report",
    "all-negative": "all labels negative",
    "all-positive": "all labels positive",
    "label-prior": "labels drawn by their prevalence",
    "nearest": "training report with the nearest labels",
}


def row_label(name: str) -> str:
    """The label of a row; a name that has none stands for itself."""
    return ROW_LABELS.get(name, name)
