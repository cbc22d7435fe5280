"""What every stage that trains shares: its random numbers, and going on in other processes."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ctfw.engine.context import Context
from ctfw.errors import WrongProcesses
from ctfw.runs.directory import RunDirectory
from ctfw.settings import Training
from ctfw_plugins.stages import training as module
from ctfw_plugins.stages.training import same_global_batch, seed_pass


def drawn(step: int, turn: int, stage: str = "tune") -> tuple[float, float, float]:
    seed_pass(Context(stage=stage, seed=3), step, turn)
    dropped = torch.nn.functional.dropout(torch.ones(64)).sum()
    return float(dropped), float(np.random.random()), random.random()


def test_random_numbers_of_a_pass_come_back_and_differ_between_passes() -> None:
    first = drawn(5, 1)
    random.random()
    assert drawn(5, 1) == first
    others = [drawn(5, 0), drawn(6, 1), drawn(5, 1, "see")]
    assert len({values[2] for values in (first, *others)}) == 4


def test_each_process_draws_its_own_random_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    first = drawn(5, 1)
    monkeypatch.setenv("RANK", "1")
    assert drawn(5, 1) != first


@pytest.fixture
def begun(tmp_path: Path) -> Callable[[int | None], Context]:
    """The context of a run that was begun with that many processes."""

    def make(number: int | None) -> Context:
        run = RunDirectory(tmp_path / "run")
        if number is not None:
            run.set_status(processes=number)
        return Context(stage="tune", seed=3, run=run)

    return make


@pytest.mark.parametrize(
    ("accumulation", "first", "written", "now", "after"),
    [
        (8, 2, 2, 1, 16),
        (8, 1, 1, 2, 4),
        (3, 2, 2, 3, 2),
        (8, 2, 2, 2, 8),
        (8, 2, None, 2, 8),
        (8, 2, None, 1, 16),  # a stage after the one that was begun with two
        (4, 2, 1, 1, 8),  # the last checkpoint was written by one that had gone on from two
        (8, None, 2, 1, 16),  # a run that has kept no number
        (8, None, None, 2, 8),
    ],
)
def test_other_number_of_processes_reads_the_same_cases_a_step(
    accumulation: int, first: int | None, written: int | None, now: int, after: int,
    begun: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("WORLD_SIZE", str(now))
    training = Training(gradient_accumulation=accumulation)
    assert same_global_batch(training, written, begun(first)).gradient_accumulation == after


@pytest.mark.parametrize(
    ("settings", "first", "now", "words", "command"),
    [
        (
            {"gradient_accumulation": 1}, 1, 2,
            "begun with 1 process and gradient_accumulation 1; 2 processes cannot share those 1",
            "",
        ),
        (
            {"gradient_accumulation": 1}, 2, 3,
            "begun with 2 processes and gradient_accumulation 1; 3 processes cannot share those 2",
            " --nproc 2",
        ),
        (
            {"gradient_accumulation": 8, "engine": "deepspeed-zero2"}, 2, 1,
            "written by 2 processes, each with its shard of the optimizer, and now there are 1",
            " --nproc 2",
        ),
    ],
)  # fmt: skip
def test_number_of_processes_that_cannot_go_on_is_refused_with_the_command_that_can(
    settings: Any, first: int, now: int, words: str, command: str,
    begun: Any, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("WORLD_SIZE", str(now))
    context = begun(first)
    with pytest.raises(WrongProcesses, match=words) as caught:
        same_global_batch(Training(**settings), first, context)
    assert str(caught.value).endswith(f"To go on: ctfw resume {context.run.path}{command}")


def test_large_checkpoints_are_told_of_in_advance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    context = Context(stage="tune", run=RunDirectory(tmp_path))
    context.folder.mkdir(parents=True)
    room = SimpleNamespace(free=400_000_000_000)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda folder: room)
    module._tell_size(1_000_000, context)
    assert capsys.readouterr().err == ""
    module._tell_size(116_000_000_000, context)
    told = capsys.readouterr().err
    assert "a checkpoint takes 116 GB, up to 3 at a time" in told
    assert "too little" not in told
    module._tell_size(140_000_000_000, context)
    assert "400 GB are free: too little" in capsys.readouterr().err
