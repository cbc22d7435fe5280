"""Settings of the losses; light."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ctfw.config import Strict


class CrossEntropyConfig(Strict):
    """Plain fine-tuning (Origin): no negatives."""


class BoundedContrastConfig(Strict):
    """L = alpha CE_pos - beta bounded(CE_neg)."""

    alpha: float = Field(1.0, gt=0, description="weight of the positive cross-entropy")
    beta: float = Field(0.1, ge=0, description="weight of the negative cross-entropy")
    bound: Literal["clamp", "saturating"] = Field(
        "clamp", description="clamp: fixed at max_loss above it; saturating: approaches it smoothly"
    )
    max_loss: float = Field(
        3.0, gt=0, description="bound of a case's negative loss, nats per report token"
    )
    beta_schedule: Literal["constant", "ramp", "decay"] = Field(
        "constant", description="ramp: 0 to beta over ramp_share; decay: beta to 0, as a cosine"
    )
    ramp_share: float = Field(
        0.3, gt=0, le=1, description="share of the training over which beta ramps up"
    )
