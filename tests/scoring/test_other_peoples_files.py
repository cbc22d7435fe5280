"""Tables of other systems are read as they come, or refused in words that say what to do."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.errors import BadData
from ctfw.scoring.predictions import read_predictions
from ctfw.scoring.rows import ABSENT, read_rows, value_at
from ctfw.types import Case, CaseTable

HEAD = "case,generated,reference\n"


def read(folder: Path, name: str, content: str | bytes, **columns: str) -> list[Any]:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_predictions(path, columns)


def texts(found: list[Any]) -> list[tuple[str, str]]:
    return [(item.case, item.generated) for item in found]


def table(*ids: str) -> CaseTable:
    return CaseTable(tuple(Case(i, f"p-{i}", Path("x"), f"report of {i}") for i in ids))


# -- CSV ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "\ufeffcase;generated;reference\r\na;Effusion, right.;b\r\n",  # Excel, continental Europe
        "sep=;\r\ncase;generated;reference\r\na;Effusion, right.;b\r\n",
        "case\tgenerated\treference\na\tEffusion, right.\tb\n",
        "case|generated|reference\na|Effusion, right.|b\n",
        'case , generated, reference\na,"Effusion, right.",b\n',
        '"case";"generated";"reference"\n"a";"Effusion, right.";"b"\n\n\n',
    ],
)
def test_table_is_read_whatever_separates_its_columns(tmp_path: Path, content: str) -> None:
    assert texts(read(tmp_path, "t.csv", content)) == [("a", "Effusion, right.")]


def test_separator_is_that_of_the_header_not_of_the_texts(tmp_path: Path) -> None:
    content = HEAD + 'a,"one; two; three; four; five",b\n'
    assert texts(read(tmp_path, "t.csv", content)) == [("a", "one; two; three; four; five")]
    quoted = '"a;b;c;d",generated,case,reference\n1,x,y,z\n'
    assert texts(read(tmp_path, "t.csv", quoted)) == [("y", "x")]


@given(
    st.lists(
        st.text(st.characters(codec="utf-8", exclude_characters="\r\0"), max_size=30),
        min_size=1,
        max_size=5,
    )
)
def test_what_a_csv_writer_writes_is_read_back(
    tmp_path_factory: pytest.TempPathFactory, reports: list[str]
) -> None:
    reports = [report for report in reports if report.strip().lower() != "nan"]
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["case", "generated", "reference"])
    writer.writerows([f"c{i}", report, "r"] for i, report in enumerate(reports))
    if not reports:
        return
    found = read(tmp_path_factory.mktemp("csv"), "t.csv", out.getvalue())
    assert [item.generated for item in found] == reports


def test_report_of_100_000_words_is_read(tmp_path: Path) -> None:
    report = "effusion " * 100_000
    (found,) = read(tmp_path, "t.csv", f"{HEAD}a,{report},b\n")
    assert found.generated == report
    assert csv.field_size_limit() == 131072  # what other code in this process goes by


def test_line_of_a_fault_counts_the_lines_inside_texts(tmp_path: Path) -> None:
    content = HEAD + 'a,"one\ntwo\nthree",b\nc,x\n'
    with pytest.raises(BadData, match=r"t\.csv:5: 2 fields for 3 columns"):
        read(tmp_path, "t.csv", content)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("t.csv", HEAD + 'a,"never closed,b\n', r"t\.csv:\d: not a valid CSV file"),
        ("t.csv", HEAD + 'a,"a "small" one",b\n', r"t\.csv:2: not a valid CSV file"),
        ("t.csv", "case,generated,case,reference\n", "two columns are called 'case'"),
        ("t.csv", b"\xff\xfec\x00a\x00", "UTF-16, not UTF-8; convert it with iconv -f utf-16"),
        ("t.csv", b"PK\x03\x04rest", "this is an Excel or zip file; save the table as CSV"),
        ("t.jsonl", b"PAR1rest", "this is a Parquet file"),
        ("t.json", b"\x1f\x8b\x08", "this is a gzip file; unpack it first"),
        ("t.csv", HEAD.encode() + b"a,\xe9,b\n", r"t\.csv:2: not UTF-8 .byte 27.; save it as"),
        ("t.json", '{"a": "x", "a": "y"}', "'a' stands twice in one object"),
        ("t.json", '{"a": {"generated": "x", "generated": ""}}', "'generated' stands twice"),
        ("t.json", "[" * 100_000, "not valid JSON"),
        ("t.json", "3", "should be a list of objects"),
        ("t.json", '[{"case": "a"}, 3]', "should be a list of objects"),
        ("t.json", "{}", "no predictions in the file"),
    ],
)
def test_file_that_cannot_be_meant_is_refused(
    tmp_path: Path, name: str, content: str | bytes, message: str
) -> None:
    with pytest.raises(BadData, match=message):
        read(tmp_path, name, content)


# -- JSON --------------------------------------------------------------------------------------

ONE = {"case": "a", "generated": "x", "reference": "r"}


@pytest.mark.parametrize(
    "data",
    [
        [ONE],
        {"predictions": [ONE]},
        {"a": {"generated": "x", "reference": "r"}},
        {"one": {**ONE}},
    ],
)
def test_json_may_be_a_list_a_list_in_an_object_or_objects_by_id(tmp_path: Path, data: Any) -> None:
    assert texts(read(tmp_path, "t.json", json.dumps(data))) == [("a", "x")]


def test_texts_by_id_need_references_from_elsewhere(tmp_path: Path) -> None:
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"a": "x", "b": None}))
    with pytest.raises(BadData, match="no column 'reference' with references"):
        read_predictions(path)
    found = read_predictions(path, cases=table("a", "b"))
    assert texts(found) == [("a", "x"), ("b", "")]
    assert [item.finish for item in found] == ["stop", "missing"]


def test_columns_may_lie_inside_objects_and_lists(tmp_path: Path) -> None:
    line = {
        "meta": {"id": 7},
        "output": {"choices": [{"text": "x"}, {"text": "y"}]},
        "ref.text": "r",
    }
    names = {"case": "meta.id", "generated": "output.choices.1.text", "reference": "ref.text"}
    (found,) = read(tmp_path, "t.jsonl", json.dumps(line), **names)
    assert (found.case, found.generated, found.reference) == ("7", "y", "r")


def test_missing_path_lists_what_lies_inside(tmp_path: Path) -> None:
    line = json.dumps({"case": "a", "output": {"txet": "x"}, "reference": "r"})
    words = r"no column 'output.text' with generated reports; the file has case, output\.txet, "
    with pytest.raises(BadData, match=words + r"reference \(did you mean 'output\.txet'\?\)"):
        read(tmp_path, "t.jsonl", line, generated="output.text")


@given(
    st.recursive(
        st.none() | st.integers(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab."), inner),
        max_leaves=8,
    ),
    st.text("ab.01", max_size=6),
)
def test_path_is_followed_as_far_as_it_goes(tree: Any, name: str) -> None:
    row = tree if isinstance(tree, dict) else {"a": tree}
    found = value_at(row, name)
    head, _, rest = name.partition(".")
    if name in row:
        assert found is row[name]
    elif rest and isinstance(row.get(head), dict) and rest not in row[head]:
        assert found == value_at(row[head], rest)
    elif head not in row:
        assert found is ABSENT


# -- what a value may be -------------------------------------------------------------------------


@pytest.mark.parametrize("value", [None, float("nan"), "NaN", " nan "])
def test_absent_text_is_an_empty_hypothesis_and_counted_as_missing(
    tmp_path: Path, value: Any
) -> None:
    (found,) = read(tmp_path, "t.jsonl", json.dumps({**ONE, "generated": value}))
    assert (found.generated, found.finish) == ("", "missing")


def test_row_without_the_column_is_missing_and_a_given_finish_is_kept(tmp_path: Path) -> None:
    lines = [ONE, {"case": "b", "reference": "r"}, {**ONE, "case": "c", "finish": "timeout"}]
    found = read(tmp_path, "t.jsonl", "\n".join(map(json.dumps, lines)))
    assert [(item.generated, item.finish) for item in found] == [
        ("x", "stop"), ("", "missing"), ("x", "timeout"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("generated", 5, r"t\.jsonl:1: case 'a': 'generated' should be a text and is 5"),
        ("generated", True, "should be a text and is true"),
        ("generated", ["x", "y"], r"is a list of 2; join its texts, or take one with generated\.0"),
        ("reference", {"text": "x"}, r"is an object; name what is inside, e\.g\. reference\.text"),
        ("case", ["a"], "the case should be a text and is"),
        ("case", True, "the case should be a text and is true"),
        ("case", None, "the case id is empty"),
        ("patient", {"id": 1}, "the patient should be a text"),
        ("labels", [0, 1, 0], "unknown label 0 .labels are names"),
        ("labels", {"Emphysema": 1}, "labels should be a list of label names"),
    ],
)
def test_value_of_another_type_is_refused(
    tmp_path: Path, field: str, value: Any, message: str
) -> None:
    with pytest.raises(BadData, match=message):
        read(tmp_path, "t.jsonl", json.dumps({**ONE, field: value}))


@pytest.mark.parametrize(("value", "case"), [(12, "12"), (12.0, "12"), (" a ", "a")])
def test_number_of_a_table_program_is_an_id(tmp_path: Path, value: Any, case: str) -> None:
    (found,) = read(tmp_path, "t.jsonl", json.dumps({**ONE, "case": value}))
    assert (found.case, found.patient) == (case, case)


def test_labels_that_are_not_a_number_are_no_labels(tmp_path: Path) -> None:
    (found,) = read(tmp_path, "t.jsonl", json.dumps({**ONE, "labels": float("nan")}))
    assert found.labels is None


def test_half_of_a_surrogate_pair_can_be_written_again(tmp_path: Path) -> None:
    (found,) = read(tmp_path, "t.jsonl", '{"case": "a", "generated": "x\\ud83d", "reference": ""}')
    assert found.generated == "x\ufffd"
    found.generated.encode()


# -- ids -----------------------------------------------------------------------------------------


def joined(folder: Path, cases: CaseTable, **reports: str) -> list[Any]:
    path = folder / "t.json"
    path.write_text(json.dumps(reports))
    return read_predictions(path, cases=cases)


@pytest.mark.parametrize(
    "spelling",
    [
        "train_1_a_1",
        "train_1_a_1.nii.gz",
        "train_1/train_1_a_1.nii.gz",
        "C:\\x\\train_1_a_1.NII.GZ",
    ],
)
@pytest.mark.parametrize("identity", ["train_1_a_1", "train_1_a_1.nii.gz"])
def test_case_is_known_by_other_spellings(tmp_path: Path, identity: str, spelling: str) -> None:
    (found,) = joined(tmp_path, table(identity), **{spelling: "x"})
    assert (found.case, found.generated) == (identity, "x")
    assert found.patient == f"p-{identity}"
    assert found.reference == f"report of {identity}"


def test_same_case_in_two_spellings_is_refused(tmp_path: Path) -> None:
    words = r"t\.json:2: case 'a\.nii\.gz' is already there as 'a' on line 1"
    with pytest.raises(BadData, match=words):
        joined(tmp_path, table("a"), **{"a": "x", "a.nii.gz": "y"})


def test_bare_id_of_two_cases_is_refused_and_whole_ones_are_not(tmp_path: Path) -> None:
    two = table("one/a.nii.gz", "two/a.nii.gz")
    found = joined(tmp_path, two, **{"two/a.nii.gz": "x"})
    assert texts(found) == [("one/a.nii.gz", ""), ("two/a.nii.gz", "x")]
    with pytest.raises(BadData, match="'a' could be several cases of the data set; give the whole"):
        joined(tmp_path, two, a="x")


def test_ids_that_match_nothing_are_shown_beside_those_of_the_data(tmp_path: Path) -> None:
    words = (
        r"none of its 2 cases is in the data set: it has '0', the data set 'valid_1_a_1'; is the"
    )
    with pytest.raises(BadData, match=words):
        joined(tmp_path, table("valid_1_a_1", "valid_2_a_1"), **{"0": "x", "1": "y"})


def test_stranger_among_known_cases_is_named_with_the_close_one(tmp_path: Path) -> None:
    words = r"case 'valid_1_b_1' and 1 more is not in the data set \(did you mean 'valid_1_a_1'\?\)"
    with pytest.raises(BadData, match=words):
        joined(tmp_path, table("valid_1_a_1"), **{"valid_1_a_1": "", "valid_1_b_1": "", "zz": ""})


def test_rows_say_where_they_stand(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    path.write_text('\n{"case": "a"}\n\n{"case": "b"}\n')
    assert [number for number, _ in read_rows(path)] == [2, 4]
