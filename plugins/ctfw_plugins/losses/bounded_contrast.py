"""Loss `bounded-contrast`: alpha CE_pos + beta penalty(CE_neg), the method's loss.

The negative pass reads the same report under an image that it does not describe; its likelihood
should fall. Without a bound the difference is unbounded below and training diverges.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ctfw.types import LossTerms, StepOutput
from ctfw_plugins.losses import bounds
from ctfw_plugins.losses.configs import BoundedContrastConfig


class BoundedContrast:
    """Positive and negative differ in the image alone; only report tokens count.

    The penalty is one of `ctfw_plugins.losses.bounds`, of the tokens in `scope`. A case without
    any such token has no negative term, and the term is the mean over the others.
    """

    uses_negative = True

    def __init__(self, config: BoundedContrastConfig, context: Any = None) -> None:
        self.config = config
        self.scope, self.marks = config.tokens, config.marks

    def beta(self, progress: float) -> float:
        """The weight at `progress` in [0, 1] of the training."""
        if self.config.beta_schedule == "ramp":
            return self.config.beta * min(1.0, progress / self.config.ramp_share)
        if self.config.beta_schedule == "decay":
            return self.config.beta * 0.5 * (1 + math.cos(math.pi * progress))
        return self.config.beta

    def __call__(
        self,
        positive: StepOutput,
        negative: StepOutput | None = None,
        reference: StepOutput | None = None,
        *,
        progress: float = 0.0,
    ) -> LossTerms:
        """Raises ValueError without a negative: this loss is undefined then.

        Logged: `positive` and `negative`, nats per token, the second of the tokens in scope and
        not bounded; `at_bound`, the share of cases with a negative term that it gives no gradient;
        `in_scope`, the share of report tokens that carry the term, and `without_scope`, that of
        cases in which no token does. Without any case that has a negative term, `negative` and
        `at_bound` are not known and left out.
        """
        if negative is None:
            raise ValueError("bounded-contrast needs negatives: give the stage a `negatives` block")
        beta = self.beta(progress)
        pulled = bounds.case_means(positive.nll, positive.answer).mean()
        mask = bounds.scope_of(negative, self.scope)
        there = mask.any(1)
        count = there.sum().clamp(min=1)
        penalty = self._penalty(positive, negative, mask)
        pushed = torch.where(there, penalty.each, 0.0).sum() / count
        total = self.config.alpha * pulled + beta * pushed
        each = bounds.case_means(negative.nll.detach(), mask)
        terms = {"loss": float(total.detach()), "positive": float(pulled.detach()), "beta": beta}
        if bool(there.any()):
            terms["negative"] = float(each.sum() / count)
            terms["at_bound"] = float((penalty.reached & there).sum() / count)
        if self.config.bound not in ("unlikelihood", "margin"):
            terms["bound"] = self.config.max_loss
        if self.scope != "all":
            terms["without_scope"] = float((~there).float().mean())
            terms["in_scope"] = float(mask.sum() / negative.answer.sum().clamp(min=1))
        return LossTerms(total, terms)

    def _penalty(
        self, positive: StepOutput, negative: StepOutput, mask: torch.Tensor
    ) -> bounds.Penalty:
        """(B,) what is added to the loss, and where the bound is reached."""
        if self.config.bound == "unlikelihood":
            return bounds.unlikelihood(negative.nll, mask)
        pushed = bounds.case_means(negative.nll, mask)
        if self.config.bound == "margin":
            return bounds.margin(pushed - bounds.case_means(positive.nll, mask), self.config)
        if self.config.bound == "softplus":
            return bounds.smooth_hinge(pushed, self.config)
        return {"clamp": bounds.clamp, "saturating": bounds.saturating}[self.config.bound](
            pushed, self.config
        )
