"""A plugin whose stage behaves, or misbehaves, in one of several processes."""

from __future__ import annotations

import os
import resource
import signal
import time
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field

from ctfw import Component, Strict, hookimpl, processes
from ctfw.data_settings import DatasetConfig
from ctfw.engine.context import Context, StageResult
from ctfw.errors import UserError
from ctfw.runs.files import append_line, write_json
from ctfw.types import Case, CaseTable


class FewCases:
    label_names = ("a",)

    def __init__(self, config: DatasetConfig, context: Any = None) -> None: ...

    def prepare(self) -> None:
        append_line(Path(os.environ["RANKS_NOTES"]), {"prepared": processes.rank()})

    def cases(self, split: str) -> CaseTable:
        labels = np.zeros(1, np.int8)
        case = Case(f"{split}-0", "p0", Path(f"{split}.toy"), "A report.", labels=labels)
        return CaseTable((case,), self.label_names)


class Weightless:
    def __init__(self, config: Strict, context: Any = None) -> None: ...


class Act(Strict):
    does: Literal["meet", "complain", "crash", "die", "sleep", "nan", "full"] = Field(
        "meet", description="what the process does"
    )
    by: int = Field(1, description="the rank of the process that does it; others wait for it")


class Acting:
    several_processes = True

    def __init__(self, config: Act, context: Context) -> None:
        self.config = config

    def run(self, context: Context) -> StageResult:
        append_line(Path(os.environ["RANKS_NOTES"]), {"acts": processes.rank()})
        if self.config.does == "sleep":
            time.sleep(120)
        if processes.rank() == self.config.by:
            if self.config.does == "complain":
                raise UserError(f"case 7 of process {processes.rank()} is broken; mend it")
            if self.config.does == "crash":
                raise ZeroDivisionError("oh")
            if self.config.does == "die":
                os.kill(os.getpid(), signal.SIGKILL)
        if self.config.does == "nan":
            lose_the_number(processes.rank() == self.config.by)
        if self.config.does == "full":
            fill_the_disk(context, processes.rank() == self.config.by)
        met = {
            "ranks": processes.gather(processes.rank()),
            "shared": processes.share(f"from {processes.rank()}"),
            "total": processes.totals([1.0 + processes.rank()]),
            "threads": processes.gather(os.environ.get("OMP_NUM_THREADS")),
        }
        if processes.is_main():
            write_json(context.folder / "met.json", met)
        context.step({"step": 1, "loss": 1.0})
        context.log("spoken once")
        return StageResult()


def lose_the_number(mine: bool) -> None:
    """Have a loss that is no number in one process, as the step of `finetune` finds it."""
    import torch

    from ctfw.types import LossTerms
    from ctfw_plugins.stages.pairs import Pairs
    from ctfw_plugins.stages.step import check_finite

    labels = np.zeros(1, np.int8)
    case = Case(f"case-{processes.rank()}", "p", Path("x"), "A report.", labels=labels)
    pair = Pairs(6, [case], [], None)
    check_finite(LossTerms(torch.tensor(1.0), {}), pair, "one")
    check_finite(LossTerms(torch.tensor(float("nan") if mine else 1.0), {}), pair, "one")


def fill_the_disk(context: Context, mine: bool) -> None:
    """Write a checkpoint, and another one for which one process has no room."""
    import torch

    from ctfw.engine.checkpoint import Checkpoints

    class Model:
        def save(self, folder: Path) -> None:
            folder.mkdir()

    checkpoints, model = Checkpoints(context.folder), Model()
    shard = {"moments": torch.zeros(100_000)}
    checkpoints.save(1, model, {}, {"best": 1.0}, best=True, shard=shard)
    if mine:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
    checkpoints.save(2, model, {}, {"best": 0.5}, best=True, shard=shard)


class Alone:
    """A stage that knows nothing of several processes."""

    def __init__(self, config: Strict, context: Context) -> None: ...

    def run(self, context: Context) -> StageResult:
        append_line(Path(os.environ["RANKS_NOTES"]), {"alone": processes.rank()})
        return StageResult()


@hookimpl
def ctfw_datasets():
    yield Component("few", "ctfw_ranks:FewCases", DatasetConfig, "cases without scans")


@hookimpl
def ctfw_backbones():
    yield Component("weightless", "ctfw_ranks:Weightless", Strict, "no weights")


@hookimpl
def ctfw_stages():
    yield Component("act", "ctfw_ranks:Acting", Act, "acts in every process")
    yield Component("alone", "ctfw_ranks:Alone", Strict, "acts in one process")
