"""`dataset: table`: anybody's scans, from a table with a row per scan.

The table gives the image file and the report, and where it has them the patient, the split, the
labels and what is known about the file (slope, intercept, spacing, HU or raw).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ctfw.errors import BadData
from ctfw.types import Case, CaseTable
from ctfw_plugins.datasets.common import (
    NO_FILE,
    SPLITS,
    LeftOut,
    check_ids,
    check_patients,
    fraction,
    held_out,
    say,
)
from ctfw_plugins.datasets.configs import TableConfig
from ctfw_plugins.datasets.table_columns import USUAL, find_columns
from ctfw_plugins.datasets.table_files import Rows, read_table
from ctfw_plugins.datasets.table_rows import RowReader

_DOUBLE = "Name a column whose values differ with data.columns.id, or remove the double rows"


class Table:
    """Cases of a table, or of one table per split.

    Without a split column, a patient's split is decided by a hash of the patient's name alone: it
    stays what it is when rows come or go, and no patient is in two splits. Where a split column
    has no validation rows, validation patients are held out of train in the same way. Rows whose
    image is missing are left out, counted and named.
    """

    def __init__(self, config: TableConfig, context: Any = None) -> None:
        self.config = config
        self.context = context
        self.label_names = config.label_names
        self.name = f"table {config.file}" if isinstance(config.file, Path) else "table"
        self._left_out = LeftOut()
        self._read: list[Case] | None = None
        self._by_hash = False

    @property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """Reason in words -> ids of the rows that are not used; empty until cases were read."""
        return self._left_out.reasons()

    def prepare(self) -> None:
        """Read and check the table. Raises BadData; writes nothing."""
        self._everything()

    def cases(self, split: str) -> CaseTable:
        """The cases of "train", "validation" or "test". Raises BadData when there are none."""
        if split not in SPLITS:
            raise BadData(f"table: no split {split!r}; there are {', '.join(SPLITS)}")
        everything = self._everything()
        chosen = tuple(case for case in everything if case.split == split)
        if not chosen:
            raise BadData(f"{self.name}: {self._why_empty(split, everything)}")
        return CaseTable(chosen[: self.config.limit], self.label_names)

    def _everything(self) -> list[Case]:
        """Every usable row with its split, read once."""
        if self._read is None:
            cases, said = self._collect()
            if not self.config.allow_patient_overlap:
                check_patients(self.name, cases)
            self._read = self._present(cases)
            say(self.context, f"{self.name}: {said}")
            if self._left_out:
                left = self._left_out.words()
                say(self.context, f"{self.name}: {len(self._read)} rows used, left out: {left}")
            self._warn_of_lone_patients(self._read)
        return self._read

    def _collect(self) -> tuple[list[Case], str]:
        """(cases of all files with their splits, present or not; what was found, in words)."""
        self._left_out = LeftOut()
        cases: list[Case] = []
        places: dict[str, list[str]] = {}
        said = ""
        by_patient, has_split = True, not isinstance(self.config.file, Path)
        for split, file in self._files():
            rows = read_table(file.expanduser(), self.config.encoding, self.config.delimiter)
            columns = find_columns(rows, self.config.columns)
            said = said or _columns_said(rows, columns)
            has_split = has_split or "split" in columns
            by_patient = by_patient and "patient" in columns
            reader = RowReader(self.config, rows, columns, split, self._dealt)
            cases += reader.cases(self._left_out, places)
        check_ids(self.name, places, _DOUBLE)
        if not by_patient:
            said += (
                "; no column names the patient, so each study counts as a patient of its own: if "
                "a patient has several, name the column with data.columns.patient"
            )
        if has_split:
            return self._with_validation(cases), said
        self._by_hash = True
        return cases, f"{said}; no column names the split, so patients are dealt out by a hash"

    def _files(self) -> list[tuple[str, Path]]:
        """(split or "", file) of each table."""
        if isinstance(self.config.file, Path):
            return [("", self.config.file)]
        each = ((split, getattr(self.config.file, split)) for split in SPLITS)
        return [(split, file) for split, file in each if file is not None]

    def _with_validation(self, cases: list[Case]) -> list[Case]:
        """The cases as they are, or with validation patients held out of train if it is empty."""
        share = self.config.validation_share
        if not share or any(case.split == "validation" for case in cases):
            return cases
        held = held_out((case.patient for case in cases if case.split == "train"), share)
        return [
            replace(case, split="validation")
            if case.split == "train" and case.patient in held
            else case
            for case in cases
        ]

    def _dealt(self, patient: str) -> str:
        """The split of a patient; a change of one share does not move the other's patients."""
        value = fraction(patient)
        if value < self.config.validation_share:
            return "validation"
        return "test" if value >= 1 - self.config.test_share else "train"

    def _present(self, cases: Sequence[Case]) -> list[Case]:
        """Without the cases whose file is missing. Raises BadData when none is left."""
        kept = []
        for case in cases:
            if os.path.exists(case.image):  # half the time of Path.exists; there are many
                kept.append(case)
            else:
                self._left_out.add(NO_FILE, case.id)
        if cases and not kept:
            raise BadData(
                f"{self.name}: none of its {len(cases)} image files is there; the first one looked "
                f"for was {cases[0].image}. Relative paths start from data.root"
            )
        return kept

    def _warn_of_lone_patients(self, cases: Sequence[Case]) -> None:
        """Say it before hours of preprocessing: stages swap the scans of two patients."""
        for split in ("validation", "test"):
            if len({case.patient for case in cases if case.split == split}) == 1:
                text = f"the {split} split has one patient, and measuring visual reliance needs two"
                say(self.context, f"{self.name}: {text}")

    def _why_empty(self, split: str, cases: Iterable[Case]) -> str:
        """Why a split has no cases, and what to do."""
        values = sorted(fraction(patient) for patient in {case.patient for case in cases})
        text = f"the {split} split has no usable case"
        if not values:
            return f"{text}: {self._left_out.words()}"
        if self._by_hash and split != "train":
            least = values[0] if split == "validation" else 1 - values[-1]
            return (
                f"{text} among {len(values)} patients; raise data.{split}_share above "
                f"{least + 0.0005:.3f}, or give the table a split column"
            )
        return f"{text}; the table's split column should name train, validation and test"


def _columns_said(rows: Rows, columns: dict[str, int]) -> str:
    used = [role for role in USUAL if role in columns]
    pairs = ", ".join(f"{role} from {rows.header[columns[role]]!r}" for role in used)
    return f"{len(rows.rows)} rows; {pairs}"
