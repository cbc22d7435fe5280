"""A whole plugin without weights or scans: what the engine does with it can be followed by eye."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydantic import Field

from ctfw import Component, Strict, hookimpl
from ctfw.data_settings import DatasetConfig
from ctfw.engine.context import Context, StageResult
from ctfw.errors import UserError
from ctfw.runs.directory import write_pointer
from ctfw.runs.files import write_json
from ctfw.slots import FromCheckpoint
from ctfw.types import Case, CaseTable

SEEN: list[tuple[str, dict[str, Any]]] = []
TROUBLE: list[BaseException] = []


class Cases(DatasetConfig):
    count: int = Field(4, ge=0, description="cases of each split")


class Toy:
    label_names = ("a",)

    def __init__(self, config: Cases, context: Any = None) -> None:
        self.config = config

    def prepare(self) -> None:
        SEEN.append(("prepare", {}))

    def cases(self, split: str) -> CaseTable:
        labels = np.zeros(1, np.int8)
        made = [
            Case(f"{split}-{i}", f"p{i}", Path(f"{split}-{i}.toy"), "A report.", labels=labels)
            for i in range(self.config.count)
        ]
        return CaseTable(tuple(made), self.label_names)


class Weightless:
    def __init__(self, config: Strict, context: Any = None) -> None:
        self.context = context


class Note(Strict):
    start_from: FromCheckpoint | None = Field(None, description="another stage")
    refuse: bool = Field(False, description="cannot be built")


class Noting:
    """Logs two steps and leaves a checkpoint; raises what stands in TROUBLE."""

    def __init__(self, config: Note, context: Context) -> None:
        if config.refuse:
            raise UserError(f"stages.{context.stage}: refused")

    def run(self, context: Context) -> StageResult:
        for step in (1, 2):
            context.step({"step": step, "loss": 1.0 / step})
        if TROUBLE:
            raise TROUBLE.pop()
        best = context.folder / "checkpoints" / "step-000002"
        write_json(best / "ctfw.json", {"from": {k: str(v) for k, v in context.inputs.items()}})
        write_pointer(context.folder / "checkpoints", "best", best.name)
        return StageResult({"checkpoint": "checkpoints/best"}, {"loss": 0.5})


@hookimpl
def ctfw_datasets():
    yield Component("toy", "ctfw_toy:Toy", Cases, "cases without scans")


@hookimpl
def ctfw_backbones():
    yield Component("weightless", "ctfw_toy:Weightless", Strict, "no weights")


@hookimpl
def ctfw_stages():
    yield Component("note", "ctfw_toy:Noting", Note, "takes notes", gives=("checkpoint",))


@hookimpl
def ctfw_run_started(run):
    SEEN.append(("started", {"run": run}))


@hookimpl
def ctfw_step_logged(run, stage, step, values):
    SEEN.append(("step", {"run": run, "stage": stage, "step": step, "loss": values["loss"]}))


@hookimpl
def ctfw_stage_finished(run, stage, result):
    SEEN.append(("stage", {"run": run, "stage": stage, "numbers": dict(result.numbers)}))


@hookimpl
def ctfw_run_finished(run, error):
    SEEN.append(("finished", {"run": run, "error": error}))
