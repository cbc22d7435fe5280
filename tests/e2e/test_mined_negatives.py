"""Negatives that are mined from the model survive a kill: the weights that mined them are gone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPE = str(ROOT / "recipes" / "ours_heter.yaml")
SETTINGS = {
    "stages.tune.negatives": "{use: hard}",
    "stages.tune.loss.bound": "unlikelihood",
    "stages.tune.extra_losses": "[{use: align-contrast, weight: 0.1}]",
    "stages.tune.freeze_vision": "false",  # what is mined then changes with the weights
    "training.batch_size": "4",  # six steps per epoch
}
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.mark.slow
def test_killed_in_epoch_1_mines_nothing_anew_and_ends_with_the_same_weights(
    ctfw: Call, tiny: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    options = [*tiny, *(o for key, value in SETTINGS.items() for o in ("--set", f"{key}={value}"))]
    done = ctfw("run", RECIPE, "--runs", tmp_path / "whole", *options)
    assert done.returncode == 0, done.stderr[-3000:]
    command = [sys.executable, "-m", "ctfw", "run", RECIPE, "--runs", str(tmp_path / "broken")]
    killed(command + options, tmp_path / "broken", environment, steps=9)
    (whole,), (broken,) = ((tmp_path / n).glob("*/*") for n in ("whole", "broken"))
    mined = broken / "stages" / "tune" / "mined"
    before = {file.name: file.stat().st_mtime_ns for file in mined.iterdir()}
    assert set(before) == {"epoch-000.npz", "epoch-001.npz"}
    done = ctfw("resume", broken)
    assert done.returncode == 0, done.stderr[-3000:]
    assert before == {file.name: file.stat().st_mtime_ns for file in mined.iterdir()}
    for name in ("steps.jsonl", "negatives.json", "examples.jsonl"):
        one, two = (run / "stages" / "tune" / name for run in (whole, broken))
        assert one.read_text() == two.read_text(), name
    model = Path("stages/tune/checkpoints/step-000012/model/model.safetensors")
    assert (whole / model).read_bytes() == (broken / model).read_bytes()
    epochs = [np.load(mined / name)["features"] for name in sorted(before)]
    assert not np.array_equal(*epochs)  # the second epoch looked with other weights


def killed(command: list[str], runs: Path, environment: dict[str, str], steps: int) -> None:
    """Start a run and kill its process group once so many steps are logged."""
    process = subprocess.Popen(
        command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        while process.poll() is None:
            log = next(runs.glob("*/*/stages/tune/steps.jsonl"), None)
            if log is not None and log.read_bytes().count(b'"loss"') >= steps:
                break
            time.sleep(0.005)
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert process.returncode == -signal.SIGKILL, "the run ended before it could be killed"
