"""Loss `align-contrast`: an image lies near its own report and far from the batch's others.

InfoNCE in both directions (van den Oord et al. 2018, arXiv 1807.03748; symmetric as in CLIP,
Radford et al. 2021, arXiv 2103.00020, section 2.3). It is meant as an extra term beside a loss
that teaches to write: `extra_losses: [{use: align-contrast, weight: 0.1}]`.

The image's embedding must not see the report, nor the report's the image; otherwise one can be
read off the other and the loss falls without anything being learnt. So it asks for "image", the
mean visual token as the tower gives it, and "text-alone", of a pass over the report alone.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy, normalize

from ctfw.types import LossTerms, StepOutput
from ctfw_plugins.losses.configs import AlignContrastConfig


class AlignContrast:
    """A batch of one case has nothing to compare with: stages refuse it by `least_cases`."""

    uses_negative = False
    least_cases = 2
    embeddings = ("image", "text-alone")

    def __init__(self, config: AlignContrastConfig, context: Any = None) -> None:
        self.config = config

    def __call__(
        self,
        positive: StepOutput,
        negative: StepOutput | None = None,
        reference: StepOutput | None = None,
        *,
        progress: float = 0.0,
    ) -> LossTerms:
        """Logged: `align`, nats, before its weight, and `align_top1`, how often the report that is
        nearest to an image is its own.

        With B cases the loss of an untrained model is about log B. Raises ValueError where an
        embedding is missing.
        """
        missing = [name for name in self.embeddings if name not in positive.embeddings]
        if missing:
            raise ValueError(f"align-contrast needs the embeddings {', '.join(missing)}")
        image, text = (
            normalize(positive.embeddings[name].float(), dim=-1) for name in self.embeddings
        )
        alike = image @ text.T / self.config.temperature
        own = torch.arange(len(alike), device=alike.device)
        loss = (cross_entropy(alike, own) + cross_entropy(alike.T, own)) / 2
        found = (alike.detach().argmax(1) == own).float().mean()
        total = self.config.weight * loss
        return LossTerms(total, {"align": float(loss.detach()), "align_top1": float(found)})
