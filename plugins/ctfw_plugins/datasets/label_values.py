"""Label cells to 0 and 1, by the rules that the settings choose."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ctfw.errors import BadData, did_you_mean
from ctfw_plugins.datasets.common import faults_said

VALUES: dict[Any, int] = {
    0: 0, 1: 1, "0": 0, "1": 1, "0.0": 0, "1.0": 1,
    "false": 0, "true": 1, "no": 0, "yes": 1, "negative": 0, "positive": 1,
}  # fmt: skip
UNCERTAIN = frozenset({-1.0})
_BLANK = frozenset({"", "nan", "none", "null", "na", "n/a"})
_NOTHING = frozenset({"none", "no finding", "no findings", "normal"})


class LabelCells:
    """Reads the label cells of one file and remembers what is wrong with them.

    blank      what an empty cell means: "error" or "negative"
    uncertain  what -1 (CheXpert: uncertain) means: "error", "negative" or "positive"
    """

    def __init__(self, where: str, names: Sequence[str], blank: str, uncertain: str) -> None:
        self.where, self.names = where, tuple(names)
        self._blank, self._uncertain = blank, uncertain
        self._faults: dict[str, list[str]] = {}
        self._known = {_key(name): index for index, name in enumerate(names)}

    def row(self, cells: Sequence[Any], place: str) -> np.ndarray:
        """(L,) int8 from one cell per label, in the order of the names."""
        try:
            return np.array([VALUES[cell] for cell in cells], np.int8)
        except (KeyError, TypeError):
            pairs = zip(self.names, cells, strict=True)
            return np.array([self._one(cell, name, place) for name, cell in pairs], np.int8)

    def listed(self, cell: Any, place: str) -> np.ndarray:
        """(L,) int8 from one cell that names the positive labels: a list, or `A; B; C`."""
        vector = np.zeros(len(self.names), np.int8)
        for name in self._items(cell, place):
            index = self._known.get(_key(name))
            if index is not None:
                vector[index] = 1
            elif _key(name) not in _NOTHING:
                close = did_you_mean(name, self.names)
                hint = f", {close}" if close else ""
                self._fault(f"not in data.labels: {name!r}{hint}", place)
        return vector

    def check(self) -> None:
        """Raise BadData that names the rows, when any cell was wrong."""
        if self._faults:
            raise BadData(f"{self.where}: labels: {faults_said(self._faults)}")

    def _one(self, cell: Any, name: str, place: str) -> int:
        key = "" if cell is None or cell != cell else str(cell).strip().lower()
        if key in _BLANK:
            if self._blank == "error":
                advice = "blank cells: set data.blank_labels: negative if they mean 'not there'"
                self._fault(advice, f"{place}, {name!r}")
            return 0
        value = VALUES.get(key, _number(key))
        if value in UNCERTAIN:
            if self._uncertain == "error":
                advice = "-1, usually 'uncertain': set data.uncertain_labels"
                self._fault(advice, f"{place}, {name!r}")
            return int(self._uncertain == "positive")
        if value not in (0, 1):
            self._fault("neither 0 nor 1", f"{place}, {name!r}: {cell!r}")
            return 0
        return int(value)

    def _items(self, cell: Any, place: str) -> list[str]:
        if isinstance(cell, (list, tuple)):
            return [str(item) for item in cell]
        text = "" if cell is None or cell != cell else str(cell).strip()
        if text.startswith("["):
            try:
                return [str(item) for item in ast.literal_eval(text)]
            except (ValueError, SyntaxError):
                self._fault("not a list", f"{place}: {text[:40]!r}")
                return []
        if not text and self._blank == "error":
            self._fault("blank cells: set data.blank_labels: negative if they mean 'none'", place)
        separators = r"[;|]" if re.search(r"[;|]", text) else ","
        return [item.strip() for item in re.split(separators, text) if item.strip()]

    def _fault(self, why: str, place: str) -> None:
        self._faults.setdefault(why, []).append(place)


def _key(name: str) -> str:
    return " ".join(name.casefold().replace("_", " ").split())


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
