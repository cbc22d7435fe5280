"""`ctfw audit` on the checkpoint of a tiny run: what it measures, and that a kill costs nothing."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctfw import cli
from ctfw.runs.files import read_json, read_lines

Finished = Any  # the run of tests/e2e/conftest.py
Says = Callable[..., tuple[int, str, str]]
IMAGES = ("own", "another", "noise", "blank", "shuffled", "mirrored")
FAST = ("--resamples", "200")


@pytest.fixture
def says(here: None, capsys: pytest.CaptureFixture[str]) -> Says:
    def call(*arguments: str | Path) -> tuple[int, str, str]:
        capsys.readouterr()
        code = cli.main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture(scope="module")
def audited(
    finished: Finished, ctfw: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any]:
    """(folder, process) of an audit of the whole test split with every image."""
    out = tmp_path_factory.mktemp("audit") / "all"
    done = ctfw("audit", finished.folder, "--generate", "--out", out, *FAST)
    assert done.returncode == 0, done.stderr[-3000:]
    return out, done


def test_audit_leaves_its_files_and_no_halves(audited: tuple[Path, Any]) -> None:
    folder, _ = audited
    names = {file.name for file in folder.iterdir()}
    assert names >= {
        "audit.html", "audit.json", "plan.json", "per_case.csv", "sentences.csv", "words.jsonl",
        "coverage.svg", "nll.svg", "predictions.jsonl",
    }  # fmt: skip
    assert names >= {f"nll.{image}.jsonl" for image in IMAGES}
    assert names >= {f"predictions.{image}.jsonl" for image in IMAGES[1:]}
    assert not [name for name in names if name.endswith(".tmp")]


def test_own_and_another_image_give_the_numbers_of_the_run(
    audited: tuple[Path, Any], finished: Finished
) -> None:
    audit = read_json(audited[0] / "audit.json")
    scores = read_json(finished.test / "scores.json")
    mine, theirs = (
        {row["name"]: row["values"] for row in facts["table"]["rows"]} for facts in (audit, scores)
    )
    for name, values in theirs.items():
        assert mine[name] == values, name
    assert audit["reliance"]["grounded_gain"] == scores["reliance"]["grounded_gain"]
    for image, estimate in scores["reliance"]["likelihood"].items():
        assert audit["reliance"]["likelihood"][image] == estimate
    assert audit["fingerprint"] == scores["fingerprint"]
    assert audit["references"] == scores["references"]
    assert audit["labeler"] == scores["labeler"]
    assert audit["generation"] == scores["generation"]


def test_every_image_is_read_and_written_with(audited: tuple[Path, Any]) -> None:
    audit = read_json(audited[0] / "audit.json")
    assert set(audit["reliance"]["likelihood"]) == set(IMAGES[1:])
    assert set(audit["reliance"]["gains"]) == set(IMAGES[1:])
    assert set(audit["by_image"]) == set(IMAGES)
    assert audit["by_image"]["own"]["of"] == 10
    assert audit["synthetic"] is True
    assert audit["data"]["of"] == 10
    assert audit["failed"] == []


def test_rows_of_sentences_add_up_to_those_of_cases(audited: tuple[Path, Any]) -> None:
    folder, _ = audited
    with (folder / "sentences.csv").open(newline="") as file:
        sentences = list(csv.DictReader(file))
    with (folder / "per_case.csv").open(newline="") as file:
        cases = {row["case"]: row for row in csv.DictReader(file)}
    assert {row["case"] for row in sentences} == set(cases)
    for case, row in cases.items():
        (line,) = [x for x in read_lines(folder / "nll.mirrored.jsonl") if x["case"] == case]
        mine = [s for s in sentences if s["case"] == case]
        end = line["nll"][-1]  # the end of the report belongs to no sentence
        assert sum(float(s["nll-mirrored"]) for s in mine) + end == pytest.approx(sum(line["nll"]))
        assert sum(int(s["tokens"]) for s in mine) == len(line["nll"]) - 1
        mean = sum(line["nll"]) / len(line["nll"])
        assert float(row["nll-mirrored"]) == pytest.approx(mean, abs=1e-6)
        stated = [s for s in mine if s["kind"] == "positive"]
        if stated:
            total = sum(float(s["nll-own"]) for s in stated)
            tokens = sum(int(s["tokens"]) for s in stated)
            assert float(row["positive-nll-own"]) == pytest.approx(total / tokens, abs=1e-5)
        else:
            assert row["positive-nll-own"] == "nan"


def test_words_of_the_page_are_those_of_the_reference(audited: tuple[Path, Any]) -> None:
    folder, _ = audited
    references = {p["case"]: p["reference"] for p in read_lines(folder / "predictions.jsonl")}
    lines = read_lines(folder / "words.jsonl")
    assert lines
    assert len({line["patient"] for line in lines}) == len(lines)
    for line in lines:
        assert "".join(text for text, _ in line["words"]) == references[line["case"]]
        assert all(text.count(" ") <= 1 for text, _ in line["words"])


def test_audit_says_first_what_no_loss_optimises(audited: tuple[Path, Any]) -> None:
    folder, done = audited
    lines = done.stdout.splitlines()
    gain = next(i for i, line in enumerate(lines) if line.startswith("grounded gain"))
    likelihood = [i for i, line in enumerate(lines) if line.startswith("likelihood reliance")]
    assert gain < min(likelihood)
    assert len(likelihood) == 5
    assert "SYNTHETIC data, 10 cases" in done.stdout
    assert lines[-1] == f"page: {folder / 'audit.html'}"
    assert any(line.startswith("left and right exchanged") for line in lines)


@pytest.fixture
def copy(audited: tuple[Path, Any], tmp_path: Path) -> Path:
    folder = tmp_path / "copy"
    shutil.copytree(audited[0], folder)
    return folder


def test_killed_audit_goes_on_to_the_same_numbers(
    copy: Path, audited: tuple[Path, Any], finished: Finished, says: Says
) -> None:
    for name in ("audit.json", "audit.html", "per_case.csv", "nll.shuffled.jsonl"):
        (copy / name).unlink()
    for name, kept in (("generated.noise.jsonl", 5), ("nll.blank.jsonl", 2)):
        lines = (copy / name).read_text().splitlines(keepends=True)
        (copy / name).write_text("".join(lines[:kept]) + lines[kept][:7])
    before = (copy / "nll.own.jsonl").read_text()
    code, _, err = says("audit", finished.folder, "--generate", "--out", copy, *FAST)
    assert code == 0, err
    assert (copy / "nll.own.jsonl").read_text() == before
    for name in ("audit.json", "per_case.csv", "sentences.csv", "predictions.noise.jsonl"):
        assert (copy / name).read_text() == (audited[0] / name).read_text(), name


def test_folder_of_another_audit_is_refused(copy: Path, finished: Finished, says: Says) -> None:
    code, _, err = says("audit", finished.folder, "--cases", "4", "--out", copy, *FAST)
    assert code == 2
    assert f"{copy} holds another audit (other cases, cases read): name another folder" in err


def test_condition_that_is_met_ends_with_code_2_and_words(
    copy: Path, finished: Finished, says: Says
) -> None:
    arguments = ("audit", finished.folder, "--generate", "--out", copy, *FAST)
    code, _, err = says(
        *arguments, "--fail-if", "grounded_gain < 2", "--fail-if", "bleu-4 > 2",
        "--fail-if", "likelihood_reliance.low < 99",
    )  # fmt: skip
    assert code == 2
    last = err.splitlines()[-2:]
    assert last[0].startswith("--fail-if grounded_gain < 2: grounded_gain is ")
    assert last[1].startswith("--fail-if likelihood_reliance.low < 99: likelihood_reliance is ")
    assert len(read_json(copy / "audit.json")["failed"]) == 2
    assert "This audit ends as failed." in (copy / "audit.html").read_text()
    assert says(*arguments, "--fail-if", "grounded_gain < -2")[0] == 0
    assert "ends as failed" not in (copy / "audit.html").read_text()


@pytest.mark.parametrize(
    ("condition", "words"),
    [
        ("grounded_gian < 0.1", "there is no number 'grounded_gian'.*did you mean 'grounded_gain'"),
        ("grounded_gain", "is no condition: write NAME < NUMBER"),
        ("grounded_gain < much", "'much' is not a number"),
    ],
)
def test_condition_that_means_nothing_is_refused_before_anything_is_read(
    condition: str, words: str, finished: Finished, says: Says, tmp_path: Path
) -> None:
    code, _, err = says("audit", finished.folder, "--out", tmp_path / "a", "--fail-if", condition)
    assert code == 2
    assert re.search(words, err)
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("changed", [False, True])
def test_audit_goes_on_with_a_copy_of_the_run_and_not_with_other_weights(
    changed: bool, copy: Path, finished: Finished, says: Says, tmp_path: Path
) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(finished.folder, moved, copy_function=shutil.copyfile)  # with new times
    (weights,) = moved.glob("stages/tune/checkpoints/step-*12/model/model.safetensors")
    if changed:
        held = bytearray(weights.read_bytes())
        held[-1] ^= 1
        weights.write_bytes(held)
        (weights.parents[1] / "checksums.json").unlink()
    code, _, err = says("audit", moved, "--generate", "--out", copy, *FAST)
    assert code == (2 if changed else 0), err
    assert ("holds another audit (other weights)" in err) is changed


@pytest.mark.parametrize(
    "damage", [("generated.own.jsonl", 5, "garbage"), ("nll.own.jsonl", 3, "{}")]
)
def test_damaged_audit_is_mended_to_the_same_numbers(
    damage: tuple[str, int, str],
    copy: Path,
    audited: tuple[Path, Any],
    finished: Finished,
    says: Says,
) -> None:
    name, at, line = damage
    lines = (copy / name).read_text().splitlines()
    (copy / name).write_text("\n".join([*lines[: at - 1], line, *lines[at:]]) + "\n")
    code, _, err = says("audit", finished.folder, "--generate", "--out", copy, *FAST)
    assert code == 0, err
    assert f"{copy / name}, line {at}: damaged, or of another case" in err
    for each in (name, "audit.json", "per_case.csv", "sentences.csv"):
        assert (copy / each).read_text() == (audited[0] / each).read_text(), each


def test_tables_and_reports_of_synthetic_data_say_so(audited: tuple[Path, Any]) -> None:
    folder, _ = audited
    for name in ("per_case.csv", "sentences.csv"):
        with (folder / name).open(newline="") as file:
            assert {row["synthetic"] for row in csv.DictReader(file)} == {"1"}, name
    for name in ("predictions.jsonl", "predictions.noise.jsonl"):
        assert all(line["synthetic"] is True for line in read_lines(folder / name)), name


@pytest.fixture
def alone(finished: Finished, tmp_path: Path) -> Path:
    """The checkpoint by itself, in no run."""
    best = finished.folder / "stages" / "tune" / "checkpoints"
    target = tmp_path / "checkpoint"
    shutil.copytree(best / (best / "best").read_text().strip(), target)
    return target


def test_checkpoint_without_a_run_needs_data(alone: Path, says: Says) -> None:
    code, _, err = says("audit", alone)
    assert code == 2
    assert err == (
        f"{alone.resolve()} lies in no run: say with --data RECIPE or --data PROFILE which scans "
        "and reports to use\n"
    )


def test_profile_gives_the_data(
    alone: Path, says: Says, tiny: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    wanted = [part for part in tiny if part.startswith(("data.", "generation."))]
    chosen = [part for setting in wanted for part in ("--set", setting)]
    code, out, err = says("audit", alone, "--data", "phantom", "--cases", "4", *chosen, *FAST)
    assert code == 0, err
    assert "4 cases of" in out
    (folder,) = (tmp_path / "audits" / "ours-heter").iterdir()
    audit = read_json(folder / "audit.json")
    assert audit["data"]["of"] == 10
    assert set(audit["reliance"]["gains"]) == {"another"}
    assert set(audit["reliance"]["likelihood"]) == set(IMAGES[1:])


def test_unknown_data_is_refused_with_a_suggestion(alone: Path, says: Says) -> None:
    code, _, err = says("audit", alone, "--data", "ours_hetr")
    assert code == 2
    assert "no recipe 'ours_hetr'" in err
    assert "did you mean 'ours_heter'?" in err


def test_preprocessing_of_the_checkpoint_is_used_where_the_recipe_differs(
    finished: Finished, says: Says, tmp_path: Path
) -> None:
    recipe = tmp_path / "other.yaml"
    text = (finished.folder / "resolved.yaml").read_text()
    assert "count: 10" in text
    recipe.write_text(text.replace("count: 10", "count: 6"))
    out = tmp_path / "audit"
    code, _, err = says(
        "audit", finished.folder, "--data", recipe, "--cases", "4", "--out", out, *FAST
    )
    assert code == 0, err
    note = "the recipe prepares scans otherwise than the checkpoint was trained with"
    assert note in err
    assert any(note in told for told in read_json(out / "audit.json")["table"]["notes"])
    whole = [
        line["nll"] for line in read_lines(out / "nll.own.jsonl")
    ]  # read as the run reads them, up to the rounding of its store
    first = [x["nll"] for x in read_lines(finished.test / "nll.own.jsonl")[:4]]
    for mine, theirs in zip(whole, first, strict=True):
        assert mine == pytest.approx(theirs, abs=0.02)


@pytest.fixture
def untested(finished: Finished, tmp_path: Path) -> Callable[[str], Path]:
    """The run again, stopped before its last stage was done, with other conditions."""

    def made(conditions: str) -> Path:
        folder = tmp_path / "run"
        shutil.copytree(finished.folder, folder)
        (folder / "stages" / "test" / "done.json").unlink()
        status = read_json(folder / "status.json") | {"state": "stopped"}
        (folder / "status.json").write_text(json.dumps(status))
        recipe = folder / "resolved.yaml"
        text = recipe.read_text()
        assert "fail_if: []" in text
        recipe.write_text(text.replace("fail_if: []", f"fail_if: [{conditions}]"))
        return folder

    return made


def test_run_that_is_told_to_fail_ends_as_failed_and_keeps_its_scores(
    finished: Finished, says: Says, untested: Callable[[str], Path]
) -> None:
    folder = untested("grounded_gain < 2")
    recipe = folder / "resolved.yaml"
    code, _, err = says("resume", folder)
    assert code == 2
    assert "stages.test.fail_if: grounded_gain < 2: grounded_gain is" in err
    status = json.loads((folder / "status.json").read_text())
    assert status["state"] == "failed"
    assert "grounded_gain < 2" in status["error"]
    scores = read_json(folder / "stages" / "test" / "scores.json")
    assert scores["fail_if"] == ["grounded_gain < 2"]
    first = read_json(finished.test / "scores.json")
    assert scores["table"] == first["table"]
    page = (folder / "report.html").read_text()
    assert "This run failed." in page
    assert "grounded_gain &lt; 2: grounded_gain is" in page
    recipe.write_text(recipe.read_text().replace("grounded_gain < 2", "grounded_gain < -2"))
    assert says("resume", folder)[0] == 0
    assert read_json(folder / "status.json")["state"] == "finished"


def test_recipe_with_a_condition_on_nothing_fails_before_any_stage(
    says: Says, untested: Callable[[str], Path]
) -> None:
    folder = untested("macro_f2 < 1")
    recipe = folder / "resolved.yaml"
    code, _, err = says("resume", folder)
    assert code == 2
    assert "stages.test.fail_if: there is no number 'macro_f2'" in err
    assert "did you mean 'macro_f1'?" in err
    recipe.write_text(recipe.read_text().replace("macro_f2 < 1", "macro_f1"))
    code, _, err = says("validate", recipe)
    assert code == 2
    assert "'macro_f1' is no condition: write NAME < NUMBER" in err
