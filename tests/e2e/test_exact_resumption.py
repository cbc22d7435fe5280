"""A training that is killed anywhere and resumed has the losses and weights of an unbroken one, bit
for bit."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

HELPER = Path(__file__).resolve().parents[1] / "support" / "forked_runs.py"
RECIPE = """\
ctfw: 1
name: exact
summary: a tiny training, two passes a step, that goes through its ten cases more than three times
profile: phantom
stages:
  tune:
    use: finetune
    freeze_vision: false
    negatives: {use: heter}
    loss: {use: bounded-contrast}
    training: {max_steps: 8, batch_size: 2, gradient_accumulation: 2, checkpoint_every: 3,
               validate_every: 4}
"""
PASSES = 16
SMALL = ("data.train=10", "data.validation=4", "data.test=4", "stages.see.training.max_steps=2",
         "stages.see.training.batch_size=2")  # fmt: skip
PLACES = [f"pass:{n}" for n in np.random.default_rng(4).permutation(PASSES)[:10] + 1]
"""Ten of the sixteen passes: in the middle of an accumulation where the number is odd."""


def options(tiny: list[str]) -> list[str]:
    kept = [x for x in tiny[1::2] if x.startswith(("backbone.", "data.workers", "training.th"))]
    return [part for each in (*kept, *SMALL) for part in ("--set", each)]


def contents(folder: Path) -> dict[str, Any]:
    """Loss curves as text, and every tensor of the last checkpoint."""
    (run,) = folder.glob("exact/*")
    tune = run / "stages" / "tune"
    last = tune / "checkpoints" / (tune / "checkpoints" / "last").read_text().strip()
    return {
        "curve": (tune / "steps.jsonl").read_text(),
        "negatives": (tune / "negatives.json").read_text(),
        "weights": (last / "model" / "model.safetensors").read_bytes(),
        "state": torch.load(last / "training.pt", weights_only=True),
    }


def same(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


@pytest.mark.parametrize(
    "places",
    [
        ["pass:5", "pass:14", "save:2"],  # mid-accumulation, in epoch 1; in a later one; in a write
        pytest.param(PLACES, marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
    ids=["three", "ten"],
)
def test_killed_training_goes_on_bit_for_bit(
    places: list[str], tiny: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    recipe = tmp_path / "exact.yaml"
    recipe.write_text(RECIPE)
    command = [sys.executable, HELPER, recipe, tmp_path, ",".join(places), *options(tiny)]
    done = subprocess.run(
        list(map(str, command)), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    unbroken = contents(tmp_path / "unbroken")
    assert unbroken["curve"].count('"loss"') == 8
    for place in places:
        resumed = contents(tmp_path / place)
        for name, value in unbroken.items():
            assert same(value, resumed[name]), f"{place}: {name}"
