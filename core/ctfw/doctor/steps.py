"""How many optimizer steps a training takes, and how many cases each reads."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from ctfw.doctor.finding import Finding, count, note, warning
from ctfw.engine.ahead import in_words, repeats

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene


def check(scene: Scene) -> Iterator[Finding]:
    """A line for each stage that trains, and a warning where a step reads cases twice."""
    cases, number = len(scene.tables.get("train", ())), scene.processes
    for name, settings in scene.training_stages() if cases else ():
        training = settings.training
        if text := repeats(training, number, cases):
            advice = "a smaller batch_size or gradient_accumulation, or fewer processes"
            yield warning(f"{name}: {text}", advice=advice)
        each, steps = training.cases_per_step(number), training.steps(cases, number)
        yield note(
            f"{name}: {count(steps, 'step')} of {in_words(training, number)}, "
            f"{steps * each / cases:.3g} times the training split",
            steps=steps,
            cases_per_step=each,
        )
