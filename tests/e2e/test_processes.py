"""Training in two processes: the curve of one, under DDP and DeepSpeed, with save and resume."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from ctfw.runs.files import read_lines

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """\
ctfw: 1
name: ours-heter
summary: what the tiny run trains, without its reports
profile: phantom
stages:
  tune:
    use: finetune
    negatives: {use: heter}
    loss: {use: bounded-contrast}
"""
TWO = ("training.batch_size=1", "stages.see.training.batch_size=2")
"""Of the tiny run in one process: half the cases in each of two."""

SHARDS = ["shard-00000.pt", "shard-00001.pt"]
needs_deepspeed = pytest.mark.skipif(
    find_spec("deepspeed") is None,
    reason="DeepSpeed is not installed: DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed",
)
Command = Callable[..., list[str]]
Start = Callable[..., Path]


@pytest.fixture
def command(tiny: list[str], tmp_path: Path) -> Command:
    """`command(root, "key=value", ...)`: what starts the tiny run in two processes below `root`."""

    def make(root: Path, *settings: str) -> list[str]:
        recipe = tmp_path / "two.yaml"
        recipe.write_text(RECIPE)
        small = [setting for setting in tiny[1::2] if not setting.startswith("stages.test.")]
        options = [part for setting in (*small, *TWO, *settings) for part in ("--set", setting)]
        return ["run", str(recipe), "--runs", str(root), "--nproc", "2", *options]

    return make


@pytest.fixture
def start(ctfw: Any, command: Command, tmp_path: Path) -> Start:
    """`start("key=value", ...)`: the finished folder of such a run."""

    def call(*settings: str) -> Path:
        done = ctfw(*command(tmp_path / "unbroken", *settings))
        assert done.returncode == 0, done.stderr[-3000:]
        return only(tmp_path / "unbroken")

    return call


@pytest.fixture
def killed(command: Command, environment: dict[str, str], tmp_path: Path) -> Start:
    """The folder of such a run that was killed after step 9 of 12, its last checkpoint at 8."""

    def call(*settings: str) -> Path:
        root = tmp_path / "killed"
        process = subprocess.Popen(
            [sys.executable, "-m", "ctfw", *command(root, *settings)],
            env=environment, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        try:
            while process.poll() is None and not (root.is_dir() and steps(only(root)) >= 9):
                time.sleep(0.01)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return only(root)

    return call


def only(root: Path) -> Path:
    (run,) = root.glob("ours-heter/*")
    return run


def steps(run: Path) -> int:
    return len(curve(run, "tune"))


def last_of(run: Path) -> Path:
    """The newest checkpoint of the fine-tuning."""
    folder = run / "stages" / "tune" / "checkpoints"
    return folder / (folder / "last").read_text().strip()


def weights(run: Path) -> bytes:
    return (last_of(run) / "model" / "model.safetensors").read_bytes()


def curve(run: Path, stage: str, name: str = "loss") -> list[float]:
    return [
        line[name] for line in read_lines(run / "stages" / stage / "steps.jsonl") if name in line
    ]


def validations(run: Path) -> list[float]:
    return [
        line["validation"]["positive"]
        for line in read_lines(run / "stages" / "tune" / "steps.jsonl")
        if "validation" in line
    ]


def check_curves(run: Path, other: Path) -> None:
    for stage, name in (("see", "loss"), ("tune", "loss"), ("tune", "grad_norm")):
        assert curve(run, stage, name) == pytest.approx(curve(other, stage, name), rel=1e-4)
    assert validations(run) == pytest.approx(validations(other), rel=1e-5)


def test_two_processes_have_the_curve_of_one(start: Start, finished: Any) -> None:
    run = start()
    check_curves(run, finished.folder)
    negatives = "stages/tune/negatives.json"
    assert (run / negatives).read_text() == (finished.folder / negatives).read_text()


@needs_deepspeed
def test_zero_has_the_curve_of_one_process_and_weights_for_anyone(
    start: Start, finished: Any, ctfw: Any, environment: dict[str, str]
) -> None:
    run = start("training.engine=deepspeed-zero2")
    check_curves(run, finished.folder)
    assert sorted(file.name for file in last_of(run).glob("shard-*")) == SHARDS
    images = Path(environment["CTFW_CACHE"]).rglob("*.nii.gz")
    scan = min(path for path in images if "masks" not in path.parts)
    written = ctfw("generate", run, scan)
    assert written.returncode == 0, written.stderr[-3000:]
    assert written.stdout.strip()


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_deepspeed
@pytest.mark.parametrize(
    ("stage", "offload"), [(1, "none"), (2, "none"), (2, "optimizer"), (3, "none")]
)
def test_zero_trains_saves_and_goes_on(
    stage: int, offload: str, start: Start, killed: Start, finished: Any, ctfw: Any
) -> None:
    settings = (f"training.engine=deepspeed-zero{stage}", f"training.offload={offload}")
    run = start(*settings)
    check_curves(run, finished.folder)
    assert sorted(file.name for file in last_of(run).glob("shard-*")) == SHARDS
    resumed = killed(*settings)
    assert last_of(resumed).name == "step-000008"
    done = ctfw("resume", resumed, "--nproc", "2")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "going on after step 8" in done.stderr
    tune = "stages/tune/steps.jsonl"
    assert (resumed / tune).read_text() == (run / tune).read_text()
    assert weights(resumed) == weights(run)


@pytest.mark.slow
@pytest.mark.timeout(600)
@needs_deepspeed
def test_checkpoint_of_zero_without_its_shards_is_refused(killed: Start, ctfw: Any) -> None:
    run = killed("training.engine=deepspeed-zero2")
    before = sorted(path.name for path in last_of(run).parent.iterdir())
    done = ctfw("resume", run)
    assert done.returncode == 2
    assert "was written by 2 processes, each with its shard of the optimizer" in done.stderr
    assert "--nproc 2" in done.stderr
    (last_of(run) / "shard-00001.pt").unlink()
    done = ctfw("resume", run, "--nproc", "2")
    assert done.returncode == 2
    assert done.stderr.count("shard-00001.pt is missing") == 1
    assert sorted(path.name for path in last_of(run).parent.iterdir()) == before


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_run_of_two_processes_goes_on_in_one(killed: Start, ctfw: Any, finished: Any) -> None:
    run = killed()
    done = ctfw("resume", run)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "gradient_accumulation is 2 now" in done.stderr
    check_curves(run, finished.folder)
