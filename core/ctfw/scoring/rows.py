"""Rows of the tables that other people's systems write: CSV, TSV, JSON and JSON lines."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ctfw.errors import BadData

Row = tuple[int, Mapping[str, Any]]
ABSENT = object()
_LONGEST = 1 << 26  # characters of one field of a CSV file; Python's own limit is 131072
_DELIMITERS = ",;\t|"
_SUFFIXES = (".csv", ".tsv", ".json", ".jsonl")
_KNOWN = ", ".join(_SUFFIXES)
_MAGIC = (
    (b"PK\x03\x04", "an Excel or zip file; save the table as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "an old Excel file; save the table as CSV (UTF-8)"),
    (b"PAR1", "a Parquet file; write it as CSV or JSON lines first"),
    (b"\x1f\x8b", "a gzip file; unpack it first"),
    (b"\xff\xfe", "UTF-16, not UTF-8; convert it with iconv -f utf-16 -t utf-8"),
    (b"\xfe\xff", "UTF-16, not UTF-8; convert it with iconv -f utf-16 -t utf-8"),
)


def read_rows(path: Path) -> list[Row]:
    """(line or entry number, fields) of each entry of a csv, tsv, json or jsonl file.

    A CSV file may be separated by commas, semicolons, tabs or bars, as its header shows. A JSON
    file is a list of objects, an object of id -> text or id -> object, or an object that holds one
    such list beside other things. Raises BadData for a file that is empty, not UTF-8 or malformed,
    or that names a column or an id twice.
    """
    text = _text_of(path)
    if not text.strip():
        raise BadData(f"{path}: the file is empty; it should hold one prediction per case")
    readers = {".csv": _csv_rows, ".tsv": _csv_rows, ".json": _json_rows}
    rows = readers.get(path.suffix.lower(), _jsonl_rows)(path, text)
    if not rows:
        raise BadData(f"{path}: no predictions in the file")
    return rows


def value_at(row: Mapping[str, Any], name: str) -> Any:
    """The value under a column, or along a path such as `output.text` or `choices.0.text`.

    A column that has the whole path as its name comes first. ABSENT where there is none.
    """
    if name in row:
        return row[name]
    value: Any = row
    for part in name.split("."):
        if isinstance(value, Mapping) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return ABSENT
    return value


def names_in(rows: Sequence[Row]) -> list[str]:
    """Columns of the rows, with the paths to what lies inside objects, for messages."""
    found: dict[str, None] = {}
    for _, row in rows[:100]:
        for key, value in row.items():
            inner = value if isinstance(value, Mapping) else {}
            found |= dict.fromkeys([f"{key}.{name}" for name in inner] or [str(key)])
    return sorted(found)


def _text_of(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadData(f"{path}: cannot read the predictions: {error.strerror}") from error
    for magic, what in _MAGIC:
        if content.startswith(magic):
            raise BadData(f"{path}: this is {what}")
    if b"\0" in content[:1000]:
        raise BadData(f"{path}: this is no UTF-8 text, perhaps UTF-16; save it as UTF-8")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise BadData(
            f"{path}:{line}: not UTF-8 (byte {error.start}); save it as UTF-8, e.g. with "
            f"iconv -f latin1 -t utf-8"
        ) from error


def _csv_rows(path: Path, text: str) -> list[Row]:
    first, _, rest = text.partition("\n")
    skipped = 0
    if first.strip().lower().startswith("sep="):  # a line that Excel writes and reads
        text, skipped = rest, 1
    before = csv.field_size_limit(_LONGEST)
    try:
        return _parsed(path, text, _delimiter(text), skipped)
    finally:
        csv.field_size_limit(before)


def _parsed(path: Path, text: str, delimiter: str, skipped: int) -> list[Row]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    rows: list[Row] = []
    header: list[str] = []
    try:
        for fields in reader:
            number = reader.line_num + skipped
            if not any(field.strip() for field in fields):
                continue
            if not header:
                header = _header(path, number, fields)
                continue
            if len(fields) != len(header):
                raise BadData(
                    f"{path}:{number}: {len(fields)} fields for {len(header)} columns; put texts "
                    "that hold a comma or a line break in double quotes"
                )
            rows.append((number, dict(zip(header, fields, strict=True))))
    except csv.Error as error:
        number = reader.line_num + skipped
        raise BadData(f"{path}:{number}: not a valid CSV file: {error}") from error
    return rows


def _header(path: Path, number: int, fields: Sequence[str]) -> list[str]:
    names = [field.strip() for field in fields]
    twice = [name for name in dict.fromkeys(names) if name and names.count(name) > 1]
    if twice:
        raise BadData(f"{path}:{number}: two columns are called '{twice[0]}'; rename one")
    return names


def _delimiter(text: str) -> str:
    """What separates the most columns in the header; a comma where nothing does."""
    line = next((line for line in text.splitlines() if line.strip()), "")
    quoted, outside = False, dict.fromkeys(_DELIMITERS, 0)
    for character in line:
        quoted ^= character == '"'
        if not quoted and character in outside:
            outside[character] += 1
    return max(_DELIMITERS, key=lambda each: outside[each])


def _once(place: str) -> Callable[[list[tuple[str, Any]]], dict[str, Any]]:
    """What makes an object of its pairs, and raises BadData for a key that stands twice."""

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, value in pairs:
            if key in found:
                raise BadData(f"{place}: '{key}' stands twice in one object; keep one of them")
            found[key] = value
        return found

    return made


def _json_rows(path: Path, text: str) -> list[Row]:
    try:
        data = json.loads(text, object_pairs_hook=_once(str(path)))
    except json.JSONDecodeError as error:
        raise BadData(f"{path}:{error.lineno}: not valid JSON: {error.msg}") from error
    except RecursionError as error:
        raise BadData(f"{path}: not valid JSON: nested too deeply") from error
    if isinstance(data, Mapping):
        data = _listed(path, data)
    if not isinstance(data, list) or not all(isinstance(row, Mapping) for row in data):
        raise BadData(f"{path}: should be a list of objects, or a mapping of case to object")
    return list(enumerate(data, start=1))


def _listed(path: Path, data: Mapping[str, Any]) -> Any:
    """The one list of objects that an object holds, or its entries with their keys as cases."""
    lists = {
        key: value
        for key, value in data.items()
        if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value)
    }
    if len(lists) == 1:
        return next(iter(lists.values()))
    if lists:
        raise BadData(
            f"{path}: holds several lists of objects ({', '.join(lists)}); keep the predictions"
        )
    return [
        {"case": key, **(value if isinstance(value, Mapping) else {"generated": value})}
        for key, value in data.items()
    ]


def _jsonl_rows(path: Path, text: str) -> list[Row]:
    rows: list[Row] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_once(f"{path}:{number}"))
        except json.JSONDecodeError as error:
            known = "" if path.suffix.lower() in _SUFFIXES else f"; what is read are {_KNOWN} files"
            raise BadData(f"{path}:{number}: not valid JSON: {error.msg}{known}") from error
        if not isinstance(row, Mapping):
            raise BadData(f"{path}:{number}: should be a JSON object, one per line")
        rows.append((number, row))
    return rows
