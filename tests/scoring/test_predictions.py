"""predictions.jsonl round trips, and other people's files are read or refused in words."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.errors import BadData
from ctfw.scoring.predictions import patient_of, read_predictions, write_predictions
from ctfw.types import Case, CaseTable, Prediction

ROWS = [
    Prediction(
        "train_1_a_1.nii.gz",
        "train_1",
        "Heart – normal.\nNo “nodule”.\u2028",
        "reference",
        np.eye(18, dtype=np.int8)[3],
        np.zeros(18, np.int8),
        "length",
    ),
    Prediction("b", "p2", "", "text"),
]


def assert_same(ours: list[Prediction], theirs: list[Prediction]) -> None:
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs, strict=True):
        for name in ("case", "patient", "generated", "reference", "finish"):
            assert getattr(a, name) == getattr(b, name)
        for name in ("labels", "reference_labels"):
            first, second = getattr(a, name), getattr(b, name)
            assert (first is None) == (second is None)
            assert first is None or np.array_equal(first, second)


def test_predictions_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, ROWS)
    assert_same(read_predictions(path), ROWS)
    assert [item.name for item in tmp_path.iterdir()] == ["predictions.jsonl"]
    first = json.loads(path.read_text("utf-8").split("\n")[0])
    assert first["labels"] == ["Pericardial effusion"]
    assert first["reference_labels"] == []


def is_missing(text: str) -> bool:
    """What a table program writes for no text."""
    return text.strip().lower() == "nan"


@given(st.text(st.characters(codec="utf-8"), max_size=30).filter(lambda t: not is_missing(t)))
def test_any_text_round_trips(tmp_path_factory: pytest.TempPathFactory, text: str) -> None:
    path = tmp_path_factory.mktemp("text") / "p.jsonl"
    write_predictions(path, [Prediction("c", "p", text, text)])
    assert read_predictions(path)[0].generated == text


@pytest.mark.parametrize("text", ["nan", "NaN", " NAN "])
def test_nan_of_a_table_program_is_an_empty_text(tmp_path: Path, text: str) -> None:
    path = tmp_path / "p.jsonl"
    write_predictions(path, [Prediction("c", "p", text, "a report")])
    assert read_predictions(path)[0].generated == ""


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "predictions.jsonl"
    write_predictions(path, ROWS)
    before = path.read_bytes()
    short = Prediction("c", "p", "x", "y", np.ones(3, np.int8))
    with pytest.raises(ValueError, match="zip"):
        write_predictions(path, [ROWS[1], short])
    assert path.read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


COLUMNS = {"case": "VolumeName", "generated": "pred", "reference": "Findings_EN"}


def test_csv_of_another_system_is_read_by_its_columns(tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text(
        "VolumeName,pred,Findings_EN\n"
        'valid_53_a_1.nii.gz,"Heart, normal.\nLine 2",ref\nb,nan,ref\n',
        "utf-8-sig",
    )
    first, second = read_predictions(path, COLUMNS)
    assert (first.case, first.patient) == ("valid_53_a_1.nii.gz", "valid_53")
    assert first.generated == "Heart, normal.\nLine 2"
    assert (second.patient, second.generated) == ("b", "")


def test_json_list_and_mapping_are_read(tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    path.write_text(json.dumps([{"VolumeName": "a", "pred": "x", "Findings_EN": "y"}]))
    assert_same(read_predictions(path, COLUMNS), [Prediction("a", "a", "x", "y")])
    path.write_text(json.dumps({"a": {"generated": "x", "reference": "y"}}))
    assert_same(read_predictions(path), [Prediction("a", "a", "x", "y")])


def test_missing_predictions_become_empty_hypotheses(tmp_path: Path) -> None:
    table = CaseTable(
        tuple(Case(f"train_{i}_a_1", f"train_{i}", Path("x"), f"report {i}") for i in range(3))
    )
    path = tmp_path / "out.json"
    path.write_text(json.dumps({"some/folder/train_2_a_1.nii.gz": "text"}))
    rows = read_predictions(path, cases=table)
    assert [row.case for row in rows] == [case.id for case in table]
    assert [row.generated for row in rows] == ["", "", "text"]
    assert [row.finish for row in rows] == ["missing", "missing", "stop"]
    assert rows[2].reference == "report 2"
    path.write_text(json.dumps({"train_9_a_1": "text"}))
    with pytest.raises(BadData, match=r"'train_9_a_1' is not in the data set.*did you mean"):
        read_predictions(path, cases=table)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.jsonl", b"", "the file is empty"),
        ("a.jsonl", b" \n\n", "the file is empty"),
        ("a.csv", b"case,generated,reference\n", "no predictions in the file"),
        ("a.json", b"[]", "no predictions in the file"),
        ("a.json", b'["text"]', "a list of objects"),
        ("a.json", b"[{]", r"a\.json:1: not valid JSON"),
        ("a.jsonl", b'{"case": "a"}\nnot json\n', r"a\.jsonl:2: not valid JSON"),
        ("a.jsonl", b"[1]\n", "one per line"),
        ("a.csv", "case,generated,reference\na,\u00e9,b\n".encode("latin-1"), "not UTF-8"),
        ("a.csv", b"case,generted,reference\na,b,c\n", r"no column 'generated'.*'generted'"),
        ("a.jsonl", b'{"case": "a", "generated": "x"}\n', "no column 'reference'"),
        (
            "a.csv",
            b"case,generated,reference\na,x,y\nb,x,y\na,x,y\n",
            r"a\.csv:4: case 'a' is already on line 2",
        ),
        ("a.csv", b"case,generated,reference\n,x,y\n", "the case id is empty"),
        (
            "a.csv",
            b"case,generated,reference,labels\na,x,y,Emphysma\n",
            "unknown label 'Emphysma' .did you mean 'Emphysema'",
        ),
    ],
)
def test_bad_files_are_refused_in_words(
    tmp_path: Path, name: str, content: bytes, message: str
) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(BadData, match=message):
        read_predictions(path)


def test_absent_file_and_unknown_field_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="cannot read the predictions: No such file"):
        read_predictions(tmp_path / "absent.jsonl")
    with pytest.raises(BadData, match="unknown field 'report'"):
        read_predictions(tmp_path / "absent.jsonl", {"report": "x"})


def test_patient_is_read_off_ct_rate_names_only() -> None:
    assert patient_of("train_12_ab_10.nii.gz") == "train_12"
    assert patient_of("valid_3_a") == "valid_3"
    assert patient_of("LIDC-IDRI-0001") == "LIDC-IDRI-0001"


@pytest.mark.parametrize(
    ("row", "fields"), [("a,There is effusion, right.,No effusion.", 4), ("a,No effusion.", 2)]
)
def test_row_with_another_number_of_fields_is_refused(
    tmp_path: Path, row: str, fields: int
) -> None:
    file = tmp_path / "theirs.csv"
    file.write_text(f"case,generated,reference\n{row}\n")
    with pytest.raises(BadData, match=rf"csv:2: {fields} fields for 3 columns; put texts"):
        read_predictions(file)


def test_synthetic_reports_are_marked_and_read_all_the_same(tmp_path: Path) -> None:
    plain, marked = tmp_path / "plain.jsonl", tmp_path / "marked.jsonl"
    write_predictions(plain, ROWS)
    write_predictions(marked, ROWS, synthetic=True)
    assert all(
        json.loads(line)["synthetic"] is True for line in marked.read_text().strip().split("\n")
    )
    assert "synthetic" not in plain.read_text()
    assert [p.case for p in read_predictions(marked)] == [p.case for p in read_predictions(plain)]
    assert [p.generated for p in read_predictions(marked)] == [p.generated for p in ROWS]
