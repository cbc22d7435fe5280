"""What every stage that trains begins with, and how a killed one is taken up again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator

from ctfw.contracts import Backbone
from ctfw.engine.accelerator import learning_rate_at, make_accelerator
from ctfw.engine.checkpoint import Checkpoints, read_training
from ctfw.engine.context import Context
from ctfw.engine.images import ImageBank
from ctfw.runs.files import read_lines, write_lines
from ctfw.settings import Training
from ctfw.types import CaseTable
from ctfw_plugins.stages.plan import TrainingPlan


@dataclass(frozen=True)
class Setup:
    """Built parts of a training, before the loop."""

    accelerator: Accelerator
    cases: CaseTable
    held_out: CaseTable
    images: ImageBank
    checkpoints: Checkpoints
    backbone: Backbone
    plan: TrainingPlan


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
    """
    assert context.dataset is not None
    assert context.images is not None
    assert context.make_backbone is not None
    accelerator = make_accelerator(training)
    cases = context.dataset.cases("train")
    held_out = context.dataset.cases("validation")[: training.validation_cases]
    checkpoints = Checkpoints(context.folder)
    backbone = context.make_backbone()
    folder = checkpoints.last() or context.inputs.get("start_from")
    if folder is None:
        backbone.build(cases.reports, context.seed)
    else:
        backbone.load(folder / "model")
    processes, rank = accelerator.num_processes, accelerator.process_index
    plan = TrainingPlan(len(cases), training, context.seed, context.stage, processes, rank)
    return Setup(accelerator, cases, held_out, context.images, checkpoints, backbone, plan)


def take_up(
    checkpoints: Checkpoints, optimizer: Any, context: Context
) -> tuple[Standing, dict[str, Any]]:
    """The standing of the stage's newest checkpoint and what else it kept.

    The optimizer gets its state back; log lines after the checkpoint are forgotten, because the
    steps that they tell of will be done again.
    """
    newest = checkpoints.last()
    log = context.folder / "steps.jsonl"
    if newest is None:
        log.unlink(missing_ok=True)
        return Standing(), {}
    state = read_training(newest)
    optimizer.load_state_dict(state["optimizer"])
    step = int(newest.name.split("-")[1])
    write_lines(log, [line for line in read_lines(log) if line["step"] <= step])
    context.log(f"{context.stage}: going on after step {step}")
    return Standing(step, state["best"]), state


def set_rate(optimizer: Any, plan: TrainingPlan, step: int) -> float:
    """Give the optimizer the learning rate of a step, and return it."""
    rate = plan.training.learning_rate * learning_rate_at(plan.training, step, plan.steps)
    for group in optimizer.param_groups:
        group["lr"] = rate
    return rate
