"""Loss `cross-entropy`: the mean negative log-likelihood of the report's tokens."""

from __future__ import annotations

from typing import Any

from ctfw.types import LossTerms, StepOutput
from ctfw_plugins.losses.configs import CrossEntropyConfig


class CrossEntropy:
    """Each case counts the same: tokens are averaged within a case, then cases."""

    uses_negative = False

    def __init__(self, config: CrossEntropyConfig, context: Any = None) -> None:
        self.config = config

    def __call__(
        self,
        positive: StepOutput,
        negative: StepOutput | None = None,
        reference: StepOutput | None = None,
        *,
        progress: float = 0.0,
    ) -> LossTerms:
        loss = positive.per_case().mean()
        return LossTerms(loss, {"loss": float(loss.detach()), "positive": float(loss.detach())})
