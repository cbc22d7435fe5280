"""What passes between backbone, loss and training loop at one step. Light: no torch at run time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class StepOutput:
    """What a backbone computes for a batch of B cases with up to T report tokens.

    nll         (B, T) negative log-likelihood of each report token, nats; 0 where masked out
    answer      (B, T) bool, True on report tokens; image, prompt and padding are never in it
    embeddings  named tensors that a loss may ask for, e.g. "image" (B, D), "text" (B, D)
    marks       named (B, T) bool masks of report tokens that a loss may ask for, e.g.
                "conflicting": tokens of sentences that the negative's image contradicts
    """

    nll: torch.Tensor
    answer: torch.Tensor
    embeddings: Mapping[str, torch.Tensor] = field(default_factory=dict)
    marks: Mapping[str, torch.Tensor] = field(default_factory=dict)

    def per_case(self) -> torch.Tensor:
        """(B,) mean NLL per report token of each case."""
        count = self.answer.sum(1).clamp(min=1)
        return (self.nll * self.answer).sum(1) / count


@dataclass(frozen=True)
class LossTerms:
    """`total` is differentiated; every entry of `terms` is logged as a plain number."""

    total: torch.Tensor
    terms: Mapping[str, float]
