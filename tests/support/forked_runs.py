"""Trainings in forked processes that are killed in the middle: imports are paid for once.

    python forked_runs.py RECIPE RUNS PLACE[,PLACE...] [--set KEY=VALUE ...]

Trains without a kill into RUNS/unbroken, then for each place into RUNS/PLACE: the process kills
itself there, and another one resumes. A place is `pass:N`, before the backward pass of the N-th
forward pass of `finetune`, or `save:N`, in the middle of writing its N-th checkpoint.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import matplotlib.pyplot  # noqa: F401
import torch
import transformers.models.qwen2_5_vl.modeling_qwen2_5_vl  # noqa: F401

import ctfw_plugins.backbones.qwen25_vl
import ctfw_plugins.stages.finetune as finetune
import ctfw_plugins.stages.vision_warmup  # noqa: F401
from ctfw.cli import main
from ctfw.engine import checkpoint
from ctfw_plugins.stages.step import PairStep

torch.set_num_threads(1)
with suppress(ImportError):
    import deepspeed  # noqa: F401  Accelerate does it where it is installed


def killed_at(place: str) -> None:
    """Make this process kill itself at a place."""
    kind, _, number = place.partition(":")
    owner: Any = PairStep if kind == "pass" else checkpoint
    name = "__call__" if kind == "pass" else "write_json"
    original, count = getattr(owner, name), 0

    def counted(*arguments: Any, **options: Any) -> Any:
        nonlocal count
        made = original(*arguments, **options)
        if kind == "pass" or "stages/tune" in str(arguments[0]):
            count += 1
        if count == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return made

    setattr(owner, name, counted)


def in_child(arguments: list[str], place: str = "") -> int:
    """Exit code of `ctfw ARGUMENTS` in a fork, negative for a signal."""
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    code = 1
    try:
        if place:
            killed_at(place)
        code = main(arguments)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def run(recipe: str, runs: Path, places: list[str], options: list[str]) -> None:
    assert finetune.PairStep is PairStep
    assert in_child(["run", recipe, "--runs", str(runs / "unbroken"), *options]) == 0
    for place in places:
        folder = runs / place
        code = in_child(["run", recipe, "--runs", str(folder), *options], place)
        assert code == -signal.SIGKILL, f"{place}: not killed but ended with {code}"
        (made,) = folder.glob("*/*")
        assert not (made / "stages" / "tune" / "done.json").exists(), place
        assert in_child(["resume", str(made)]) == 0, place


if __name__ == "__main__":
    run(sys.argv[1], Path(sys.argv[2]), sys.argv[3].split(","), sys.argv[4:])
