"""`ctfw score FILE`: other people's outputs beside the same floors."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ctfw import cli

TRUTH = "Pleural effusion is observed. No lung nodule was detected."
WRONG = "No pleural effusion was detected. A lung nodule is observed."
Says = Callable[..., tuple[int, str, str]]


@pytest.fixture
def says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Says:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CTFW_PLUGINS", "none")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(["score", *arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """A CSV of eight cases of four patients in somebody else's columns."""
    file = tmp_path / "theirs.csv"
    with file.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["VolumeName", "who", "answer", "truth"])
        for i in range(8):
            writer.writerow([f"v{i}", f"p{i // 2}", TRUTH if i % 2 else WRONG, TRUTH])
    return file


COLUMNS = [
    part
    for pair in ("case=VolumeName", "patient=who", "generated=answer", "reference=truth")
    for part in ("--column", pair)
]


def test_file_in_other_columns_is_scored(says: Says, table: Path) -> None:
    code, out, err = says(str(table), *COLUMNS, "--out", "scored")
    assert code == 0
    assert "theirs.csv: 8 cases of 4 patients" in out
    assert "2 distinct texts of 8; 0 empty, 0 missing, 0 cut at the limit" in out
    assert "no text floors: the reports of the training split were not given" in out
    assert err == "written: scored/scores.json, scored/per_case.csv\n"
    scores = json.loads(Path("scored/scores.json").read_text())
    model = scores["table"]["rows"][0]["values"]
    assert model["coverage"]["value"] == 0.5
    assert scores["reliance"]["grounded_gain"] is None
    assert len(Path("scored/per_case.csv").read_text().splitlines()) == 9


def test_training_reports_give_text_floors(says: Says, table: Path) -> None:
    Path("train.csv").write_text(f"VolumeName,Findings_EN\na,{TRUTH}\nb,{WRONG}\n")
    code, out, _ = says(str(table), *COLUMNS, "--train", "train.csv")
    assert code == 0
    for row in ("best constant report", "most frequent report", "random training report"):
        assert row in out
    assert "no text floors" not in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("theirs.csv", "--column", "case"), "--column case: write FIELD=NAME, e.g. --column"),
        (("theirs.csv",), "theirs.csv"),
        (("absent.csv",), "absent.csv"),
        (("theirs.csv", *COLUMNS, "--train", "bad.csv"), "bad.csv: no column with reports; name"),
    ],
)
def test_file_that_does_not_fit_is_refused(
    arguments: tuple[str, ...], words: str, says: Says, table: Path
) -> None:
    Path("bad.csv").write_text("VolumeName,label\na,1\n")
    code, out, err = says(*arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
