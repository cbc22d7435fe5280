"""One forward and backward pass over anchors, each under its own image and under a negative."""

from __future__ import annotations

from typing import Any

import torch
from accelerate import Accelerator

from ctfw.contracts import Backbone, Loss
from ctfw.errors import UserError
from ctfw.types import LossTerms, StepOutput
from ctfw_plugins.stages.pairs import Pairs


class PairStep:
    """Forward, loss and backward of a pair; gradients are left in the parameters.

    wrapped  the engine's form of `backbone.module()`
    stage    whose messages these are
    """

    def __init__(
        self, backbone: Backbone, wrapped: Any, loss: Loss, accelerator: Accelerator, stage: str
    ) -> None:
        self._backbone, self._wrapped = backbone, wrapped
        self._loss, self._accelerator, self._stage = loss, accelerator, stage

    def __call__(self, pair: Pairs, share: float) -> LossTerms:
        """The terms of the loss at `share` in [0, 1] of the training, after its backward pass.

        Raises UserError on a loss that is not a number, before it reaches the gradients.
        """
        terms = self._terms(pair, share)
        check_finite(terms, pair, self._stage)
        self._accelerator.backward(terms.total)
        return terms

    def _terms(self, pair: Pairs, share: float) -> LossTerms:
        """One forward pass over positives and negatives together, split again for the loss."""
        reports = [anchor.report for anchor in pair.anchors]
        forward = self._backbone.forward
        if pair.negatives is None:
            return self._loss(forward(pair.images, reports, self._wrapped), progress=share)
        both = forward(pair.images + pair.negatives, reports * 2, self._wrapped)
        half = len(reports)
        return self._loss(part(both, 0, half), part(both, half, 2 * half), progress=share)


def part(output: StepOutput, start: int, stop: int) -> StepOutput:
    """Some cases of a batch."""
    return StepOutput(
        output.nll[start:stop],
        output.answer[start:stop],
        {key: value[start:stop] for key, value in output.embeddings.items()},
    )


def check_finite(terms: LossTerms, pair: Pairs, stage: str) -> None:
    """Raises UserError on a loss that is not a number, before it reaches the weights."""
    if not torch.isfinite(terms.total):
        names = ", ".join(anchor.id for anchor in pair.anchors)
        raise UserError(
            f"stage {stage}: the loss is {float(terms.total)} at step {pair.step + 1} "
            f"(cases {names}). Lower training.learning_rate or loss.max_loss; the last checkpoint "
            "is kept, `ctfw resume` goes on from it"
        )
