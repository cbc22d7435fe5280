"""Tables of every kind are read alike, and what is wrong with one is said with its place."""

from __future__ import annotations

import csv
import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from ctfw.errors import BadData, MissingPackage
from ctfw_plugins.datasets.table_files import Rows, read_table

HEADER = ("image", "report", "Pleural effusion")
RECORDS: list[dict[str, Any]] = [
    {"image": "a.nii.gz", "report": "Erguß, links; klein.", "Pleural effusion": 1},
    {"image": "b.nii.gz", "report": 'A "nodule"\nof 5 mm.', "Pleural effusion": 0},
]


def as_csv(path: Path, delimiter: str = ",", encoding: str = "utf-8") -> Path:
    with path.open("w", newline="", encoding=encoding) as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(HEADER)
        writer.writerows([list(record.values()) for record in RECORDS])
    return path


def as_parquet(path: Path) -> Path:
    parquet.write_table(pyarrow.Table.from_pylist(RECORDS), path)
    return path


def as_jsonl(path: Path) -> Path:
    path.write_text("\n\n".join(json.dumps(record) for record in RECORDS) + "\n")
    return path


def as_json(path: Path) -> Path:
    path.write_text(json.dumps(RECORDS))
    return path


def packed(path: Path) -> Path:
    """The same file, gzipped."""
    target = path.with_name(path.name + ".gz")
    target.write_bytes(gzip.compress(path.read_bytes()))
    return target


def cells(rows: Rows) -> list[tuple[str, ...]]:
    return [tuple(str(cell) for cell in row) for row in rows.rows]


def test_every_format_gives_the_same_rows(tmp_path: Path) -> None:
    files = [
        as_csv(tmp_path / "comma.csv"),
        as_csv(tmp_path / "semicolon.csv", delimiter=";"),
        as_csv(tmp_path / "bar.txt", delimiter="|"),
        as_csv(tmp_path / "tabs.tsv", delimiter="\t"),
        as_csv(tmp_path / "excel.csv", encoding="utf-8-sig"),
        packed(as_csv(tmp_path / "packed.csv")),
        as_json(tmp_path / "t.json"),
        packed(as_json(tmp_path / "u.json")),
        as_jsonl(tmp_path / "t.jsonl"),
        as_parquet(tmp_path / "t.parquet"),
    ]
    expected = [tuple(str(value) for value in record.values()) for record in RECORDS]
    for file in files:
        rows = read_table(file)
        assert rows.header == HEADER, file
        assert cells(rows) == expected, file


def test_places_are_lines_of_the_file_also_after_a_text_of_two_lines(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('a,b\n1,"two\nlines"\n\n3,4\n')
    rows = read_table(path)
    assert [rows.place(i) for i in range(2)] == ["line 2", "line 5"]
    assert read_table(as_json(tmp_path / "t.json")).place(1) == "record 2"
    assert read_table(as_jsonl(tmp_path / "t.jsonl")).place(1) == "line 3"


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16", "iso8859-9"])
def test_other_encodings_are_read_when_they_are_named(tmp_path: Path, encoding: str) -> None:
    path = as_csv(tmp_path / "t.csv", encoding=encoding)
    assert cells(read_table(path, encoding=encoding))[0][1] == "Erguß, links; klein."


def test_wrong_encoding_is_said_with_its_place(tmp_path: Path) -> None:
    plain = as_csv(tmp_path / "t.csv", encoding="cp1252")
    for path in (plain, packed(plain)):
        with pytest.raises(BadData, match=r"not utf-8 text at line 2; .*data\.encoding .*cp1252"):
            read_table(path)
    with pytest.raises(BadData, match=r"not utf-8 text .*perhaps utf-16"):
        read_table(as_csv(tmp_path / "u.csv", encoding="utf-16"))


def test_json_by_split_names_the_split_of_each_record(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"train": RECORDS[:1], "val": RECORDS[1:]}))
    rows = read_table(path)
    at = rows.header.index("split")
    assert [row[at] for row in rows.rows] == ["train", "val"]


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("t.csv", "", "file is empty"),
        ("t.csv", "\n\n", "does not start with a line of column names"),
        ("t.json", "  ", "file is empty"),
        ("t.jsonl", "\n", "file is empty"),
        ("t.csv", "a,b\n", "a header and no rows"),
        ("t.json", "[]", "a header and no rows"),
        ("t.csv", "a,b\n1,2\n3,4,5\n", r"line 3 has 3 cells and the header 2 .*quotes"),
        ("t.csv", "a,b\n1\n", "line 2 has 1 cells and the header 2"),
        ("t.csv", "a,a\n1,2\n", "column 'a' stands twice"),
        ("t.csv", 'a,b\n1,"' + "x" * 140_000, "a quote is perhaps not closed"),
        ("t.json", "{oops", "not JSON"),
        ("t.json", '{"a": 1}', "a list of records"),
        ("t.json", "[1]", "record 1 is no record"),
        ("t.jsonl", '{"a": 1}\n{"a": \n', "line 2 is not JSON"),
        ("t.xlsx", "x", r"save it as CSV \(UTF-8\)"),
        ("t.dat", "x", r"a table is a \.csv"),
        ("t.parquet", "x", "not a readable Parquet file"),
        ("t.csv.gz", "x", "compressed data are damaged"),
    ],
)
def test_what_is_wrong_with_a_file_is_said(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(BadData, match=words) as told:
        read_table(tmp_path / name)
    assert str(tmp_path / name) in str(told.value)


@pytest.mark.parametrize("name", ["absent.csv", "absent.parquet"])
def test_file_that_is_not_there_is_said(tmp_path: Path, name: str) -> None:
    with pytest.raises(BadData, match=rf"{name}: no such file"):
        read_table(tmp_path / name)


def test_folder_in_place_of_a_table_is_said(tmp_path: Path) -> None:
    (tmp_path / "t.csv").mkdir()
    with pytest.raises(BadData, match="a folder"):
        read_table(tmp_path / "t.csv")


def test_parquet_without_its_package_says_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingPackage, match=r"pip install 'ctfw\[parquet\]'.*CSV"):
        read_table(tmp_path / "t.parquet")


CELL = st.text(st.characters(codec="utf-8", exclude_characters="\0\r"), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.tuples(CELL, CELL, CELL).filter(any), min_size=1, max_size=5),
    delimiter=st.sampled_from(",;\t|"),
)
def test_what_a_csv_writer_wrote_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, ...]], delimiter: str
) -> None:
    path = tmp_path_factory.mktemp("csv") / "t.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerows([("first", "second", "third"), *rows])
    assert cells(read_table(path)) == rows
