"""A plugin whose stage behaves, or misbehaves, in one of several processes."""

from __future__ import annotations

import os
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
    does: Literal["meet", "complain", "crash", "die", "sleep"] = Field(
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
