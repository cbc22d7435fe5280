"""What every stage that trains shares: its random numbers, and going on in other processes."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ctfw.engine.context import Context
from ctfw.errors import UserError
from ctfw.runs.directory import RunDirectory
from ctfw.settings import Training
from ctfw_plugins.stages import training as module
from ctfw_plugins.stages.training import same_global_batch, seed_pass

CONTEXT = Context(stage="tune", seed=3)


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


@pytest.mark.parametrize(
    ("accumulation", "before", "now", "after"),
    [(8, 2, 1, 16), (8, 1, 2, 4), (3, 2, 3, 2), (8, 2, 2, 8), (8, None, 2, 8)],
)
def test_other_number_of_processes_reads_the_same_cases_a_step(
    accumulation: int, before: int | None, now: int, after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(now))
    found = same_global_batch(Training(gradient_accumulation=accumulation), before, CONTEXT)
    assert found.gradient_accumulation == after


@pytest.mark.parametrize(
    ("settings", "before", "now", "words"),
    [
        ({"gradient_accumulation": 1}, 1, 2, "cannot share those 1 passes of a step evenly"),
        ({"gradient_accumulation": 8, "engine": "deepspeed-zero2"}, 2, 1, "shard of the optimizer"),
    ],
)
def test_number_of_processes_that_cannot_go_on_is_refused(
    settings: Any, before: int, now: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(now))
    with pytest.raises(UserError, match=words) as caught:
        same_global_batch(Training(**settings), before, CONTEXT)
    assert f"resume with --nproc {before}" in str(caught.value)


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
