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
        (("theirs.csv", *COLUMNS, "--protocol", "r2gne"), "no protocol 'r2gne'; there are r2gen"),
        (
            ("theirs.csv", *COLUMNS, "--protocol", "r2gen", "--metric", "coverage"),
            "--protocol: none of the metrics has a protocol to choose",
        ),
        (("theirs.csv", *COLUMNS, "--metric", "blue"), "--metric blue: no metric named 'blue'"),
        (
            ("theirs.csv", *COLUMNS, "--metric", "{use: bleu, n: 0}"),
            "--metric {use: bleu, n: 0}: n: must be at least 1",
        ),
        (("theirs.csv", *COLUMNS, "--labeler", "ct-rate"), "--labeler ct-rate: no labeler named"),
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


def test_every_score_is_printed_below_its_signature(says: Says, table: Path) -> None:
    Path("train.csv").write_text(f"VolumeName,Findings_EN\na,{TRUTH}\nb,{WRONG}\n")
    arguments = ["--train", "train.csv", "--metric", "bleu", "--metric", "accuracy"]
    code, out, _ = says(str(table), *COLUMNS, *arguments)
    assert code == 0
    lines = [line for line in out[out.index("95 % interval") :].splitlines()[1:] if line]
    assert lines[0] == "r2gen|corpus|smooth:none|refs:1|v1"
    name, value, mark, low, to, high, floor, *whose = lines[1].split()
    assert (name, mark, to, whose[-1]) == ("BLEU-1", "▼", "to", "report")
    assert float(low) <= float(value) <= float(high) <= 1
    assert float(floor) == 1.0
    assert any(line.startswith("  macro F1 ") for line in lines)


def test_two_protocols_stand_side_by_side(says: Says, table: Path) -> None:
    protocols = ["--protocol", "r2gen", "--protocol", "sacrebleu"]
    code, out, err = says(str(table), *COLUMNS, *protocols, "--metric", "{use: bleu, n: 2}")
    assert code == 0
    assert "sacrebleu|corpus|smooth:exp|refs:1|v1" in out
    assert "BLEU-2 (sacrebleu)" in out
    assert err == "written: theirs.scores/scores.json, theirs.scores/per_case.csv\n"
    scores = json.loads(Path("theirs.scores/scores.json").read_text())
    values = scores["table"]["rows"][0]["values"]
    assert set(values) == {"bleu-1", "bleu-2", "bleu-1@sacrebleu", "bleu-2@sacrebleu"}
    assert values["bleu-2"]["value"] != values["bleu-2@sacrebleu"]["value"]


def test_metric_alone_keeps_its_own_settings_under_a_protocol(says: Says, table: Path) -> None:
    metric = "{use: rouge-l, protocol: r2gen, stem: true}"
    code, out, err = says(str(table), *COLUMNS, "--metric", metric)
    assert (code, out) == (2, "")
    assert "stem" in err
    code, out, _ = says(str(table), *COLUMNS, "--protocol", "rouge_score", "--metric", "rouge-l")
    assert code == 0
    assert "rouge_score|mean of cases" in out


def test_references_may_stand_in_a_file_of_their_own(says: Says) -> None:
    Path("made.jsonl").write_text(
        json.dumps({"case": "v1.nii.gz", "generated": TRUTH})
        + "\n"
        + json.dumps({"case": "v2.nii.gz", "generated": WRONG})
        + "\n"
    )
    Path("truth.csv").write_text(f"VolumeName,Findings_EN\nv1,{TRUTH}\nv2,{TRUTH}\nv3,{TRUTH}\n")
    code, out, _ = says("made.jsonl", "--references", "truth.csv")
    assert code == 0
    assert "made.jsonl: 3 cases of 3 patients" in out
    assert "1 missing" in out


def test_predictions_whose_ids_match_no_reference_are_refused(says: Says) -> None:
    Path("made.jsonl").write_text(json.dumps({"case": "other", "generated": TRUTH}) + "\n")
    Path("truth.csv").write_text(f"VolumeName,Findings_EN\nv1,{TRUTH}\n")
    code, out, err = says("made.jsonl", "--references", "truth.csv")
    assert (code, out) == (2, "")
    assert "other" in err


def test_references_that_are_there_twice_are_refused(says: Says) -> None:
    Path("made.jsonl").write_text(json.dumps({"case": "v1", "generated": TRUTH}) + "\n")
    Path("truth.csv").write_text(f"VolumeName,Findings_EN\nv1,{TRUTH}\nv1,{WRONG}\n")
    code, _, err = says("made.jsonl", "--references", "truth.csv")
    assert code == 2
    assert "truth.csv:3: case 'v1' is there twice" in err
