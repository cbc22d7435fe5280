"""Before step 0: does every sample fit the model, what is in a sequence, and what a step takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ctfw.contracts import Backbone
from ctfw.doctor.footprint import footprint
from ctfw.engine.images import ImageBank
from ctfw.errors import BadData
from ctfw.model_plan import ModelPlan, PlanningBackbone
from ctfw.progress import size_of
from ctfw.settings import Training
from ctfw.types import Case

NAMED = 3
"""Cases that a message names; the others are counted."""


@dataclass(frozen=True)
class Lengths:
    """Tokens of what a training reads.

    plan     what the image of the first case costs; the preprocessing makes all alike, and a case
             that is not is refused when it is read
    reports  (N,) tokens of each report, end of turn included
    """

    plan: ModelPlan
    reports: np.ndarray

    @property
    def around(self) -> int:
        """Tokens of image and prompt."""
        return self.plan.visual_tokens + (self.plan.prompt_tokens or 0)

    def told(self, training: Training, *, pairs: bool, frozen: bool, processes: int) -> list[str]:
        """The plan in words: a line for the sequences, one for the memory where it is known."""
        plan, reports = self.plan, self.reports
        median, longest = int(np.median(reports)), int(reports.max())
        limit = f" of {plan.context_length:,}" if plan.context_length else ""
        lines = [
            f"sequences: {plan.visual_tokens:,} visual tokens, {plan.prompt_tokens} of the prompt, "
            f"reports of {median:,} (median) to {longest:,}: at most {self.around + longest:,}"
            f"{limit}; nothing is cut"
        ]
        estimate = footprint(
            plan,
            training,
            pairs=pairs,
            report_tokens=longest,
            frozen_vision=frozen,
            processes=processes,
        )
        if estimate is not None:
            lines.append(
                f"memory of a step: about {size_of(estimate.total)} (weights "
                f"{size_of(estimate.weights)}, gradients {size_of(estimate.gradients)}, optimizer "
                f"{size_of(estimate.optimizer)}, activations {size_of(estimate.activations)}, "
                f"logits {size_of(estimate.logits)})"
            )
        if frozen and plan.language is not None:
            each = plan.visual_tokens * plan.language.width * plan.bytes_per_parameter
            lines.append(f"visual tokens on disk: {size_of(each)} per scan")
        return lines


def measured(backbone: Backbone, images: ImageBank, cases: Sequence[Case]) -> Lengths | None:
    """The lengths of all cases; None for a backbone that cannot say.

    Raises BadData, naming cases, where a report is empty or a sequence is longer than the model
    reads.
    """
    empty = [case.id for case in cases if not case.report.strip()]
    if empty:
        raise BadData(f"{_named(empty)} an empty report: nothing to train on; leave them out")
    if not isinstance(backbone, PlanningBackbone):
        return None
    reports = [case.report for case in cases]
    plan = backbone.plan(images.volume(cases[0]), reports)
    if plan.count_tokens is None:
        return None
    found = Lengths(plan, np.asarray(plan.count_tokens(reports), np.int64))
    if plan.context_length is not None:
        _check(found, cases, plan.context_length)
    return found


def _check(found: Lengths, cases: Sequence[Case], limit: int) -> None:
    total = found.reports + found.around
    long = np.flatnonzero(total > limit)
    if len(long):
        worst = int(long[total[long].argmax()])
        raise BadData(
            f"{_named([cases[int(i)].id for i in long])} more tokens than the {limit:,} that the "
            f"model reads; the longest, {cases[worst].id}, {int(total[worst]):,}: "
            f"{found.plan.visual_tokens:,} of the image, {found.plan.prompt_tokens} of the prompt, "
            f"{int(found.reports[worst]):,} of the report. Fewer slices, a smaller size_px, or "
            "leave these cases out; nothing is cut silently"
        )


def _named(names: Sequence[str]) -> str:
    """`case a has`, `cases a, b, c and 4 more have`."""
    if len(names) == 1:
        return f"case {names[0]} has"
    shown, more = ", ".join(names[:NAMED]), len(names) - NAMED
    return f"cases {shown}{f' and {more:,} more' if more > 0 else ''} have"
