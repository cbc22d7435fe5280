"""What every stage that trains begins with, and how a killed one is taken up again."""

from __future__ import annotations

import random
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from ctfw import processes
from ctfw.contracts import Backbone
from ctfw.engine.accelerator import learning_rate_at, make_accelerator
from ctfw.engine.checkpoint import Checkpoints, check_model, read_shard, read_training
from ctfw.engine.context import Context
from ctfw.engine.images import ImageBank
from ctfw.engine.optimise import Optimised
from ctfw.engine.trackers import open_trackers
from ctfw.errors import BadCheckpoint, WrongProcesses
from ctfw.progress import size_of
from ctfw.runs.begun import PROCESSES, begun_with, resume_command
from ctfw.runs.files import read_lines, write_lines
from ctfw.seed import stream_seed
from ctfw.settings import Training
from ctfw.types import CaseTable
from ctfw_plugins.stages.plan import TrainingPlan

COPIES = 3
LARGE = 1_000_000_000


@dataclass(frozen=True)
class Setup:
    """Built parts of a training, before the loop.

    last, state  the stage's newest checkpoint, and what it kept for resumption
    """

    accelerator: Accelerator
    cases: CaseTable
    held_out: CaseTable
    images: ImageBank
    checkpoints: Checkpoints
    backbone: Backbone
    plan: TrainingPlan
    last: Path | None
    state: Mapping[str, Any]


@dataclass
class Standing:
    """Where a training stands: steps done, and the best validation score so far (lower wins)."""

    step: int = 0
    best: float = float("inf")

    def note(self, score: float) -> bool:
        """Whether this is the best score yet."""
        improved = score < self.best
        self.best = min(self.best, score)
        return improved


def begin(training: Training, context: Context) -> Setup:
    """Engine, cases, plan, and the backbone with the weights to start from.

    Those are the weights of the stage's own last checkpoint, of `start_from`, or the backbone's.
    Raises WrongProcesses where the run was begun with others, and it matters.
    """
    assert context.dataset is not None
    assert context.images is not None
    assert context.make_backbone is not None
    checkpoints = Checkpoints(context.folder)
    last = processes.share(checkpoints.last())
    state: Mapping[str, Any] = {}
    if last is not None:
        with _told_of_others(last):
            check_model(last)
            state = read_training(last)
    training = same_global_batch(training, state.get(PROCESSES), context)
    accelerator = make_accelerator(training)
    if training.engine.startswith("deepspeed") and accelerator.device.type == "cpu":
        context.log(f"{context.stage}: DeepSpeed on the CPU, over gloo: slow, to try things out")
    cases = context.dataset.cases("train")
    held_out = context.dataset.cases("validation")[: training.validation_cases]
    backbone = context.make_backbone()
    folder = last or context.inputs.get("start_from")
    if folder is None:
        backbone.build(cases.reports, context.seed)
    else:
        with _told_of_others(last):
            backbone.load(folder / "model")
    world, rank = processes.world(), processes.rank()
    plan = TrainingPlan(len(cases), training, context.seed, context.stage, world, rank)
    return Setup(
        accelerator, cases, held_out, context.images, checkpoints, backbone, plan, last, state
    )


@contextmanager
def _told_of_others(last: Path | None) -> Iterator[None]:
    """Say which other checkpoints of the stage there are when its last one cannot be used."""
    try:
        yield
    except BadCheckpoint as error:
        if last is None:
            raise
        found = sorted(p.name for p in last.parent.glob("step-*") if p.name != last.name)
        advice = (
            f"To go on from an earlier one, write its name into {last.parent / 'last'}: "
            f"{', '.join(found)}"
            if found
            else "There is no other checkpoint: start a new run"
        )
        raise BadCheckpoint(f"{error}. {advice}") from error


def same_global_batch(training: Training, written: int | None, context: Context) -> Training:
    """The settings with which a run goes on in as many processes as there are.

    written  processes that wrote the stage's last checkpoint; None without one

    The accumulation makes up for the number of processes that the run was begun with, so that every
    step reads the same cases. Raises WrongProcesses where it cannot, and for a checkpoint of ZeRO,
    whose shards belong to their processes.
    """
    assert context.run is not None
    now = processes.world()
    if written not in (None, now) and training.engine.startswith("deepspeed"):
        raise WrongProcesses(
            f"stage {context.stage}: its last checkpoint was written by {written} processes, each "
            f"with its shard of the optimizer, and now there are {now}. To go on: "
            f"{resume_command(context.run, written)}"
        )
    begun = processes.share(begun_with(context.run)) or written or now
    passes, rest = divmod(training.gradient_accumulation * begun, now)
    if rest:
        raise WrongProcesses(
            f"stage {context.stage}: the run was begun with {begun} process"
            f"{'es' * (begun > 1)} and gradient_accumulation {training.gradient_accumulation}; "
            f"{now} processes cannot share those {training.gradient_accumulation * begun} passes "
            f"of a step evenly. To go on: {resume_command(context.run, begun)}"
        )
    if begun != now:
        context.log(
            f"{context.stage}: begun with {begun} processes, going on with {now}: "
            f"gradient_accumulation is {passes} now, so that a step reads the same cases"
        )
    return training.model_copy(update={"gradient_accumulation": passes})


def take_up(setup: Setup, model: Optimised, context: Context) -> Standing:
    """The standing of the stage's newest checkpoint.

    The optimizer gets its state back; log lines after the checkpoint are forgotten, because the
    steps that they tell of will be done again.
    """
    log, training = context.folder / "steps.jsonl", setup.plan.training
    standing = Standing()
    if setup.last is not None:
        with _told_of_others(setup.last):
            model.restore(setup.state, read_shard(setup.last))
        standing = Standing(int(setup.last.name.split("-")[1]), setup.state["best"])
        context.log(f"{context.stage}: going on after step {standing.step}")
    if processes.is_main():
        write_lines(log, [line for line in read_lines(log) if line["step"] <= standing.step])
    _tell_size(model.checkpoint_bytes(), context)
    context.trackers = open_trackers(setup.accelerator, training, context, standing.step)
    return standing


def _tell_size(size: int, context: Context) -> None:
    """Say in advance what checkpoints take, where that is much or more than there is."""
    needed = COPIES * size
    free = shutil.disk_usage(context.folder).free
    if size < LARGE and needed < free:
        return
    context.log(
        f"{context.stage}: a checkpoint takes {size_of(size)}, up to {COPIES} at a time (last, "
        f"best, and the one being written); {size_of(free)} are free"
        + ("" if needed < free else ": too little, training would stop at the first that fails")
    )


def save(
    setup: Setup,
    model: Optimised,
    standing: Standing,
    context: Context,
    *,
    improved: bool,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Write a checkpoint; every process calls this. `more` is kept beside the optimizer."""
    facts = {**context.facts, "stage": context.stage}
    kept = {**model.state(), "best": standing.best, **(more or {})}
    with model.whole():
        setup.checkpoints.save(
            standing.step, setup.backbone, facts, kept, best=improved, shard=model.shard()
        )


def seed_pass(context: Context, step: int, turn: int) -> None:
    """Random numbers of a forward pass, such as those of dropout, that a resumed one repeats."""
    seed = stream_seed(context.seed, context.stage, "pass", step, turn, processes.rank())
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def mean_of(terms: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each logged term over forward passes and processes; all processes call this."""
    every = [term for part in processes.gather(list(terms)) for term in part]
    names = dict.fromkeys(name for term in every for name in term)
    return {name: float(np.mean([term[name] for term in every if name in term])) for name in names}


def set_rate(optimizer: Any, plan: TrainingPlan, step: int) -> float:
    """Give the optimizer the learning rate of a step, and return it."""
    rate = plan.training.learning_rate * learning_rate_at(plan.training, step, plan.steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate
