"""Whether image, prompt and report fit into the model, and the report into what may be written."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ctfw.doctor.finding import Finding, count, evenly, note, ok, percent, problem, warning
from ctfw.progress import duration, size_of

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene
    from ctfw.model_plan import ModelPlan
    from ctfw.types import Case

CHARACTERS_PER_TOKEN = 3.6
"""English text, where the tokenizer is not at hand."""
SAMPLE, LONGEST = 2000, 50
"""Reports that are counted: evenly spaced ones, and the longest by characters."""
FEW_CUT = 0.01


def check(scene: Scene) -> Iterator[Finding]:
    """One case through the preprocessing, then what the backbone says of it."""
    first = scene.first
    shape = " x ".join(map(str, first.volume.array.shape))
    took = "under 1 s" if first.seconds < 1 else duration(first.seconds)
    yield note(
        f"case {first.case.id} becomes {shape} (slices x rows x columns) in {took}",
        shape=list(first.volume.array.shape),
        seconds=round(first.seconds, 3),
    )
    plan = scene.plan
    if plan is None:
        yield note(f"backbone '{scene.recipe.backbone.name}' does not say what a case costs")
        return
    yield _about(plan)
    if not plan.weights_here:
        size = (plan.parameters or 0) * plan.bytes_per_parameter
        told = f" ({size_of(size)} as {plan.bytes_per_parameter} bytes per value)" if size else ""
        yield warning(
            f"the weights of the backbone are not on this machine{told}",
            advice="fetch them before the job starts; a machine without network stops there",
        )
    yield from _sequences(scene, plan)
    yield from _generation(scene, plan)


def _about(plan: ModelPlan) -> Finding:
    t, rows, columns = plan.grid
    parts = [f"{plan.visual_tokens:,} visual tokens per case ({t} x {rows} x {columns})"]
    if plan.prompt_tokens is not None:
        parts.append(f"{plan.prompt_tokens} prompt tokens")
    if plan.parameters is not None:
        parts.append(f"{_in_millions(plan.parameters)} parameters")
    return note(
        f"{', '.join(parts)}; from {plan.source}",
        visual_tokens=plan.visual_tokens,
        grid=list(plan.grid),
        prompt_tokens=plan.prompt_tokens,
        parameters=plan.parameters,
    )


def _in_millions(number: int) -> str:
    return f"{number / 1e9:.2f} billion" if number >= 1e9 else f"{number / 1e6:.1f} million"


def report_tokens(plan: ModelPlan, cases: Sequence[Case]) -> tuple[np.ndarray, np.ndarray]:
    """((S,) tokens of evenly spaced reports, (K,) those of the longest reports by characters).

    Where the plan cannot count, one token per 3.6 characters.
    """
    reports = [case.report for case in cases]
    longest = sorted(reports, key=len, reverse=True)[:LONGEST]
    counted = []
    for chosen in (evenly(reports, SAMPLE), longest):
        if plan.count_tokens is not None:
            counted.append(np.asarray(plan.count_tokens(chosen), np.int64))
        else:
            sizes = np.array([len(report) for report in chosen])
            counted.append(np.ceil(sizes / CHARACTERS_PER_TOKEN).astype(np.int64))
    return counted[0], counted[1]


def _sequences(scene: Scene, plan: ModelPlan) -> Iterator[Finding]:
    """Image, prompt and report of the training split against the model's context."""
    if "train" not in scene.tables:
        return
    sample, longest = report_tokens(plan, scene.tables["train"])
    around = plan.visual_tokens + (plan.prompt_tokens or 0)
    median, most = around + int(np.median(sample)), around + int(longest.max())
    guess = "" if plan.count_tokens else " (estimated at 3.6 characters per token)"
    text = f"training sequences: median {median:,} tokens, longest {most:,}{guess}"
    values: dict[str, Any] = {"median": median, "longest": most}
    values["context_length"] = plan.context_length
    if plan.context_length is None:
        yield note(text, **values)
    elif most > plan.context_length:
        yield problem(
            f"{text}; the model reads {plan.context_length:,}",
            advice="fewer slices, a smaller size_px, or leave the longest reports out",
            **values,
        )
    else:
        yield ok(f"{text}; the model reads {plan.context_length:,}", **values)


def _generation(scene: Scene, plan: ModelPlan) -> Iterator[Finding]:
    """The reports of what will be written against `max_new_tokens`."""
    limits = {
        (settings.generation.max_new_tokens, getattr(settings, "split", "test"))
        for _, settings in scene.stages("generation")
    }
    for limit, split in sorted(limits or {(scene.recipe.generation.max_new_tokens, "test")}):
        if split in scene.tables:
            yield _against_limit(plan, scene.tables[split], limit, split)


def _against_limit(plan: ModelPlan, cases: Sequence[Case], limit: int, split: str) -> Finding:
    sample, longest = report_tokens(plan, cases)
    share = float((sample > limit).mean())
    top = int(np.percentile(sample, 99))
    guess = "" if plan.count_tokens else ", estimated"
    text = f"99 % of the {split} reports have up to {top:,} tokens{guess}, the longest "
    text += f"{longest.max():,}; generation.max_new_tokens is {limit:,}"
    values: dict[str, Any] = {"max_new_tokens": limit, "p99": top, "cut": share}
    if share > FEW_CUT:
        advice = f"{percent(share)} would be cut: set it to {int(longest.max() * 1.1):,} or more"
        return warning(text, advice=advice, **values)
    cut = int((longest > limit).sum())
    if cut:
        return note(f"{text}: {count(cut, 'report')} would be cut", **values)
    return ok(text, **values)
