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
    assert (name, mark, to, bool(whose)) == ("BLEU-1", "▼", "to", True)
    assert float(low) <= float(value) <= float(high) <= 1
    assert float(floor) == 1.0
    assert any(line.startswith("  macro F1 ") for line in lines)


def test_two_protocols_stand_side_by_side(says: Says, table: Path) -> None:
    protocols = ["--protocol", "r2gen", "--protocol", "sacrebleu"]
    code, out, err = says(str(table), *COLUMNS, *protocols, "--metric", "{use: bleu, n: 2}")
    assert code == 0
    assert "sacrebleu|corpus|smooth:exp|refs:1|v1" in out
    assert "BLEU-2 (sacrebleu)" in out
    kept = table.with_name("theirs.scores")
    assert err == f"written: {kept / 'scores.json'}, {kept / 'per_case.csv'}\n"
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


def lines_of(rows: list[dict[str, object]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def test_references_that_are_no_texts_are_refused_and_missing_ones_count_as_empty(
    says: Says,
) -> None:
    Path("made.jsonl").write_text(lines_of([{"case": "v1", "generated": TRUTH}]))
    Path("truth.jsonl").write_text(lines_of([{"case": "v1", "report": 5}]))
    code, out, err = says("made.jsonl", "--references", "truth.jsonl")
    assert (code, out) == (2, "")
    assert "truth.jsonl:1: 'report' should be a text and is 5" in err
    Path("truth.jsonl").write_text('{"case": "v1", "report": NaN}\n')
    code, out, _ = says("made.jsonl", "--references", "truth.jsonl")
    assert code == 0
    assert "1 of the references empty" in out


def test_training_reports_that_are_no_texts_are_refused(says: Says, table: Path) -> None:
    Path("train.jsonl").write_text(lines_of([{"report": TRUTH}, {"report": ["a", "b"]}]))
    code, out, err = says(str(table), *COLUMNS, "--train", "train.jsonl")
    assert (code, out) == (2, "")
    assert "train.jsonl:2: 'report' should be a text and is a list of 2" in err


def test_columns_of_the_references_can_be_named(says: Says) -> None:
    Path("made.jsonl").write_text(lines_of([{"case": "v1", "generated": TRUTH}]))
    Path("truth.csv").write_text(f"VolumeName,Befund\nv1.nii.gz,{TRUTH}\n")
    arguments = ["made.jsonl", "--references", "truth.csv", "--metric", "accuracy"]
    assert says(*arguments)[0] == 2
    code, out, _ = says(*arguments, "--column", "reference=Befund")
    assert code == 0
    assert "made.jsonl: 1 case of 1 patient" in out


def test_references_may_be_a_mapping_of_id_to_text(says: Says) -> None:
    Path("made.jsonl").write_text(lines_of([{"case": "v1", "generated": TRUTH}]))
    Path("truth.json").write_text(json.dumps({"v1": TRUTH, "v2": WRONG}))
    code, out, _ = says("made.jsonl", "--references", "truth.json", "--metric", "accuracy")
    assert code == 0
    assert "2 cases of 2 patients" in out


def test_reference_under_two_spellings_of_its_id_is_refused(says: Says) -> None:
    Path("made.jsonl").write_text(lines_of([{"case": "v1", "generated": TRUTH}]))
    Path("truth.csv").write_text(f"case,report\nv1,{TRUTH}\nv1.nii.gz,{TRUTH}\n")
    code, _, err = says("made.jsonl", "--references", "truth.csv")
    assert code == 2
    assert "case 'v1.nii.gz' is there twice, as 'v1' on line 2" in err


@pytest.mark.parametrize("labels", [[0, 1, 0], {"Lung nodule": 1}, 1, float("nan")])
def test_column_with_labels_of_any_form_is_passed_over(says: Says, labels: object) -> None:
    row = {"case": "v1", "generated": TRUTH, "reference": TRUTH, "labels": labels}
    Path("made.jsonl").write_text(lines_of([row]))
    code, _, err = says("made.jsonl", "--metric", "accuracy")
    assert code == 0, err


def test_list_of_predictions_may_stand_beside_other_facts(says: Says) -> None:
    rows = [{"id": "v1", "generated": TRUTH, "reference": TRUTH}]
    Path("made.json").write_text(json.dumps({"model": "x", "epochs": [1, 2], "predictions": rows}))
    code, out, _ = says("made.json", "--column", "case=id", "--metric", "accuracy")
    assert code == 0
    assert "made.json: 1 case" in out
    Path("made.json").write_text(json.dumps({"valid": rows, "test": rows}))
    code, _, err = says("made.json", "--column", "case=id")
    assert code == 2
    assert "several lists of objects (valid, test)" in err


def test_key_that_stands_twice_in_a_line_is_refused(says: Says) -> None:
    Path("made.jsonl").write_text(
        '{"case": "a", "case": "b", "generated": "x", "reference": "y"}\n'
    )
    code, _, err = says("made.jsonl")
    assert code == 2
    assert "made.jsonl:1: 'case' stands twice" in err


def test_scores_lie_beside_their_file_and_need_no_place_there(
    says: Says, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in ("one", "two"):
        Path(folder).mkdir()
        (Path(folder) / "made.csv").write_bytes(table.read_bytes())
        assert says(f"{folder}/made.csv", *COLUMNS, "--metric", "accuracy")[0] == 0
        assert (Path(folder) / "made.scores" / "scores.json").is_file()
    Path("three").mkdir()
    (Path("three") / "made.csv").write_bytes(table.read_bytes())
    (Path("three") / "made.scores").write_text("in the way")
    code, out, err = says("three/made.csv", *COLUMNS, "--metric", "accuracy")
    assert code == 0
    assert "macro F1" in out
    assert "not written: " in err
    assert "--out FOLDER" in err


def test_own_protocol_of_a_metric_is_kept_and_nothing_is_scored_twice(
    says: Says, table: Path
) -> None:
    arguments = ["--protocol", "r2gen", "--metric", "{use: bleu, protocol: vlm3d}"]
    _, out, _ = says(str(table), *COLUMNS, *arguments, "--metric", "rouge-l")
    assert "vlm3d|corpus" in out
    assert "r2gen|corpus" not in out
    _, out, _ = says(str(table), *COLUMNS, "--metric", "bleu", "--metric", "bleu")
    assert out.count("  BLEU-1 ") == 1


def test_column_that_is_named_twice_is_refused(says: Says, table: Path) -> None:
    code, _, err = says(str(table), *COLUMNS, "--column", "case=other")
    assert code == 2
    assert "--column case is given twice" in err


def test_test_split_given_as_training_split_is_told(says: Says, table: Path) -> None:
    Path("train.csv").write_text(f"report\n{TRUTH}\n")
    _, _, err = says(str(table), *COLUMNS, "--train", "train.csv", "--metric", "accuracy")
    assert "train.csv holds the references: is it the test split?" in err


def test_numbers_are_whole_on_a_narrow_terminal(
    says: Says, table: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    Path("train.csv").write_text(f"report\n{TRUTH}\n{WRONG}\n")
    _, out, _ = says(str(table), *COLUMNS, "--train", "train.csv")
    assert "0.…" not in out
    assert "BLEU-4" in out
