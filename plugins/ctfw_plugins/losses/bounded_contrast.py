"""Loss `bounded-contrast`: alpha CE_pos - beta bounded(CE_neg), the method's loss.

The negative pass reads the same report under an image that it does not describe; its likelihood
should fall. Without a bound the difference is unbounded below and training diverges.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from ctfw.types import LossTerms, StepOutput
from ctfw_plugins.losses.configs import BoundedContrastConfig

FLAT = 0.05
"""A saturating bound counts as reached where less than this share of the gradient is left."""


class BoundedContrast:
    """Positive and negative differ in the image alone; only report tokens count.

    bound "clamp"       min(CE_neg, m): the gradient is exactly zero above m = max_loss
    bound "saturating"  m (1 - exp(-CE_neg / m)): slope 1 at 0, approaching m
    """

    uses_negative = True

    def __init__(self, config: BoundedContrastConfig, context: Any = None) -> None:
        self.config = config

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
        """Raises ValueError without a negative: this loss is undefined then."""
        if negative is None:
            raise ValueError("bounded-contrast needs negatives: give the stage a `negatives` block")
        beta, limit = self.beta(progress), self.config.max_loss
        pulled = positive.per_case().mean()
        each = negative.per_case()
        bounded, reached = self._bounded(each)
        total = self.config.alpha * pulled - beta * bounded.mean()
        return LossTerms(
            total,
            {
                "loss": float(total.detach()),
                "positive": float(pulled.detach()),
                "negative": float(each.mean().detach()),
                "bound": limit,
                "at_bound": float(reached.float().mean()),
                "beta": beta,
            },
        )

    def _bounded(self, loss: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """(B,) bounded losses and (B,) bool, where the bound leaves no gradient to speak of."""
        limit = self.config.max_loss
        if self.config.bound == "clamp":
            return loss.clamp(max=limit), loss.detach() >= limit
        slope = torch.exp(-loss / limit)
        return limit * (1 - slope), slope.detach() < FLAT
