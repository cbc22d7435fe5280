"""What would end or mar a training late, said before the first stage: parts, devices, batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctfw import processes
from ctfw.engine.context import Context
from ctfw.runs.begun import begun_with
from ctfw.settings import Training

if TYPE_CHECKING:
    from ctfw.recipe import ResolvedRecipe, ResolvedStage
    from ctfw.runs.directory import RunDirectory


def rehearse(recipe: ResolvedRecipe, shared: Context, run: RunDirectory) -> None:
    """Build each stage that is still to run once, and throw it away; look for its device.

    What cannot be built, such as a loss that needs negatives in a stage without any, is said now
    and not after the data are prepared. Raises UserError.
    """
    for name, stage in _to_come(recipe, run):
        context = Context(**{**vars(shared), "stage": name})
        context.build(stage.block)
        training = getattr(stage.block.settings, "training", None)
        if isinstance(training, Training):
            from ctfw.engine.accelerator import runs_on_cpu

            runs_on_cpu(training)


def tell_large_steps(
    recipe: ResolvedRecipe, shared: Context, run: RunDirectory, cases: int
) -> None:
    """Say where an optimizer step reads more cases than there are to train on."""
    number = processes.share(begun_with(run)) or processes.world()
    for name, stage in _to_come(recipe, run):
        training = getattr(stage.block.settings, "training", None)
        if isinstance(training, Training) and "checkpoint" in stage.block.component.gives:
            text = repeats(training, number, cases)
            if text:
                shared.log(f"{name}: {text}")


def repeats(training: Training, number: int, cases: int) -> str:
    """What it means that a step of that many processes reads more than all cases; empty if not."""
    if training.cases_per_step(number) <= cases:
        return ""
    return (
        f"a step reads {in_words(training, number)} and the training split has {cases:,}: they are "
        "read more than once within a step"
    )


def in_words(training: Training, number: int) -> str:
    """Cases of a step, and what they are the product of."""
    size, passes = training.batch_size, training.gradient_accumulation
    factors = f"batch_size {size} x gradient_accumulation {passes} x {number} process"
    return f"{training.cases_per_step(number):,} cases ({factors}{'es' * (number > 1)})"


def _to_come(recipe: ResolvedRecipe, run: RunDirectory) -> Iterator[tuple[str, ResolvedStage]]:
    for name, stage in recipe.stages.items():
        if run.finished(name) is None:
            yield name, stage
