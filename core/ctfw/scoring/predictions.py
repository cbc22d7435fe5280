"""Predictions on disk: our `predictions.jsonl`, and the tables of other people's systems."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.errors import BadData, did_you_mean
from ctfw.labels import CT_RATE_LABELS
from ctfw.runs.files import write_lines
from ctfw.scoring.rows import ABSENT, Row, names_in, read_rows, value_at
from ctfw.types import CaseTable, Prediction

_FIELDS = ("case", "patient", "generated", "reference", "finish", "labels", "reference_labels")
_CT_RATE = re.compile(r"((?:train|valid)_\d+)_[a-z]+(?:_\d+)?\Z")
_WHAT = {"case": "case ids", "generated": "generated reports", "reference": "references"}
_EXTENSION = re.compile(r"\.(?:nii\.gz|nii|npz|npy|mha|dcm)\Z", re.IGNORECASE)


def write_predictions(
    path: Path,
    predictions: Iterable[Prediction],
    label_names: Sequence[str] = CT_RATE_LABELS,
    *,
    synthetic: bool = False,
) -> None:
    """One JSON object per line; labels as lists of the names that are set.

    `synthetic` adds a field of that name which says so; no reader needs it. Written to a temporary
    name and renamed: a reader never sees half a file. Raises UserError where it cannot be written.
    """
    mark = {"synthetic": True} if synthetic else {}
    write_lines(path, (_plain(item, label_names) | mark for item in predictions))


def read_predictions(
    path: Path,
    columns: Mapping[str, str] | None = None,
    cases: CaseTable | None = None,
    label_names: Sequence[str] | None = CT_RATE_LABELS,
) -> list[Prediction]:
    """Predictions of a .jsonl, .json, .csv or .tsv file, see `ctfw.scoring.rows.read_rows`.

    columns  our field -> the file's name for it, e.g. {"case": "VolumeName"}, or the path to it
             inside an object, e.g. {"generated": "output.text"}; fields are case, generated, and
             optionally patient, reference, finish, labels, reference_labels
    cases    references of a file that has none, and the list of what must be there: a case
             without a prediction becomes an empty hypothesis, an unknown one is an error. Ids may
             differ in folder and extension: `train_1_a_1` is `train_1_a_1.nii.gz`

    label_names  of the columns with labels; None: they are not read

    A text that is null, NaN or not there is empty, and its `finish` is "missing". Without a
    patient column the patient is read off a CT-RATE name, else each case is its own. Raises
    BadData for a file that is empty, not UTF-8, malformed, or lacks what is needed, for a case
    that is there twice, and for a text that is a number, a list or an object.
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
        values = {field: value_at(row, names.get(field, field)) for field in _FIELDS}
        item = _prediction(f"{path}:{number}", values, names, label_names)
        if item.case in places:
            raise BadData(
                f"{path}:{number}: case '{item.case}' is already on line {places[item.case]}; "
                "keep one prediction per case"
            )
        places[item.case] = number
        found.append(item)
    return found if cases is None else _join(path, found, places, cases)


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


def _check_columns(path: Path, rows: Sequence[Row], needed: Sequence[tuple[str, str]]) -> None:
    missing = [
        (field, name)
        for field, name in needed
        if all(value_at(row, name) is ABSENT for _, row in rows)
    ]
    if not missing:
        return
    field, name = missing[0]
    present = names_in(rows)
    hint = did_you_mean(name, present)
    raise BadData(
        f"{path}: no column '{name}' with {_WHAT[field]}; the file has {', '.join(present)}"
        + (f" ({hint})" if hint else f"; say --column {field}=NAME" if name == field else "")
    )


def _prediction(
    place: str,
    values: Mapping[str, Any],
    names: Mapping[str, str],
    label_names: Sequence[str] | None,
) -> Prediction:
    case = identity_of(place, "case", values["case"])
    if not case:
        raise BadData(f"{place}: the case id is empty")
    texts = {
        field: text_of(f"{place}: case '{case}'", names.get(field, field), values[field])
        for field in ("generated", "reference")
    }
    finish = identity_of(place, "finish", values["finish"])
    return Prediction(
        case=case,
        patient=identity_of(place, "patient", values["patient"]) or patient_of(case),
        generated=texts["generated"],
        reference=texts["reference"],
        labels=_labels(place, values["labels"], label_names),
        reference_labels=_labels(place, values["reference_labels"], label_names),
        finish=finish or ("missing" if _is_missing(values["generated"]) else "stop"),
    )


def _is_missing(value: Any) -> bool:
    """No value; `nan` is what a table program writes for one."""
    if isinstance(value, float):
        return math.isnan(value)
    return value is None or value is ABSENT or str(value).strip().lower() == "nan"


def text_of(place: str, name: str, value: Any) -> str:
    """A report as it stands; half of a surrogate pair, which no file can hold, is replaced."""
    if _is_missing(value):
        return ""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    what = json.dumps(value)
    if isinstance(value, list):
        what = f"a list of {len(value)}; join its texts, or take one with {name}.0 as the column"
    elif isinstance(value, Mapping):
        inner = next(iter(value), "text")
        what = f"an object; name what is inside, e.g. {name}.{inner} as the column"
    raise BadData(f"{place}: '{name}' should be a text and is {what}")


def identity_of(place: str, field: str, value: Any) -> str:
    """An id or a word as text; a number without fraction is what a table program makes of one."""
    if _is_missing(value):
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise BadData(f"{place}: the {field} should be a text and is {json.dumps(value)[:60]}")
    return str(value).strip()


def _labels(place: str, value: Any, label_names: Sequence[str] | None) -> np.ndarray | None:
    if label_names is None or _is_missing(value) or value == "":
        return None
    names = [part.strip() for part in value.split(";")] if isinstance(value, str) else value
    if not isinstance(names, list):
        raise BadData(f"{place}: labels should be a list of label names, not {value!r}")
    index = {name: i for i, name in enumerate(label_names)}
    row = np.zeros(len(label_names), np.int8)
    for name in names:
        if not isinstance(name, str) or name not in index:
            hint = did_you_mean(str(name), index)
            raise BadData(
                f"{place}: unknown label {name!r} ({hint or 'labels are names, as in the labeler'})"
            )
        row[index[name]] = 1
    return row


def patient_of(case: str) -> str:
    """`train_12` of the CT-RATE volume `train_12_a_1.nii.gz`; any other id is its own patient."""
    match = _CT_RATE.match(bare(case))
    return match.group(1) if match else case


def bare(case: str) -> str:
    """The id without folder and extension, as tables of other systems often have it."""
    return _EXTENSION.sub("", case.replace("\\", "/").rsplit("/", 1)[-1])


def _join(
    path: Path, found: Sequence[Prediction], places: Mapping[str, int], cases: CaseTable
) -> list[Prediction]:
    """Predictions in the order of `cases`, with their references and patients."""
    known = _spellings(cases)
    by_case: dict[str, Prediction] = {}
    strangers = [item.case for item in found if _meant(item.case, known) is None]
    if strangers:
        raise BadData(f"{path}: {_unmatched(strangers, len(found), cases, known)}")
    for item in found:
        identity = _meant(item.case, known)
        assert identity is not None
        if identity in by_case:
            raise BadData(
                f"{path}:{places[item.case]}: case '{item.case}' is already there as "
                f"'{by_case[identity].case}' on line {places[by_case[identity].case]}"
            )
        by_case[identity] = item
    joined = []
    for case in cases:
        item = by_case.get(case.id, Prediction(case.id, "", "", "", finish="missing"))
        joined.append(replace(item, case=case.id, patient=case.patient, reference=case.report))
    return joined


def _spellings(cases: CaseTable) -> dict[str, str | None]:
    """Id, and id without folder and extension, -> id; None where two cases share a bare one."""
    short: dict[str, str | None] = {}
    for case in cases:
        short[bare(case.id)] = None if bare(case.id) in short else case.id
    return short | {case.id: case.id for case in cases}


def _meant(case: str, known: Mapping[str, str | None]) -> str | None:
    return known.get(case) or known.get(bare(case))


def _unmatched(
    strangers: Sequence[str], of: int, cases: CaseTable, known: Mapping[str, str | None]
) -> str:
    """Which ids match nothing, and what those of the data set look like."""
    first = strangers[0]
    if known.get(bare(first), "") is None:
        return f"case '{first}' could be several cases of the data set; give the whole id"
    if len(strangers) == of and of > 1:
        return (
            f"none of its {of} cases is in the data set: it has '{first}', the data set "
            f"'{cases[0].id}'; is the case in another column (--column case=NAME), or is it "
            "another split?"
        )
    hint = did_you_mean(first, known)
    more = f" and {len(strangers) - 1} more" if len(strangers) > 1 else ""
    return f"case '{first}'{more} is not in the data set" + (f" ({hint})" if hint else "")
