"""`ctfw run recipes/ours_heter.yaml`, small: what it leaves, and every verb that reads it."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctfw import cli
from ctfw.recipe.load import parse, read
from ctfw.runs.files import read_json, read_lines

ROOT = Path(__file__).resolve().parents[2]
TABLE2 = ROOT / "recipes" / "ablations" / "table2.yaml"
FILES = {
    ".": "data.json events.jsonl lock.json recipe.yaml report.html resolved.yaml status.json",
    "recipe.parents": "0-profile-phantom.yaml",
    "stages/see": "checkpoints/best checkpoints/last done.json steps.jsonl",
    "stages/tune": "checkpoints/best checkpoints/last done.json examples.jsonl negatives.json "
    "negatives/00.png steps.jsonl",
    "stages/test": "cases.jsonl coverage.svg done.json nll.svg per_case.csv "
    "predictions.another.jsonl predictions.jsonl scores.json",
}
Finished = Any  # the run of tests/e2e/conftest.py
Call = Callable[..., subprocess.CompletedProcess[str]]
Same = Callable[[Path, Path], None]


def test_run_leaves_its_files_and_no_halves(finished: Finished) -> None:
    wanted = [Path(folder, name) for folder, names in FILES.items() for name in names.split()]
    assert [name for name in wanted if not (finished.folder / name).is_file()] == []
    assert [p for p in finished.folder.rglob("*") if p.suffix == ".tmp"] == []
    assert finished.folder.name.endswith(read_json(finished.folder / "status.json")["hash"][:6])


def test_table_and_page_go_to_stdout_and_talk_to_stderr(finished: Finished) -> None:
    for words in ("SYNTHETIC data, 10 cases", "BLEU-4", "macro F1", "best constant report"):
        assert words in finished.stdout
    assert "grounded gain (macro-F1, own minus another patient's image):" in finished.stdout
    assert finished.stdout.count("likelihood reliance") == 3
    assert finished.stdout.splitlines()[-1] == f"report: {finished.folder / 'report.html'}"
    first, second, third = finished.stderr.splitlines()[:3]
    assert first == "ours-heter, profile phantom: see -> tune -> test"
    assert second == "SYNTHETIC data: the scores say nothing about patients"
    assert third == f"run folder: {finished.folder}"
    assert "Warning" not in finished.stderr


def test_status_and_events_tell_the_course(finished: Finished) -> None:
    status = read_json(finished.folder / "status.json")
    assert status["state"] == "finished"
    assert status["error"] is None
    assert list(status["stages"]) == ["see", "tune", "test"]
    events = read_lines(finished.folder / "events.jsonl")
    told = [(event["event"], event["stage"]) for event in events]
    both = ("stage_started", "stage_finished")
    assert told == [(what, stage) for stage in ("see", "tune", "test") for what in both]


def test_scores_hold_what_makes_them_comparable(finished: Finished) -> None:
    scores = read_json(finished.test / "scores.json")
    assert scores["synthetic"] is True
    assert scores["cases"] == 10
    assert scores["split"] == "test"
    rows = [row["name"] for row in scores["table"]["rows"]]
    assert rows == [
        "model", "another-image", "constant", "frequent", "random", "all-negative", "all-positive",
        "label-prior", "nearest",
    ]  # fmt: skip
    assert all(column["protocol"] for column in scores["table"]["columns"])
    assert any(note.startswith("best constant report:") for note in scores["table"]["notes"])
    assert set(scores["reliance"]["likelihood"]) == {"another", "noise", "blank"}
    assert {"value", "low", "high"} <= set(scores["reliance"]["grounded_gain"])
    generation = scores["generation"]
    assert generation["max_new_tokens"] == 24
    assert generation["of"] == 10
    assert generation["truncated"] + generation["empty"] <= 20
    assert generation["failed"] == generation["missing"] == 0
    assert generation["temperature"] == 0
    assert "Write the radiology report" in generation["prompt"]
    assert scores["fingerprint"] == read_json(finished.folder / "data.json")["test"]["fingerprint"]
    assert scores["labeler_agreement"] == 1.0  # the labeler reads the phantom's reports right
    assert scores["labeler"].startswith("ct-rate-18|")
    assert scores["intervals"] == {"level": 0.95, "unit": "patient", "resamples": 200, "seed": 0}
    assert len(scores["labels"]) == 18


def test_likelihood_is_told_by_sentence_and_finding(finished: Finished) -> None:
    reliance = read_json(finished.test / "scores.json")["reliance"]
    groups = reliance["groups"]
    assert list(groups) == ["all", "positive", "negative", "other", "sided", "side-words"]
    assert groups["all"]["cases"] == 10
    assert 0 < groups["positive"]["tokens"] < groups["all"]["tokens"]
    parts = [groups[name] for name in ("positive", "negative", "other")]
    # Each report has one token more than its sentences: the end.
    assert sum(part["tokens"] for part in parts) == groups["all"]["tokens"] - 10
    assert sum(part["sentences"] for part in parts) == groups["all"]["sentences"]
    for part in parts:
        assert set(part["images"]) == {"own", "another", "noise", "blank"}
    for name, estimate in reliance["likelihood"].items():
        assert groups["all"]["images"][name]["more"] == pytest.approx(estimate)
    stated = {row["label"] for row in reliance["findings"] if row["stated"]}
    labels = read_json(finished.test / "scores.json")["labels"]
    assert stated == {row["name"] for row in labels if row["support"]}


def test_steps_are_logged_with_every_term(finished: Finished) -> None:
    lines = read_lines(finished.folder / "stages" / "tune" / "steps.jsonl")
    trained = [line for line in lines if "loss" in line]
    assert [line["step"] for line in trained] == list(range(1, 13))
    for line in trained:
        assert set(line) == {
            "step", "epoch", "loss", "positive", "negative", "bound", "at_bound", "beta",
            "learning_rate", "grad_norm",
        }  # fmt: skip
    assert [line["step"] for line in lines if "validation" in line] == [6, 12]
    assert trained[-1]["epoch"] == 1.0
    assert trained[-1]["positive"] < trained[0]["positive"]


def test_negatives_are_accounted_for(finished: Finished) -> None:
    summary = read_json(finished.folder / "stages" / "tune" / "negatives.json")
    assert summary["draws"] == 24
    assert sum(summary["partner_use"].values()) == 24
    assert max(summary["partner_use"].values()) <= 2
    assert sum(summary["distance"].values()) == 24
    examples = read_lines(finished.folder / "stages" / "tune" / "examples.jsonl")
    assert len(examples) == 12
    for example in examples:
        assert example["anchor"].rsplit("_", 1)[0] != example["case"].rsplit("_", 1)[0]
        assert (finished.folder / "stages" / "tune" / example["image"]).is_file()


def test_checkpoint_knows_its_preprocessing(finished: Finished) -> None:
    stage = finished.folder / "stages" / "tune" / "checkpoints"
    best = stage / (stage / "best").read_text().strip()
    facts = read_json(best / "ctfw.json")
    assert facts["synthetic"] is True
    assert facts["stage"] == "tune"
    used = [step["use"].split("/")[1].split("@")[0] for step in facts["preprocess"]]
    assert used[:2] == ["rescale-hu", "hu-window"]
    assert {p.name for p in best.iterdir()} == {
        "checksums.json",
        "ctfw.json",
        "model",
        "training.pt",
    }


def test_page_shows_the_run(finished: Finished) -> None:
    page = (finished.folder / "report.html").read_text()
    assert "synthetic" in page.lower()
    assert "ours-heter" in page
    assert read_lines(finished.test / "cases.jsonl")[0]["case"] in page


@pytest.fixture
def says(here: None, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


Says = Callable[..., tuple[int, str, str]]


def test_resolved_recipe_is_a_recipe_of_the_same_hash(finished: Finished, says: Says) -> None:
    code, out, _ = says("validate", finished.folder / "resolved.yaml")
    assert code == 0
    assert out.rstrip().endswith(f"(see -> tune -> test, {finished.folder.name[-6:]})")


def test_show_prints_the_run_as_it_was(finished: Finished, says: Says) -> None:
    code, out, err = says("show", finished.folder)
    assert code == 0
    assert parse(out, "out").plain() == read(finished.folder / "resolved.yaml")[0].plain()
    assert err.startswith("made with: pip install ctfw==")


def test_resume_of_a_finished_run_shows_its_scores(finished: Finished, says: Says) -> None:
    before = {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*")}
    code, out, err = says("resume", finished.folder)
    assert (code, err) == (0, f"{finished.folder} is finished\n")
    assert "best constant report" in out
    assert {p: p.stat().st_mtime_ns for p in finished.folder.rglob("*")} == before


def test_score_gives_the_same_numbers_without_torch(
    finished: Finished, environment: dict[str, str], tmp_path: Path
) -> None:
    code = (
        "import sys; from ctfw.cli import main; code = main(sys.argv[1:])\n"
        "heavy = {'torch', 'transformers', 'nibabel'} & set(sys.modules)\n"
        "sys.exit(code or len(heavy))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "score", str(finished.folder), "--out", str(tmp_path)],
        env=environment, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    again, first = read_json(tmp_path / "scores.json"), read_json(finished.test / "scores.json")
    # Every fact but what only the run itself can judge.
    assert again == {key: first[key] for key in first if key != "fail_if"}
    tables = [(folder / "per_case.csv").read_text() for folder in (tmp_path, finished.test)]
    mine, theirs = (list(csv.DictReader(text.splitlines())) for text in tables)
    assert mine == theirs  # likelihoods by group of tokens and the mark of synthetic data included
    assert done.stdout.startswith("ours-heter: SYNTHETIC data")
    table = finished.stdout.partition("grounded gain")[0]
    assert done.stdout.partition("grounded gain")[0].splitlines()[1:] == table.splitlines()[1:]


def test_score_takes_a_stage_and_refuses_a_run_without_one(
    finished: Finished, says: Says, tmp_path: Path
) -> None:
    assert says("score", finished.test)[0] == 0
    (tmp_path / "resolved.yaml").write_bytes((finished.folder / "resolved.yaml").read_bytes())
    code, _, err = says("score", tmp_path)
    assert (code, err) == (
        2, f"{tmp_path} has no predictions yet: its report stage has not run\n"
    )  # fmt: skip


@pytest.mark.realdata
def test_generate_writes_the_report_of_a_real_scan(
    finished: Finished, says: Says, real_data: Path, tmp_path: Path
) -> None:
    nifti = real_data / "totalsegmentator" / "pulmonary_ct_cropped.nii.gz"
    code, out, err = says("generate", finished.folder, nifti)
    assert code == 0
    mark, _, text = out.partition("\n")
    assert mark == "[model trained on synthetic data: this text says nothing about the patient]"
    assert text.strip()
    assert "  slices: 10 of 112 slices" in err

    folder, sheet = real_data / "lidc_idri_subset" / "LIDC-IDRI-0001", tmp_path / "sheet.png"
    best = finished.folder / "stages" / "tune"
    code, out, err = says(
        "generate", best, folder, "--out", tmp_path / "report.txt", "--sheet", sheet
    )
    assert (code, out) == (0, "")
    assert (tmp_path / "report.txt").read_text().startswith(mark)
    assert sheet.read_bytes().startswith(b"\x89PNG")
    assert "DICOM series of 16 slices" in err


def test_generate_refuses_what_is_no_checkpoint_or_no_scan(
    finished: Finished, says: Says, tmp_path: Path
) -> None:
    code, _, err = says("generate", finished.folder, tmp_path / "absent.nii.gz")
    assert (code, err) == (2, f"{tmp_path / 'absent.nii.gz'}: no such file or folder\n")
    (tmp_path / "scan.nii.gz").write_bytes(b"no scan")
    code, _, err = says("generate", tmp_path, tmp_path / "scan.nii.gz")
    assert code == 2
    assert err.startswith(f"{tmp_path} holds no checkpoint: expected a folder with ctfw.json")


@pytest.mark.realdata
def test_inspect_draws_what_the_checkpoint_sees(
    finished: Finished, says: Says, real_data: Path, tmp_path: Path
) -> None:
    scan = real_data / "totalsegmentator" / "pulmonary_ct_cropped.nii.gz"
    code, out, _ = says("inspect", scan, "--checkpoint", finished.folder, "--out", tmp_path)
    assert code == 0
    assert "the model sees 10 slices of 112 x 84 pixels, normalised" in out
    assert (tmp_path / "pulmonary_ct_cropped.sheet.png").read_bytes().startswith(b"\x89PNG")
    (tmp_path / "junk.nii.gz").write_bytes(b"no scan")
    code, _, err = says("inspect", scan, tmp_path / "junk.nii.gz", "--out", tmp_path)
    assert code == 2
    assert err.endswith("1 of 2 scans refused\n")


@pytest.fixture(scope="session")
def sweep_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped ablation over beta, with two of its values."""
    file = tmp_path_factory.mktemp("recipes") / "beta.yaml"
    file.write_text(f"extends: {TABLE2}\nname: beta\nmatrix:\n  stages.tune.loss.beta: [0, 0.1]\n")
    return file


@pytest.fixture(scope="session")
def swept(
    ctfw: Call, tiny: list[str], sweep_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, str]:
    """(runs folder, stdout) of the sweep."""
    runs = tmp_path_factory.mktemp("swept")
    done = ctfw("sweep", sweep_file, "--runs", runs, *tiny)
    assert done.returncode == 0, done.stderr[-3000:]
    return runs, done.stdout


def test_sweep_compares_its_variants(swept: tuple[Path, str]) -> None:
    folder, stdout = swept
    first, *_, notes = stdout.rstrip().split("\n\n")
    header, *rows = first.splitlines()
    assert header.split()[:3] == ["run", "tune.loss.beta", "bleu-1"]
    assert notes.startswith("- SYNTHETIC data")
    assert "- bleu-1, bleu-4: r2gen|corpus|" in notes
    assert [row.split()[1] for row in rows] == ["0.0", "0.1"]
    assert len(list(folder.glob("*/*/report.html"))) == 2


def test_second_sweep_skips_what_is_finished(
    swept: tuple[Path, str], sweep_file: Path, tiny: list[str], says: Says
) -> None:
    folder, stdout = swept
    code, out, err = says("sweep", sweep_file, "--runs", folder, *tiny)
    assert code == 0
    assert err.count("finished before") == 2
    assert out.splitlines() == stdout.splitlines()
    listed = says("sweep", sweep_file, "--runs", folder, "--list", *tiny)[1]
    assert [line.split()[0] for line in listed.splitlines()] == ["finished", "finished"]


def test_same_recipe_and_seed_give_the_same_numbers(
    finished: Finished, swept: tuple[Path, str], same_numbers: Same
) -> None:
    (variant,) = swept[0].glob(f"*/*-{finished.folder.name[-6:]}")
    same_numbers(finished.folder, variant)


def test_compare_shows_what_differs(
    finished: Finished, swept: tuple[Path, str], says: Says
) -> None:
    variants = sorted(swept[0].glob("*/*"))
    code, out, err = says("compare", finished.folder, *variants, "--format", "markdown")
    assert code == 0
    assert "SYNTHETIC" in err
    overview, compared = out.split("\n\ncompared with ")
    table, *_, notes = overview.split("\n\n")
    header, _, *rows = [line.strip("| ").split(" | ") for line in table.splitlines()]
    assert header[:2] == ["run", "tune.loss.beta"]
    assert sorted(row[1] for row in rows) == ["0.0", "0.1", "0.1"]
    scores: dict[str, list[str]] = {}
    for row in rows:  # the two of one beta are the same run made twice
        assert scores.setdefault(row[1], row[2:]) == row[2:]
    # Two recipes are left: two runs have one recipe and seed, of which the first counts.
    assert notes.count("is left out of means and comparisons") == 1
    assert "| system | macro F1 | grounded gain | BLEU-4 |" in compared
    assert compared.count("p (Holm) |") == 1
    assert "- 10 cases of " in compared
    code, out, _ = says("compare", finished.folder)
    assert code == 0
    assert "macro-f1" in out
    assert "compared with" not in out
    assert says("compare", finished.folder / "stages")[0] == 2


def test_locked_versions_name_what_ran(finished: Finished) -> None:
    lock = json.loads((finished.folder / "lock.json").read_text())
    assert {"torch", "transformers", "numpy"} <= set(lock["packages"])
