"""Run folders: made once, found again, and refused in words."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from ctfw.errors import BadCheckpoint, UserError
from ctfw.runs.directory import RunDirectory, checkpoint_of, write_pointer
from ctfw.runs.files import read_lines, write_json


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


def test_checkpoint_is_found_from_checkpoint_stage_and_run(tmp_path: Path) -> None:
    see = checkpoint(tmp_path / "stages" / "see", 4, "best", "last")
    os.utime(tmp_path / "stages" / "see" / "checkpoints" / "best", (1, 1))
    best = checkpoint(tmp_path / "stages" / "tune", 2, "best")
    last = checkpoint(tmp_path / "stages" / "tune", 6, "last")
    assert checkpoint_of(best) == best
    assert checkpoint_of(tmp_path / "stages" / "tune") == best
    assert checkpoint_of(tmp_path / "stages" / "tune", "last") == last
    assert checkpoint_of(tmp_path) == best  # of the stage that came last
    assert checkpoint_of(tmp_path / "stages" / "see") == see


def test_place_without_a_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint) as caught:
        checkpoint_of(tmp_path)
    assert str(caught.value) == (
        f"{tmp_path} holds no checkpoint: expected a folder with ctfw.json, a stage folder with "
        "checkpoints/best, or a run folder"
    )
