"""Reports of a table without predictions: the training split's for floors, or references."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ctfw.errors import BadData
from ctfw.scoring.predictions import bare, identity_of, patient_of, text_of
from ctfw.scoring.rows import ABSENT, Row, names_in, read_rows, value_at
from ctfw.types import Case, CaseTable

REPORT_COLUMNS = ("report", "reference", "text", "report_text", "Findings_EN")
CASE_COLUMNS = ("case", "id", "VolumeName", "image")
_FROM_MAPPING = "generated"  # what a mapping of id to text is read as


def read_reports(path: Path) -> list[Case]:
    """Training reports of a CSV, JSON or JSON-lines file; empty ones count as such.

    Raises BadData for a file without a column of reports, and for a report that is no text.
    """
    rows = read_rows(path)
    column = _column(path, rows, REPORT_COLUMNS, "reports")
    return [
        Case(f"{path.name}:{number}", f"{number}", path, _text(f"{path}:{number}", column, row))
        for number, row in rows
    ]


def read_references(path: Path, columns: Mapping[str, str] | None = None) -> CaseTable:
    """Cases with their references, for predictions that bring none; empty ones count as such.

    columns  our field -> the file's name for it, of case, reference and patient; a name that this
             file does not have is passed over, because it may be one of the predictions' file
    Raises BadData as `read_reports`, and for a case without an id or that is there twice.
    """
    rows, names = read_rows(path), columns or {}
    case = _column(path, rows, (*_named(names, "case"), *CASE_COLUMNS), "case ids")
    wanted = (*_named(names, "reference"), *REPORT_COLUMNS, _FROM_MAPPING)
    report = _column(path, rows, wanted, "reports")
    who = next((n for n in (*_named(names, "patient"), "patient") if _has(rows, n)), "patient")
    found: dict[str, Case] = {}
    lines: dict[str, int] = {}
    for number, row in rows:
        place = f"{path}:{number}"
        name = identity_of(place, "case", value_at(row, case))
        if not name:
            raise BadData(f"{place}: the case id is empty")
        if bare(name) in found:
            raise BadData(
                f"{place}: case '{name}' is there twice, as '{found[bare(name)].id}' on line "
                f"{lines[bare(name)]}; keep one reference"
            )
        patient = identity_of(place, "patient", value_at(row, who)) or patient_of(name)
        found[bare(name)] = Case(name, patient, path, _text(place, report, row))
        lines[bare(name)] = number
    return CaseTable(tuple(found.values()), ())


def _text(place: str, column: str, row: Mapping[str, Any]) -> str:
    return text_of(place, column, value_at(row, column)).strip()


def _named(names: Mapping[str, str], field: str) -> tuple[str, ...]:
    return (names[field],) if field in names else ()


def _has(rows: Sequence[Row], name: str) -> bool:
    return any(value_at(row, name) is not ABSENT for _, row in rows)


def _column(path: Path, rows: Sequence[Row], known: Sequence[str], what: str) -> str:
    """The first of `known` that the rows have. Raises BadData."""
    for name in known:
        if _has(rows, name):
            return name
    shown = ", ".join(name for name in dict.fromkeys(known) if name != _FROM_MAPPING)
    raise BadData(
        f"{path}: no column with {what}; name it one of {shown} (the file has "
        f"{', '.join(names_in(rows))})"
    )
