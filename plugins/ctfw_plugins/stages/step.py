"""One forward and backward pass over anchors, each under its own image and under a negative.

The loss is differentiated in two parts. First with respect to what it is given, the likelihoods
of the report tokens and the embeddings: that costs next to nothing, works for any loss, and says
which negatives have no gradient, such as those at a bound. Then the graphs of the others are
differentiated with these gradients in hand; the rest is thrown away without a backward pass. By
the chain rule the sum is the gradient of the loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from accelerate import Accelerator
from torch.nn.functional import pad

from ctfw import processes
from ctfw.contracts import Backbone, Loss, PairBackbone
from ctfw.errors import BadData, Diverged, UserError
from ctfw.types import LossTerms, StepOutput
from ctfw_plugins.stages.extra import ALONE, needs
from ctfw_plugins.stages.marks import marked
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
        self._every_pass = counts_passes(accelerator)
        self._wants = needs(loss, "embeddings")

    def __call__(self, pair: Pairs, share: float) -> LossTerms:
        """The terms of the loss at `share` in [0, 1] of the training, after its backward pass.

        Raises UserError on a loss that is not a number, before it reaches the gradients.
        """
        try:
            passes = self._forward(pair)
        except BadData as error:
            raise BadData(f"stage {self._stage}, {where(pair)}: {error}") from error
        if ALONE in self._wants:
            passes[0] = self._with_text_alone(passes[0], pair)
        given = [leaf(output) for output in passes]
        positive, negative = marked(given[0], pair.conflicting), None
        if len(given) > 1:
            negative = marked(joined(given[1:]), pair.conflicting)
        terms = self._loss(positive, negative, progress=share)
        check_finite(terms, pair, self._stage)
        slopes = slopes_of(terms.total, given, self._stage)
        if not self._every_pass:
            kept = [i for i, slope in enumerate(slopes) if i == 0 or slope]
            passes, slopes = [passes[i] for i in kept], [slopes[i] for i in kept]
        self._accelerator.backward(surrogate(passes, slopes))
        return replace(terms, total=terms.total.detach())

    def _forward(self, pair: Pairs) -> list[StepOutput]:
        """The positives, then the negatives in one or more groups."""
        reports = [anchor.report for anchor in pair.anchors]
        backbone, wrapped = self._backbone, self._wrapped
        if pair.negatives is None:
            return [backbone.forward(pair.images, reports, wrapped)]
        if isinstance(backbone, PairBackbone):
            return backbone.forward_pair(pair.images, pair.negatives, reports, wrapped)
        both = backbone.forward(pair.images + pair.negatives, reports * 2, wrapped)
        half = len(reports)
        return [part(both, 0, half), part(both, half, 2 * half)]

    def _with_text_alone(self, output: StepOutput, pair: Pairs) -> StepOutput:
        """The positives with an embedding of each report that no image touches."""
        read: Any = getattr(self._backbone, "text_alone", None)
        if read is None:
            raise UserError(
                f"stage {self._stage}: the loss needs reports read without their image, which this "
                "backbone does not offer (it has no `text_alone`); leave align-contrast out"
            )
        alone = read([anchor.report for anchor in pair.anchors], self._wrapped)
        return replace(output, embeddings={**output.embeddings, ALONE: alone})


def counts_passes(accelerator: Accelerator) -> bool:
    """Whether the engine waits for the backward pass of every forward pass.

    ZeRO-3 counts them to know when to give a layer's weights back.
    """
    plugin = getattr(getattr(accelerator, "state", None), "deepspeed_plugin", None)
    return getattr(plugin, "zero_stage", 0) == 3


def leaf(output: StepOutput) -> StepOutput:
    """The same values, cut off from the graph that made them."""
    return replace(
        output,
        nll=_leaf(output.nll),
        embeddings={key: _leaf(value) for key, value in output.embeddings.items()},
    )


def _leaf(value: torch.Tensor) -> torch.Tensor:
    return value.detach().requires_grad_(value.requires_grad)


def _inputs(output: StepOutput) -> list[torch.Tensor]:
    return [output.nll, *output.embeddings.values()]


def slopes_of(
    total: torch.Tensor, given: Sequence[StepOutput], stage: str
) -> list[dict[int, torch.Tensor]]:
    """For each pass the gradients of the loss that are not zero, by the place of the input.

    Raises UserError for a loss that depends on nothing that it was given.
    """
    inputs = [(i, j, t) for i, output in enumerate(given) for j, t in enumerate(_inputs(output))]
    wanted = [each for each in inputs if each[2].requires_grad]
    if not total.requires_grad or not wanted:
        raise UserError(
            f"stage {stage}: the loss depends on no weight. Is everything frozen, or does the loss "
            "detach what it is given?"
        )
    found = torch.autograd.grad(total, [t for _, _, t in wanted], allow_unused=True)
    slopes: list[dict[int, torch.Tensor]] = [{} for _ in given]
    for (i, j, _), slope in zip(wanted, found, strict=True):
        if slope is not None and bool(slope.any()):
            slopes[i][j] = slope
    return slopes


def surrogate(
    passes: Sequence[StepOutput], slopes: Sequence[dict[int, torch.Tensor]]
) -> torch.Tensor:
    """A number whose gradient is that of the loss: each input times its slope, summed.

    A pass without slopes takes part with zeros.
    """
    parts = []
    for output, slope in zip(passes, slopes, strict=True):
        inputs = _inputs(output)
        parts += [(inputs[place] * each).sum() for place, each in slope.items()]
        if not slope:
            parts.append((output.nll * 0).sum())
    return torch.stack([part.float() for part in parts]).sum()


def joined(outputs: Sequence[StepOutput]) -> StepOutput:
    """Groups of cases as one batch, padded to the longest report."""
    if len(outputs) == 1:
        return outputs[0]
    length = max(output.nll.shape[1] for output in outputs)

    def rows(tensors: Sequence[torch.Tensor]) -> torch.Tensor:
        return torch.cat([pad(t, (0, length - t.shape[1])) for t in tensors])

    keys = outputs[0].embeddings
    return StepOutput(
        nll=rows([output.nll for output in outputs]),
        answer=rows([output.answer for output in outputs]),
        embeddings={key: torch.cat([o.embeddings[key] for o in outputs]) for key in keys},
    )


def part(output: StepOutput, start: int, stop: int) -> StepOutput:
    """Some cases of a batch."""
    return StepOutput(
        output.nll[start:stop],
        output.answer[start:stop],
        {key: value[start:stop] for key, value in output.embeddings.items()},
    )


def where(pair: Pairs) -> str:
    """The step and its anchors, for messages."""
    return f"step {pair.step + 1} (cases {', '.join(anchor.id for anchor in pair.anchors)})"


def check_finite(terms: LossTerms, pair: Pairs, stage: str) -> None:
    """Raises UserError on a loss that is not a number, before it reaches the weights.

    All processes raise it, whichever has such a loss, so that none waits for the others.
    """
    bad = not torch.isfinite(terms.total)
    if not processes.totals([float(bad)])[0]:
        return
    names = ", ".join(anchor.id for anchor in pair.anchors)
    own = f"{float(terms.total.detach())} at step {pair.step + 1} (cases {names})" if bad else ""
    words = next(found for found in processes.gather(own) if found)
    raise Diverged(
        f"stage {stage}: the loss is {words}. Start a new run with a lower training.learning_rate "
        "or loss.max_loss; `ctfw resume` would repeat the same steps"
    )
