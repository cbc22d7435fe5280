"""Settings of the losses; light."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ctfw.config import Strict


class CrossEntropyConfig(Strict):
    """Plain fine-tuning (Origin): no negatives."""


class BoundedContrastConfig(Strict):
    """L = alpha CE_pos + beta penalty(CE_neg)."""

    alpha: float = Field(1.0, gt=0, description="weight of the positive cross-entropy")
    beta: float = Field(0.1, ge=0, description="weight of the negative term")
    bound: Literal["clamp", "saturating", "softplus", "unlikelihood", "margin"] = Field(
        "clamp",
        description="clamp: -CE_neg, fixed at max_loss; saturating: approaches max_loss smoothly; "
        "softplus: a rounded hinge at max_loss; unlikelihood: -log(1 - p) of each token; margin: "
        "CE_neg must exceed CE_pos by `margin`",
    )
    max_loss: float = Field(
        3.0, gt=0, description="bound of a case's negative loss, nats per report token"
    )
    softness: float = Field(0.5, gt=0, description="nats over which the softplus bound is rounded")
    margin: float = Field(
        1.0, gt=0, description="nats per token by which CE_neg should exceed CE_pos (bound: margin)"
    )
    scope: Literal["all", "conflicting"] | None = Field(
        None,
        description="tokens that carry the negative term: all, or those of sentences whose finding "
        "the negative's labels contradict; null: conflicting for unlikelihood, else all",
    )
    beta_schedule: Literal["constant", "ramp", "decay"] = Field(
        "constant", description="ramp: 0 to beta over ramp_share; decay: beta to 0, as a cosine"
    )
    ramp_share: float = Field(
        0.3, gt=0, le=1, description="share of the training over which beta ramps up"
    )

    @property
    def tokens(self) -> str:
        """The tokens that carry the negative term, "all" or "conflicting"."""
        return self.scope or ("conflicting" if self.bound == "unlikelihood" else "all")

    @property
    def marks(self) -> tuple[str, ...]:
        """The masks of report tokens that the loss reads."""
        return () if self.tokens == "all" else (self.tokens,)


class AlignContrastConfig(Strict):
    """InfoNCE between the embeddings of a batch's images and reports."""

    weight: float = Field(1.0, gt=0, description="weight of the term in the sum")
    temperature: float = Field(
        0.07, gt=0, description="similarities are divided by it before the softmax"
    )
