"""`table`: columns, splits, labels and hints of anybody's table, and what is wrong with it."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ctfw.errors import BadData
from ctfw.types import Case
from ctfw_plugins.datasets.configs import TableConfig
from ctfw_plugins.datasets.table import Table

SPLITS = ("train", "validation", "test")
Row = dict[str, Any]


def write(folder: Path, rows: Sequence[Row], name: str = "scans.csv", images: bool = True) -> Path:
    """A CSV, and an empty file for each of its images."""
    header = list(dict.fromkeys(key for row in rows for key in row))
    with (folder / name).open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, header)
        writer.writeheader()
        writer.writerows(rows)
    for row in rows if images else ():
        path = folder / str(row.get("image", "none"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder / name


def scans(count: int, studies: int = 1, **more: Any) -> list[Row]:
    """Rows of `count` patients with some studies each, dealt to the splits 3:1:1."""
    return [
        {
            "image": f"scans/{patient}_{study}.nii.gz",
            "report": f"Report {patient}, {study}.",
            "patient": f"P{patient:03}",
            "split": ("train", "train", "train", "val", "test")[patient % 5],
            **more,
        }
        for patient in range(count)
        for study in range(studies)
    ]


def without(rows: Sequence[Row], *columns: str) -> list[Row]:
    return [{key: value for key, value in row.items() if key not in columns} for row in rows]


def table(file: Path, context: Any = None, **settings_: Any) -> Table:
    return Table(
        TableConfig(file=file, **settings_), context or SimpleNamespace(log=lambda _: None)
    )


def everyone(data: Table) -> dict[str, Case]:
    return {case.id: case for split in SPLITS for case in data.cases(split)}


def refused(file: Path, words: str, **settings_: Any) -> None:
    with pytest.raises(BadData, match=words) as told:
        table(file, **settings_).prepare()
    assert file.name in str(told.value), "the message names the file"


def test_a_row_becomes_a_case(tmp_path: Path) -> None:
    file = write(tmp_path, scans(5, accession="A1", rescaleslope=1, rescaleintercept=-1024,
                                 spacing="[0.7, 0.7, 1.5]", intensity="RAW"))  # fmt: skip
    case = table(file).cases("validation")[0]
    assert (case.id, case.patient, case.study) == ("scans/3_0", "P003", "A1")
    assert case.image == tmp_path / "scans" / "3_0.nii.gz"
    assert (case.report, case.split, case.labels) == ("Report 3, 0.", "validation", None)
    assert case.hints == {
        "RescaleSlope": 1.0,
        "RescaleIntercept": -1024.0,
        "XYSpacing": (0.7, 0.7),
        "ZSpacing": 1.5,
        "intensity": "raw",
    }


@pytest.mark.parametrize(
    ("header", "role"),
    [
        ("VolumeName", "image"),
        ("Image Path", "image"),
        ("file_name", "image"),
        ("Report Text", "report"),
        ("Findings_EN", "report"),
        ("IMPRESSION", "report"),
        ("PatientID", "patient"),
        ("subject-id", "patient"),
        ("Set", "split"),
    ],
)
def test_columns_are_found_by_their_usual_names(tmp_path: Path, header: str, role: str) -> None:
    rows = [{header if key == role else key: value for key, value in row.items()}
            for row in scans(5)]  # fmt: skip
    write(tmp_path, scans(5))
    found = everyone(table(write(tmp_path, rows, images=False)))
    assert {case.patient for case in found.values()} == {f"P{i:03}" for i in range(5)}
    assert "Report 3, 0." in found["scans/3_0"].report


def test_named_columns_win_over_usual_names(tmp_path: Path) -> None:
    rows = [{**row, "volume": "wrong.nii.gz", "text": "mine"} for row in scans(5)]
    data = table(write(tmp_path, rows), columns={"report": "TEXT", "id": "patient"})
    assert data.cases("test")[0].report == "mine"
    assert data.cases("test")[0].id == "P004"


def test_column_mistakes_are_all_said_at_once(tmp_path: Path) -> None:
    file = write(tmp_path, scans(5))
    columns = {"image": "imag", "patient": "person"}
    refused(
        file,
        r"data\.columns\.image: there is no column 'imag', did you mean 'image'\?; "
        r"data\.columns\.patient: there is no column 'person'\. The table has: image, report",
        columns=columns,
    )
    file = write(tmp_path, without(scans(5), "image", "report"), "bare.csv", images=False)
    refused(file, r"column for the image .*data\.columns\.image; .*text .*data\.columns\.report")


@pytest.mark.parametrize(
    ("sections", "expected"),
    [
        ("auto", "whole"),
        ("report", "whole"),
        ("findings", "seen"),
        ("findings+impression", "Findings: seen Impression: meant"),
    ],
)
def test_sections_say_what_is_written(tmp_path: Path, sections: str, expected: str) -> None:
    rows = scans(5, report="whole", findings="seen", impression="meant")
    case = table(write(tmp_path, rows), sections=sections).cases("test")[0]
    assert case.report == expected
    assert (case.findings, case.impression) == ("seen", "meant")


def test_auto_takes_the_sections_where_there_is_no_whole_report(tmp_path: Path) -> None:
    rows = without(scans(5, findings="seen", impression="Not given."), "report")
    assert table(write(tmp_path, rows)).cases("test")[0].report == "Findings: seen"
    alone = write(tmp_path, without(rows, "impression"))
    assert table(alone).cases("test")[0].report == "seen"
    refused(alone, r"asks for report, and no column of that is known", sections="report")


def test_one_table_per_split(tmp_path: Path) -> None:
    parts = {}
    for number, split in enumerate(("train", "validation", "test")):
        rows = [
            {**row, "image": f"{split}/{i}.nii", "patient": f"{split}{i}", "split": "oops"}
            for i, row in enumerate(scans(2 + number))
        ]
        parts[split] = write(tmp_path, rows, f"{split}.csv")
    data = Table(TableConfig(file=parts), SimpleNamespace(log=lambda _: None))
    assert [len(data.cases(split)) for split in SPLITS] == [2, 3, 4]
    del parts["validation"]
    held = Table(TableConfig(file=parts), SimpleNamespace(log=lambda _: None))
    assert len(held.cases("train")) + len(held.cases("validation")) == 2
    assert len(held.cases("test")) == 4


def test_root_and_suffix_complete_the_image_names(tmp_path: Path) -> None:
    (tmp_path / "images" / "deep").mkdir(parents=True)
    rows = [{**row, "image": f"deep\\{i}"} for i, row in enumerate(scans(5))]
    for i in range(5):
        (tmp_path / "images" / "deep" / f"{i}.nii.gz").touch()
    file = write(tmp_path, rows, images=False)
    data = table(file, root=tmp_path / "images", suffix=".nii.gz")
    assert data.cases("test")[0].image == tmp_path / "images" / "deep" / "4.nii.gz"
    absolute = [{**row, "image": str(tmp_path / "images" / "deep" / f"{i}.nii.gz")}
                for i, row in enumerate(scans(5))]  # fmt: skip
    assert len(everyone(table(write(tmp_path, absolute, images=False)))) == 5


def test_a_dicom_folder_is_an_image(tmp_path: Path) -> None:
    file = write(tmp_path, scans(5), images=False)
    for row in scans(5):
        (tmp_path / row["image"]).mkdir(parents=True)
    assert len(everyone(table(file))) == 5


def test_missing_images_are_left_out_counted_and_named(tmp_path: Path) -> None:
    file = write(tmp_path, scans(20))
    (tmp_path / "scans" / "0_0.nii.gz").unlink()
    (tmp_path / "scans" / "4_0.nii.gz").unlink()
    said: list[str] = []
    data = table(file, SimpleNamespace(log=said.append))
    assert data.left_out == {}
    assert len(everyone(data)) == 18
    assert data.left_out == {"whose file is missing": ("scans/0_0", "scans/4_0")}
    (line,) = [text for text in said if "left out" in text]
    assert "18 rows used, left out: 2 whose file is missing (scans/0_0, scans/4_0)" in line


def test_what_is_left_out_is_counted_once_also_after_an_error(tmp_path: Path) -> None:
    rows = scans(10, 2)
    rows[0]["report"], rows[1]["split"] = "", "test"
    rows[2]["split"] = "test"
    data = table(write(tmp_path, rows), empty_reports="leave-out")
    for _ in range(2):
        with pytest.raises(BadData, match="in two splits"):
            data.prepare()
    assert data.left_out == {"without a report": ("scans/0_0",)}


def test_no_image_at_all_says_where_it_looked(tmp_path: Path) -> None:
    file = write(tmp_path, scans(5), images=False)
    refused(file, rf"none of its 5 .*{tmp_path}/scans/0_0\.nii\.gz.*data\.root")


def test_without_a_context_the_words_are_warnings(tmp_path: Path) -> None:
    file = write(tmp_path, without(scans(10), "patient"))
    with pytest.warns(UserWarning, match=r"each study counts as a patient .*columns\.patient"):
        Table(TableConfig(file=file)).prepare()


def test_without_a_patient_column_each_study_is_a_patient(tmp_path: Path) -> None:
    rows = without(scans(5, 2), "patient")
    for row in rows:
        row["study"] = row["image"].split("_")[0]
    found = everyone(table(write(tmp_path, rows)))
    assert found["scans/3_0"].patient == found["scans/3_1"].patient == "scans/3"
    found = everyone(table(write(tmp_path, without(rows, "study"))))
    assert len({case.patient for case in found.values()}) == 10


def test_patient_in_two_splits_is_an_error_unless_accepted(tmp_path: Path) -> None:
    rows = scans(10, 2)
    rows[1]["split"] = "test"
    file = write(tmp_path, rows)
    refused(file, r"1 patient is in two splits: P000 \(train and test\).*allow_patient_overlap")
    assert len(everyone(table(file, allow_patient_overlap=True))) == 20


def test_double_ids_are_named_with_their_rows(tmp_path: Path) -> None:
    rows = scans(5)
    rows[3]["image"] = rows[1]["image"]
    refused(
        write(tmp_path, rows),
        r"1 id stands more than once: 'scans/1_0' \(scans\.csv line 3 and scans\.csv line 5\).*"
        r"data\.columns\.id",
    )


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("image", "", r"no image \(line 3\)"),
        ("patient", "", r"no patient \(line 3\)"),
        ("report", " nan ", r"no report: set data\.empty_reports: leave-out .* \(line 3\)"),
        ("report", "Not given.", r"no report"),
        ("split", "", r"split '' is not train, validation or test"),
        ("split", "trian", r"split 'trian' is not .*did you mean 'train'"),
        ("slope", "one", r"slope 'one' is not a number \(line 3\)"),
        ("spacing", "0.7 0.7", r"spacing '0\.7 0\.7' is not three millimetres"),
        ("spacing", "0.7 0.7 0", r"not three millimetres"),
        ("intensity", "HE", r"intensity 'he' is neither hu nor raw"),
    ],
)
def test_wrong_cells_are_named_with_their_row(
    tmp_path: Path, column: str, value: str, words: str
) -> None:
    rows = scans(5, slope="1", spacing="1x1x1", intensity="hu")
    rows[1][column] = value
    refused(write(tmp_path, rows), words)


def test_empty_reports_can_be_left_out(tmp_path: Path) -> None:
    rows = scans(6)
    rows[0]["report"] = "None"
    data = table(write(tmp_path, rows), empty_reports="leave-out")
    assert "scans/0_0" not in everyone(data)
    assert data.left_out == {"without a report": ("scans/0_0",)}


@pytest.mark.parametrize(("text", "given_"), [("0.7 0.7 1.5", 1.5), ("(0.5,0.5,3)", 3.0),
                                              ("0.5x0.5x2", 2.0)])  # fmt: skip
def test_spacing_is_read_in_every_usual_spelling(tmp_path: Path, text: str, given_: float) -> None:
    assert (
        table(write(tmp_path, scans(5, spacing=text))).cases("test")[0].hints["ZSpacing"] == given_
    )


def test_blank_hints_say_nothing(tmp_path: Path) -> None:
    data = table(write(tmp_path, scans(5, slope="", intercept="nan", spacing="", intensity="")))
    assert data.cases("test")[0].hints == {}


def test_limit_is_per_split_in_the_order_of_the_table(tmp_path: Path) -> None:
    file = write(tmp_path, scans(20))
    full, short = table(file), table(file, limit=2)
    for split in SPLITS:
        assert [c.id for c in short.cases(split)] == [c.id for c in full.cases(split)][:2]


def test_empty_split_says_the_least_share_that_fills_it(tmp_path: Path) -> None:
    file = write(tmp_path, without(scans(4), "split"))
    said = {}
    for split in ("validation", "test"):
        with pytest.raises(BadData, match=rf"raise data\.{split}_share above 0\.\d+") as told:
            table(file, validation_share=0, test_share=0).cases(split)
        words = str(told.value).split("above ")[1]
        said[f"{split}_share"] = float(words.split(",")[0])
    assert said["validation_share"] + said["test_share"] < 1
    data = table(file, **said)
    assert len(data.cases("validation")) == len(data.cases("test")) == 1
    with pytest.raises(BadData, match="no split 'valid'"):
        data.cases("valid")


def test_split_of_one_patient_is_told_before_it_costs_time(tmp_path: Path) -> None:
    said: list[str] = []
    table(write(tmp_path, scans(9, 2)), SimpleNamespace(log=said.append)).prepare()
    assert [text for text in said if "needs two" in text] == [
        f"table {tmp_path / 'scans.csv'}: the test split has one patient, and measuring visual "
        "reliance needs two"
    ]


def test_split_column_without_test_says_so(tmp_path: Path) -> None:
    rows = [{**row, "split": "train"} for row in scans(8)]
    data = table(write(tmp_path, rows), validation_share=0.3)
    assert set(data.cases("train").patients).isdisjoint(data.cases("validation").patients)
    with pytest.raises(BadData, match=r"test split has no usable case; .*split column should name"):
        data.cases("test")


def test_settings_that_contradict_each_other_are_refused() -> None:
    for wrong, words in (
        ({"validation_share": 0.5, "test_share": 0.5}, "nothing to train on"),
        ({"encoding": "utf-9"}, "no text encoding"),
        ({"labels": ["a", "a"]}, "each label once"),
        ({"columns": {"labels": "found"}}, "give the label set"),
        ({"columns": {"labels": ["a"]}, "labels": ["a", "b"]}, "1 columns and labels 2 names"),
        ({"columns": {"picture": "x"}}, "Extra inputs"),
    ):
        with pytest.raises(ValidationError, match=words):
            TableConfig(file=Path("t.csv"), **wrong)


NAMES = st.sets(st.text("abcdef0123456789", min_size=1, max_size=6), min_size=8, max_size=40)
SHARE = st.floats(0, 0.4)


@settings(max_examples=40, deadline=None)
@given(names=NAMES, kept=st.integers(1, 7), shares=st.tuples(SHARE, SHARE))
def test_split_of_a_patient_never_changes_when_rows_come_or_go(
    tmp_path_factory: pytest.TempPathFactory,
    names: set[str],
    kept: int,
    shares: tuple[float, float],
) -> None:
    ordered = sorted(names)
    settings_ = {"validation_share": shares[0], "test_share": shares[1]}

    def dealt(patients: Sequence[str]) -> dict[str, set[str]]:
        folder = tmp_path_factory.mktemp("deal")
        rows = [
            {"image": f"{p}_{study}.nii", "report": "r", "patient": p}
            for p in patients
            for study in range(2)
        ]
        data = table(write(folder, rows), **settings_)
        data.prepare()
        splits: dict[str, set[str]] = {}
        for split in SPLITS:
            try:
                cases = data.cases(split)
            except BadData:
                continue
            for case in cases:
                splits.setdefault(case.patient, set()).add(split)
        return splits

    every, some = dealt(ordered), dealt(list(reversed(ordered[::kept])))
    assert all(len(splits) == 1 for splits in every.values()), "never a patient in two splits"
    assert set(every) == names
    assert all(every[patient] == splits for patient, splits in some.items())


def test_shares_are_met_on_many_patients(tmp_path: Path) -> None:
    data = table(write(tmp_path, without(scans(2000), "split")))
    counts = np.array([len(data.cases(split)) for split in SPLITS])
    np.testing.assert_allclose(counts / 2000, [0.7, 0.1, 0.2], atol=0.03)  # 3 standard errors
