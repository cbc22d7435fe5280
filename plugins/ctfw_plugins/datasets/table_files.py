"""Tables as people have them: CSV, TSV, JSON, JSON Lines and Parquet, read into rows."""

from __future__ import annotations

import csv
import gzip
import json
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from ctfw.errors import BadData, MissingPackage
from ctfw_plugins.datasets.common import named

KINDS = ".csv, .tsv, .json, .jsonl or .parquet"
_TEXT = {".csv": "", ".txt": "", ".tsv": "\t", ".tab": "\t"}
_LINES = (".jsonl", ".ndjson")
_DELIMITERS = ",;\t|"
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True, slots=True)
class Rows:
    """A table. `rows` have one value per column of `header`; `places` say where each row is."""

    file: Path
    header: tuple[str, ...]
    rows: list[Sequence[Any]]
    places: list[int]
    unit: str = "line"

    def place(self, index: int) -> str:
        """`line 12`: where a person finds the row."""
        return f"{self.unit} {self.places[index]}"


def read_table(path: Path, encoding: str = "utf-8", delimiter: str | None = None) -> Rows:
    """Read a table, plain or gzipped; the ending of its name says which kind it is.

    delimiter  of a CSV; None: a tab for .tsv, else whichever of , ; tab | the header has most of

    Raises BadData (absent, empty, wrong encoding, rows of different length, unknown kind) or
    MissingPackage (Parquet without pyarrow).
    """
    ending = Path(path.name.lower().removesuffix(".gz")).suffix
    if ending in _TEXT:
        found = _guarded(path, encoding, lambda file: _csv(path, file, delimiter or _TEXT[ending]))
    elif ending == ".json":
        found = _guarded(path, encoding, lambda file: _json(path, file))
    elif ending in _LINES:
        found = _guarded(path, encoding, lambda file: _json_lines(path, file))
    elif ending in (".parquet", ".pq"):
        found = _parquet(path)
    else:
        excel = " An Excel file: save it as CSV (UTF-8)." if ending in (".xlsx", ".xls") else ""
        raise BadData(f"{path}: a table is a {KINDS} file.{excel}")
    if not found.rows:
        raise BadData(f"{path}: the table has a header and no rows")
    return found


def _absent(path: Path) -> str:
    where = "" if path.is_absolute() else "; a relative path starts from the working directory"
    return f"{path.absolute()}: no such file{where}"


def _guarded(path: Path, encoding: str, read: Any) -> Rows:
    """Open and read; what goes wrong below the format is said in words."""
    name = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    try:
        with _open(path, name) as file:
            rows: Rows = read(file)
            return rows
    except FileNotFoundError:
        raise BadData(_absent(path)) from None
    except IsADirectoryError:
        raise BadData(f"{path}: a folder, and the table should be a {KINDS} file") from None
    except UnicodeError as error:
        raise BadData(_not_decodable(path, encoding, error)) from error
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise BadData(f"{path}: the compressed data are damaged ({error})") from error
    except OSError as error:
        raise BadData(f"{path}: cannot be read: {error.strerror}") from error


def _open(path: Path, encoding: str) -> IO[str]:
    if path.suffix.lower() == ".gz":
        return gzip.open(path, "rt", encoding=encoding, newline="")
    return path.open(encoding=encoding, newline="")


def _not_decodable(path: Path, encoding: str, error: UnicodeError) -> str:
    """Where the first byte is that is not of this encoding, and what to do."""
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        data = file.read()
    where = ""
    try:
        data.decode(encoding)
    except UnicodeDecodeError as found:
        line = data.count(b"\n", 0, found.start) + 1
        where = f" at line {line}"
    guess = "utf-16" if data[:2] in _UTF16 else "cp1252"
    return (
        f"{path}: not {encoding} text{where}; save it as UTF-8, or say what it is with "
        f"data.encoding (perhaps {guess})"
    )


def _csv(path: Path, file: IO[str], delimiter: str) -> Rows:
    first = file.readline()
    if not first.strip():
        raise BadData(f"{path}: the file is empty, or does not start with a line of column names")
    if "\0" in first:
        raise BadData(f"{path}: not text in this encoding; set data.encoding (perhaps utf-16)")
    delimiter = delimiter or max(_DELIMITERS, key=first.count)
    reader = csv.reader(_chained(first, file), delimiter=delimiter)
    rows: list[Sequence[Any]] = []
    places: list[int] = []
    try:
        header = [name.strip() for name in next(reader)]
        _check_header(path, header)
        begin = reader.line_num + 1
        for row in reader:
            if len(row) == len(header):
                rows.append(row)
                places.append(begin)
            elif row:  # a blank line gives an empty list
                raise BadData(_uneven(path, begin, row, header, delimiter))
            begin = reader.line_num + 1
    except csv.Error as error:
        raise BadData(
            f"{path}: line {reader.line_num}: {error}; a quote is perhaps not closed before it"
        ) from error
    return Rows(path, tuple(header), rows, places)


def _chained(first: str, rest: IO[str]) -> Iterator[str]:
    yield first
    yield from rest


def _uneven(path: Path, line: int, row: list[str], header: list[str], delimiter: str) -> str:
    shown = {"\t": "tab"}.get(delimiter, delimiter)
    return (
        f"{path}: line {line} has {len(row)} cells and the header {len(header)} (cells are "
        f"separated by {shown}); a text that holds the separator or a line break needs quotes "
        "around it"
    )


def _check_header(path: Path, header: Sequence[str]) -> None:
    double = sorted({name for name in header if name and header.count(name) > 1})
    if double:
        raise BadData(f"{path}: column {named([repr(n) for n in double])} stands twice")


def _json(path: Path, file: IO[str]) -> Rows:
    """A list of records, or a mapping of splits to such lists."""
    text = file.read()
    if not text.strip():
        raise BadData(f"{path}: the file is empty")
    try:
        content = json.loads(text)
    except ValueError as error:
        raise BadData(f"{path}: not JSON: {error}") from error
    if isinstance(content, dict) and content and all(isinstance(v, list) for v in content.values()):
        content = [
            {"split": split, **record} if isinstance(record, dict) else record
            for split, records in content.items()
            for record in records
        ]
    if not isinstance(content, list):
        raise BadData(
            f"{path}: a JSON table is a list of records, [{{...}}, ...], or a mapping of splits "
            "to such lists"
        )
    return _records(path, content, list(range(1, len(content) + 1)), "record")


def _json_lines(path: Path, file: IO[str]) -> Rows:
    records, places = [], []
    for number, line in enumerate(file, 1):
        if not line.strip():
            continue
        try:
            records.append(json.loads(line))
        except ValueError as error:
            raise BadData(f"{path}: line {number} is not JSON: {error}") from error
        places.append(number)
    if not records:
        raise BadData(f"{path}: the file is empty")
    return _records(path, records, places, "line")


def _records(path: Path, records: list[Any], places: list[int], unit: str) -> Rows:
    header: dict[str, None] = {}
    for place, record in zip(places, records, strict=True):
        if not isinstance(record, dict):
            raise BadData(f"{path}: {unit} {place} is no record: {{column: value, ...}}")
        header.update(dict.fromkeys(record))
    rows: list[Sequence[Any]] = [[record.get(name) for name in header] for record in records]
    return Rows(path, tuple(header), rows, places, unit)


def _parquet(path: Path) -> Rows:
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError as error:
        raise MissingPackage(
            f"{path}: Parquet files need the package pyarrow; run: pip install 'ctfw[parquet]', "
            "or save the table as CSV"
        ) from error
    if not path.is_file():
        raise BadData(_absent(path))
    try:
        content = parquet.read_table(path)
    except (arrow.ArrowException, OSError) as error:
        raise BadData(f"{path}: not a readable Parquet file: {error}") from error
    _check_header(path, content.column_names)
    columns = [column.to_pylist() for column in content.columns]
    rows: list[Sequence[Any]] = list(zip(*columns, strict=True))
    places = list(range(1, len(rows) + 1))
    return Rows(path, tuple(content.column_names), rows, places, "row")
