"""Predictions on disk: our `predictions.jsonl`, and the tables of other people's systems."""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.errors import BadData, did_you_mean
from ctfw.labels import CT_RATE_LABELS
from ctfw.types import CaseTable, Prediction

_FIELDS = ("case", "patient", "generated", "reference", "finish", "labels", "reference_labels")
_CT_RATE = re.compile(r"((?:train|valid)_\d+)_[a-z]+(?:_\d+)?\Z")
_EXTENSION = re.compile(r"\.(?:nii\.gz|nii|npz|npy|mha|dcm)\Z")


def write_predictions(
    path: Path, predictions: Iterable[Prediction], label_names: Sequence[str] = CT_RATE_LABELS
) -> None:
    """One JSON object per line; labels as lists of the names that are set.

    Written to a temporary name and renamed: a reader never sees half a file.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            for item in predictions:
                file.write(json.dumps(_plain(item, label_names), ensure_ascii=False) + "\n")
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_predictions(
    path: Path,
    columns: Mapping[str, str] | None = None,
    cases: CaseTable | None = None,
    label_names: Sequence[str] = CT_RATE_LABELS,
) -> list[Prediction]:
    """Predictions of a .jsonl, .json (list of objects, or id -> object) or .csv file.

    columns  our field -> the file's name for it, e.g. {"case": "VolumeName"}; fields are case,
             generated, and optionally patient, reference, finish, labels, reference_labels
    cases    references of a file that has none, and the list of what must be there: a case
             without a prediction becomes an empty hypothesis, an unknown one is an error

    Without a patient column the patient is read off a CT-RATE name, else each case is its own.
    Raises BadData for a file that is empty, not UTF-8, malformed, or lacks what is needed.
    """
    names = dict(columns or {})
    if unknown := set(names) - set(_FIELDS):
        raise BadData(f"unknown field {sorted(unknown)[0]!r}; fields are {', '.join(_FIELDS)}")
    rows = read_rows(path)
    needed = ["case", "generated"] if cases is not None else ["case", "generated", "reference"]
    _check_columns(path, rows, [(field, names.get(field, field)) for field in needed])
    places: dict[str, int] = {}
    found: list[Prediction] = []
    for number, row in rows:
        values = {field: row.get(names.get(field, field)) for field in _FIELDS}
        item = _prediction(f"{path}:{number}", values, label_names)
        if item.case in places:
            raise BadData(
                f"{path}:{number}: case '{item.case}' is already on line {places[item.case]}; "
                "keep one prediction per case"
            )
        places[item.case] = number
        found.append(item)
    return found if cases is None else _join(path, found, cases)


def _plain(item: Prediction, label_names: Sequence[str]) -> dict[str, Any]:
    """The JSON object of one prediction."""
    line: dict[str, Any] = {field: getattr(item, field) for field in _FIELDS[:5]}
    for key in _FIELDS[5:]:
        labels = getattr(item, key)
        if labels is not None:
            line[key] = [
                name for name, value in zip(label_names, labels, strict=True) if int(value)
            ]
    return line


def read_rows(path: Path) -> list[tuple[int, Mapping[str, Any]]]:
    """(line or entry number, fields) of each entry of a csv, tsv, json or jsonl file.

    Raises BadData for a file that is empty, not UTF-8 or malformed.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise BadData(f"{path}: cannot read the predictions: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadData(
            f"{path}: not UTF-8 (byte {error.start}); save it as UTF-8, e.g. with "
            f"iconv -f latin1 -t utf-8"
        ) from error
    if not text.strip():
        raise BadData(f"{path}: the file is empty; it should hold one prediction per case")
    readers = {".csv": _csv_rows, ".tsv": _csv_rows, ".json": _json_rows}
    rows = readers.get(path.suffix.lower(), _jsonl_rows)(path, text)
    if not rows:
        raise BadData(f"{path}: no predictions in the file")
    return rows


def _csv_rows(path: Path, text: str) -> list[tuple[int, Mapping[str, Any]]]:
    reader = csv.DictReader(
        io.StringIO(text, newline=""), delimiter="\t" if path.suffix.lower() == ".tsv" else ","
    )
    try:
        rows: list[tuple[int, Mapping[Any, Any]]] = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise BadData(f"{path}:{reader.line_num}: not a valid CSV file: {error}") from error
    columns = len(reader.fieldnames or ())
    for number, row in rows:
        fields = columns + len(row.get(None) or ()) - sum(v is None for v in row.values())
        if fields != columns:
            raise BadData(
                f"{path}:{number}: {fields} fields for {columns} columns; put texts that hold a "
                "comma or a line break in double quotes"
            )
    return rows


def _json_rows(path: Path, text: str) -> list[tuple[int, Mapping[str, Any]]]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadData(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from error
    if isinstance(data, Mapping):
        data = [
            {"case": key, **(value if isinstance(value, Mapping) else {"generated": value})}
            for key, value in data.items()
        ]
    if not isinstance(data, list) or not all(isinstance(row, Mapping) for row in data):
        raise BadData(f"{path}: should be a list of objects, or a mapping of case to object")
    return list(enumerate(data, start=1))


def _jsonl_rows(path: Path, text: str) -> list[tuple[int, Mapping[str, Any]]]:
    rows: list[tuple[int, Mapping[str, Any]]] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise BadData(f"{path}:{number}: not valid JSON: {error.msg}") from error
        if not isinstance(row, Mapping):
            raise BadData(f"{path}:{number}: should be a JSON object, one per line")
        rows.append((number, row))
    return rows


def _check_columns(
    path: Path, rows: Sequence[tuple[int, Mapping[str, Any]]], needed: Sequence[tuple[str, str]]
) -> None:
    present = {str(key) for _, row in rows for key in row}
    missing = [(field, name) for field, name in needed if name not in present]
    if missing:
        field, name = missing[0]
        hint = did_you_mean(name, present)
        raise BadData(
            f"{path}: no column '{name}' for the {field}; the file has "
            f"{', '.join(sorted(present))}" + (f" ({hint})" if hint else "")
        )


def _prediction(place: str, values: Mapping[str, Any], label_names: Sequence[str]) -> Prediction:
    case = _text(values["case"]).strip()
    if not case:
        raise BadData(f"{place}: the case id is empty")
    return Prediction(
        case=case,
        patient=_text(values["patient"]).strip() or patient_of(case),
        generated=_text(values["generated"]),
        reference=_text(values["reference"]),
        labels=_labels(place, values["labels"], label_names),
        reference_labels=_labels(place, values["reference_labels"], label_names),
        finish=_text(values["finish"]) or "stop",
    )


def _text(value: Any) -> str:
    """A missing value is an empty text; `nan` is what a table program writes for one."""
    text = "" if value is None else str(value)
    return "" if text.strip().lower() == "nan" else text


def _labels(place: str, value: Any, label_names: Sequence[str]) -> np.ndarray | None:
    if value is None or value == "":
        return None
    names = [part.strip() for part in value.split(";")] if isinstance(value, str) else value
    if not isinstance(names, list):
        raise BadData(f"{place}: labels should be a list of label names, not {value!r}")
    index = {name: i for i, name in enumerate(label_names)}
    row = np.zeros(len(label_names), np.int8)
    for name in names:
        if name not in index:
            hint = did_you_mean(str(name), index)
            raise BadData(f"{place}: unknown label {name!r}" + (f" ({hint})" if hint else ""))
        row[index[name]] = 1
    return row


def patient_of(case: str) -> str:
    """`train_12` of the CT-RATE volume `train_12_a_1.nii.gz`; any other id is its own patient."""
    match = _CT_RATE.match(_bare(case))
    return match.group(1) if match else case


def _bare(case: str) -> str:
    """The id without folder and extension, as tables of other systems often have it."""
    return _EXTENSION.sub("", case.replace("\\", "/").rsplit("/", 1)[-1])


def _join(path: Path, found: Sequence[Prediction], cases: CaseTable) -> list[Prediction]:
    """Predictions in the order of `cases`, with their references, patients and labels."""
    known = {_bare(case.id): case.id for case in cases}
    by_case: dict[str, Prediction] = {}
    for item in found:
        identity = known.get(_bare(item.case))
        if identity is None:
            hint = did_you_mean(item.case, known)
            raise BadData(
                f"{path}: case '{item.case}' is not in the data set"
                + (f" ({hint})" if hint else "")
            )
        by_case[identity] = item
    joined = []
    for case in cases:
        item = by_case.get(case.id, Prediction(case.id, "", "", "", finish="missing"))
        joined.append(replace(item, case=case.id, patient=case.patient, reference=case.report))
    return joined
