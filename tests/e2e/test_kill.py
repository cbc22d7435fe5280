"""A run that is killed anywhere and resumed ends with the numbers of an unbroken one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., subprocess.CompletedProcess[str]]


def lines(file: Path) -> int:
    return file.read_bytes().count(b"\n") if file.is_file() else 0


def killed_when(
    reached: Callable[[Path], bool], command: list[str], runs: Path, environment: dict[str, str]
) -> Path:
    """Start a run, kill its process group as soon as `reached(folder)`; the folder of the run."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        while process.poll() is None:
            folder = next(runs.glob("ours-heter/*"), None)
            if folder is not None and reached(folder):
                break
            time.sleep(0.005)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    (folder,) = runs.glob("ours-heter/*")
    return folder


@pytest.mark.parametrize(
    ("stage", "file", "at"),
    [
        pytest.param("see", "steps.jsonl", 4, marks=pytest.mark.slow),
        pytest.param("tune", "steps.jsonl", 2, marks=pytest.mark.slow),  # before any checkpoint
        ("tune", "steps.jsonl", 8),  # after a validation, between two checkpoints
        pytest.param("test", "generated.own.jsonl", 4, marks=pytest.mark.slow),
        pytest.param("test", "generated.another.jsonl", 1, marks=pytest.mark.slow),
        pytest.param("test", "nll.noise.jsonl", 3, marks=pytest.mark.slow),
    ],
)
def test_killed_and_resumed_run_has_the_same_numbers(
    stage: str,
    file: str,
    at: int,
    finished: Any,
    ctfw: Call,
    tiny: list[str],
    environment: dict[str, str],
    same_numbers: Callable[[Path, Path], None],
    tmp_path: Path,
) -> None:
    recipe = str(ROOT / "recipes" / "ours_heter.yaml")
    command = [sys.executable, "-m", "ctfw", "run", recipe, "--runs", str(tmp_path), *tiny]
    folder = killed_when(
        lambda run: lines(run / "stages" / stage / file) >= at, command, tmp_path, environment
    )
    status = json.loads((folder / "status.json").read_text())
    assert (status["state"], status["stage"]) == ("running", stage)
    assert not (folder / "stages" / stage / "done.json").exists()
    done = ctfw("resume", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "finished before" in done.stderr or stage == "see"
    same_numbers(finished.folder, folder)
    assert (folder / "report.html").is_file()
    assert not list(folder.rglob("*.tmp"))
