"""Rows of a table to cases."""

from __future__ import annotations

import ast
import math
import os
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.errors import BadData, did_you_mean
from ctfw.types import Case
from ctfw_plugins.datasets.common import NO_REPORT, LeftOut, faults_said, given, report_text
from ctfw_plugins.datasets.configs import TableConfig
from ctfw_plugins.datasets.label_values import LabelCells
from ctfw_plugins.datasets.table_columns import label_columns
from ctfw_plugins.datasets.table_files import Rows

SPLIT_NAMES = {
    "train": "train", "training": "train", "tr": "train",
    "validation": "validation", "valid": "validation", "val": "validation", "dev": "validation",
    "test": "test", "testing": "test", "ts": "test",
}  # fmt: skip
TEXTS = ("report", "findings", "impression")
HINTS = ("slope", "intercept", "spacing", "intensity")
_ENDINGS = (".nii.gz", ".nii", ".npy", ".png", ".jpg", ".jpeg", ".dcm", ".mha", ".nrrd")


class RowReader:
    """Turns the rows of one file into cases, and collects what is wrong with them.

    split  of every row, where the file is of one split; else "" and the split column decides
    deal   the split of a patient, where there is no such column either
    """

    def __init__(
        self,
        config: TableConfig,
        rows: Rows,
        columns: dict[str, int],
        split: str,
        deal: Callable[[str], str],
    ) -> None:
        self.config, self.rows, self.columns, self.split = config, rows, columns, split
        self._deal = deal
        self._root = str((config.root or rows.file.parent).expanduser())
        self._hinted = any(role in columns for role in HINTS)
        names = config.label_names
        self._labels = LabelCells(
            str(rows.file), names, config.blank_labels, config.uncertain_labels
        )
        self._label_at = label_columns(rows, config.columns, names)
        self._faults: dict[str, list[str]] = {}
        self._compose = self._composer()

    def cases(self, left_out: LeftOut, places: dict[str, list[str]]) -> list[Case]:
        """The cases of the file; `places` collects where each id stands.

        Without a patient column, each study is a patient. Raises BadData that names the rows with
        no image, patient or split, an unknown split, a wrong label or hint, or no report.
        """
        found = []
        for index, row in enumerate(self.rows.rows):
            case = self._case(row, self.rows.place(index))
            if case is None:
                continue
            places.setdefault(case.id, []).append(f"{self.rows.file.name} {self.rows.place(index)}")
            if case.report:
                found.append(case)
            elif self.config.empty_reports == "leave-out":
                left_out.add(NO_REPORT, case.id)
            else:
                advice = "no report: set data.empty_reports: leave-out to go on without them"
                self._fault(advice, self.rows.place(index))
        if self._faults:
            raise BadData(f"{self.rows.file}: {faults_said(self._faults)}")
        self._labels.check()
        return found

    def _case(self, row: Sequence[Any], place: str) -> Case | None:
        image = self._text(row, "image")
        if not image:
            self._fault("no image", place)
            return None
        report, findings, impression = (given(self._cell(row, role)) for role in TEXTS)
        name = self._text(row, "id") or _bare(image)
        study = self._text(row, "study") or name
        patient = self._text(row, "patient") if "patient" in self.columns else study
        if not patient:
            self._fault("no patient", place)
        return Case(
            id=name,
            patient=patient,
            image=self._path(image),
            report=self._compose(report, findings, impression),
            split=self._split(row, patient, place),
            study=study,
            findings=findings,
            impression=impression,
            labels=self._vector(row, place),
            hints=self._hints(row, place) if self._hinted else {},
        )

    def _composer(self) -> Callable[[str, str, str], str]:
        """(report, findings, impression) -> the text to write. Raises BadData when it cannot."""
        has = {role for role in TEXTS if role in self.columns}
        wanted = self.config.sections
        if wanted == "auto":
            wanted = "report" if "report" in has else "findings+impression"
            wanted = "findings" if has == {"findings"} else wanted
        lacking = {part for part in wanted.split("+") if part not in has}
        if lacking == set(wanted.split("+")):
            raise BadData(
                f"{self.rows.file}: data.sections asks for {wanted}, and no column of that is "
                f"known; name it with data.columns.{sorted(lacking)[0]}"
            )
        if wanted == "report":
            return lambda report, findings, impression: report
        return lambda report, findings, impression: report_text(findings, impression, wanted)

    def _path(self, text: str) -> Path:
        text = text.replace("\\", "/") if "/" not in text else text
        return Path(os.path.join(self._root, os.path.expanduser(text + self.config.suffix)))

    def _split(self, row: Sequence[Any], patient: str, place: str) -> str:
        if self.split or "split" not in self.columns:
            return self.split or self._deal(patient)
        text = self._text(row, "split").lower()
        if text not in SPLIT_NAMES:
            close = did_you_mean(text, SPLIT_NAMES)
            hint = f", {close}" if close else ""
            self._fault(f"split {text!r} is not train, validation or test{hint}", place)
        return SPLIT_NAMES.get(text, "")

    def _vector(self, row: Sequence[Any], place: str) -> np.ndarray | None:
        if self._label_at is None:
            return None
        if isinstance(self._label_at, int):
            return self._labels.listed(row[self._label_at], place)
        return self._labels.row([row[index] for index in self._label_at], place)

    def _hints(self, row: Sequence[Any], place: str) -> dict[str, Any]:
        """What the table says about the file; blank cells say nothing."""
        hints: dict[str, Any] = {}
        for role, key in (("slope", "RescaleSlope"), ("intercept", "RescaleIntercept")):
            if text := self._text(row, role):
                numbers = _numbers(text)
                if len(numbers) == 1:
                    hints[key] = numbers[0]
                else:
                    self._fault(f"{role} {text!r} is not a number", place)
        if spacing := self._text(row, "spacing"):
            numbers = _numbers(spacing)
            if len(numbers) == 3 and min(numbers) > 0:
                hints["XYSpacing"], hints["ZSpacing"] = (numbers[0], numbers[1]), numbers[2]
            else:
                self._fault(f"spacing {spacing!r} is not three millimetres (x, y, z)", place)
        if intensity := self._text(row, "intensity").lower():
            if intensity in ("hu", "raw"):
                hints["intensity"] = intensity
            else:
                self._fault(f"intensity {intensity!r} is neither hu nor raw", place)
        return hints

    def _cell(self, row: Sequence[Any], role: str) -> Any:
        index = self.columns.get(role)
        return None if index is None else row[index]

    def _text(self, row: Sequence[Any], role: str) -> str:
        return as_text(self._cell(row, role))

    def _fault(self, why: str, place: str) -> None:
        self._faults.setdefault(why, []).append(place)


def as_text(cell: Any) -> str:
    """A name or number as text; 12.0, which is how tables store 12 beside blanks, is `12`."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return ""
    if isinstance(cell, float) and cell.is_integer():
        return str(int(cell))
    text = str(cell).strip()
    return "" if text.lower() in ("nan", "none", "null") else text


def _bare(image: str) -> str:
    """The name of an image without its ending."""
    lower = image.lower()
    ending = next((ending for ending in _ENDINGS if lower.endswith(ending)), "")
    return image[: len(image) - len(ending)]


def _numbers(text: str) -> list[float]:
    """Finite numbers of `[0.7, 0.7, 1]`, `(0.7, 0.7, 1)`, `0.7 0.7 1` or `0.7x0.7x1`."""
    try:
        value = ast.literal_eval(text)
        parts = value if isinstance(value, (list, tuple)) else [value]
    except (ValueError, SyntaxError):
        parts = [part for part in re.split(r"[\s,;x]+", text.strip("[]() ")) if part]
    try:
        numbers = [float(part) for part in parts]
    except (TypeError, ValueError):
        return []
    return numbers if all(math.isfinite(number) for number in numbers) else []
