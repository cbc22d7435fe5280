"""Run folders: made once, found again, and refused in words."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ctfw.errors import BadCheckpoint, UserError
from ctfw.runs.directory import RunDirectory, checkpoint_of, write_pointer
from ctfw.runs.files import read_lines, write_json, write_text


def test_name_holds_time_and_hash(tmp_path: Path) -> None:
    run = RunDirectory.create(tmp_path / "runs", "ours-heter", "3f9c1a77")
    assert re.fullmatch(r"\d{8}-\d{6}-3f9c1a", run.path.name)
    assert run.path.parent == tmp_path / "runs" / "ours-heter"


def test_runs_of_one_second_get_folders_of_their_own(tmp_path: Path) -> None:
    paths = [RunDirectory.create(tmp_path, "a", "3f9c1a").path for _ in range(4)]
    assert len(set(paths)) == 4
    assert all(path.is_dir() for path in paths)


def test_file_in_the_place_of_the_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("")
    with pytest.raises(UserError) as caught:
        RunDirectory.create(tmp_path / "runs", "a", "3f9c1a")
    assert str(caught.value) == (
        f"cannot write runs into {tmp_path / 'runs'}: Not a directory; choose another folder "
        "with --runs"
    )


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_folder_without_permission_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(UserError, match="Permission denied"):
        RunDirectory.create(tmp_path / "runs", "a", "3f9c1a")


def test_folder_that_is_no_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is not a run: it has no resolved.yaml"):
        RunDirectory.open(tmp_path)


def test_status_is_merged(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.status == {}
    run.set_status(state="running", stage="tune")
    run.set_status(state="finished")
    assert run.status == {"state": "finished", "stage": "tune"}


def test_events_carry_their_time(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    run.event("stage_started", stage="tune")
    (line,) = read_lines(tmp_path / "events.jsonl")
    assert (line["event"], line["stage"]) == ("stage_started", "tune")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", line["time"])


def test_stage_is_finished_when_it_says_so(tmp_path: Path) -> None:
    run = RunDirectory(tmp_path)
    assert run.finished("tune") is None
    write_json(run.stage("tune") / "done.json", {"numbers": {"loss": 1.5}})
    assert run.finished("tune") == {"numbers": {"loss": 1.5}}


def checkpoint(stage: Path, step: int, *pointers: str) -> Path:
    folder = stage / "checkpoints" / f"step-{step:06d}"
    write_json(folder / "ctfw.json", {})
    for name in pointers:
        write_pointer(stage / "checkpoints", name, folder.name)
    return folder


STAGES = """\
ctfw: 1
stages:
  see: {use: ctfw/vision-warmup@1}
  tune: {use: ctfw/finetune@1, start_from: see/best}
"""
TEST = "  test: {{use: ctfw/report@1, start_from: {start}, metrics: [{{use: ctfw/bleu@2}}]}}\n"


def run_of_stages(folder: Path, start: str = "tune/best") -> Path:
    write_text(folder / "resolved.yaml", STAGES + (TEST.format(start=start) if start else ""))
    return folder


def test_checkpoint_is_found_from_checkpoint_stage_and_run(tmp_path: Path) -> None:
    run = run_of_stages(tmp_path)
    best = checkpoint(run / "stages" / "tune", 2, "best")
    last = checkpoint(run / "stages" / "tune", 6, "last")
    see = checkpoint(run / "stages" / "see", 4, "best", "last")  # written last: a time is no order
    assert checkpoint_of(best) == best
    assert checkpoint_of(run / "stages" / "tune") == best
    assert checkpoint_of(run / "stages" / "tune", "last") == last
    assert checkpoint_of(run) == best
    assert checkpoint_of(run / "stages" / "see") == see


@pytest.mark.parametrize(
    ("start", "expected"),
    [("see/best", "see"), ("tune/last", "tune"), ("tune", "tune"), ("", "tune")],
)
def test_model_of_a_run_is_the_one_that_its_reports_come_from(
    start: str, expected: str, tmp_path: Path
) -> None:
    run = run_of_stages(tmp_path, start)
    made = {name: checkpoint(run / "stages" / name, 3, "best", "last") for name in ("tune", "see")}
    assert checkpoint_of(run) == made[expected]


def test_model_of_a_run_may_lie_outside_of_it(tmp_path: Path) -> None:
    outside = checkpoint(tmp_path / "elsewhere", 1)
    run = run_of_stages(tmp_path / "run", str(outside))
    checkpoint(run / "stages" / "tune", 3, "best")
    assert checkpoint_of(run) == outside


@pytest.mark.parametrize("start", ["tune/best", ""])
def test_run_without_its_own_checkpoint_is_refused_and_not_taken_for_the_warm_up(
    start: str, tmp_path: Path
) -> None:
    run = run_of_stages(tmp_path, start)
    checkpoint(run / "stages" / "see", 4, "best")
    write_json(run / "stages" / "see" / "done.json", {})
    with pytest.raises(BadCheckpoint) as caught:
        checkpoint_of(run)
    stages = run / "stages"
    assert str(caught.value) == (
        f"{run}: its model is that of stage 'tune', and there is no "
        f"{stages / 'tune' / 'checkpoints' / 'best'}; to take another one, name it: "
        f"{stages / 'see'}"
    )


def test_last_stage_that_leaves_no_checkpoint_is_passed_over(tmp_path: Path) -> None:
    run = run_of_stages(tmp_path, "")
    see = checkpoint(run / "stages" / "see", 4, "best")
    write_json(run / "stages" / "tune" / "done.json", {})
    assert checkpoint_of(run) == see


def test_folder_of_a_recipe_means_its_newest_run(tmp_path: Path) -> None:
    old, new = (run_of_stages(tmp_path / f"2026010{day}-000000-abc") for day in (1, 2))
    best = checkpoint(new / "stages" / "tune", 2, "best")
    checkpoint(old / "stages" / "tune", 2, "best")
    assert RunDirectory.open(tmp_path).path == new
    assert checkpoint_of(tmp_path) == best


def test_place_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint) as caught:
        checkpoint_of(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds no checkpoint: expected a folder with ctfw.json, a stage folder with "
        "checkpoints/best, or a run folder"
    )
