"""Bounds of the negative term: what each does to a case's loss under a wrong image.

Each takes the token losses of a batch and gives (B,) penalties to *add* to the loss, and (B,) bool,
where the bound leaves no gradient to speak of. Without a bound, minimising -CE_neg has no end: the
model gains more from making one wrong report ever less likely than from any right one.

All work in float32 at least, whatever the model computes in: exp(-CE) and log(1 - p) of a 16-bit
number are 0 or infinite long before they matter.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch.nn.functional import softplus

from ctfw.types import StepOutput
from ctfw_plugins.losses.configs import BoundedContrastConfig

FLAT = 0.05
"""A smooth bound counts as reached where less than this share of the gradient is left."""

CERTAIN = 2e-5
"""Token losses below it count as this: log(1 - p) needs p < 1, and its slope, 1 / CERTAIN there,
must be a number in float16 too (65,504 at most)."""


@dataclass(frozen=True)
class Penalty:
    """each (B,), differentiable, lower is better; reached (B,) bool."""

    each: torch.Tensor
    reached: torch.Tensor


def case_means(nll: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """(B,) mean of (B, T) token losses where the (B, T) mask is True; 0 where it is nowhere."""
    wide = nll if nll.dtype == torch.float64 else nll.float()
    return torch.where(mask, wide, 0.0).sum(1) / mask.sum(1).clamp(min=1)


def clamp(loss: torch.Tensor, config: BoundedContrastConfig) -> Penalty:
    """-min(CE_neg, m), m = max_loss: the gradient is 1 below and exactly 0 from m on. The bound of
    the method paper."""
    return Penalty(-loss.clamp(max=config.max_loss), loss.detach() >= config.max_loss)


def saturating(loss: torch.Tensor, config: BoundedContrastConfig) -> Penalty:
    """-m (1 - exp(-CE_neg / m)): slope 1 at 0 and exp(-CE_neg / m) further on, approaching m."""
    slope = torch.exp(-loss / config.max_loss)
    return Penalty(-config.max_loss * (1 - slope), slope.detach() < FLAT)


def smooth_hinge(loss: torch.Tensor, config: BoundedContrastConfig) -> Penalty:
    """t softplus((m - CE_neg) / t), t = softness: the hinge max(0, m - CE_neg), rounded.

    softplus(x) = log(1 + e^x) (Dugas et al. 2001, NIPS 13). The slope is sigmoid((m - CE_neg) / t):
    1 far below m, a half at m, and never quite 0 above it.
    """
    room = (config.max_loss - loss) / config.softness
    penalty = config.softness * softplus(room)
    return Penalty(penalty, torch.sigmoid(room.detach()) < FLAT)


def margin(gap: torch.Tensor, config: BoundedContrastConfig) -> Penalty:
    """max(0, margin - (CE_neg - CE_pos)): a report must be likelier under its own image by a
    margin, and no more is asked for.

    The ranking hinge (Herbrich, Graepel and Obermayer 2000; as a triplet loss Schroff et al. 2015,
    arXiv 1503.03832). The only bound that also pulls CE_pos down, so that it cannot be met by
    making every report unlikely.
    """
    room = config.margin - gap
    return Penalty(room.clamp(min=0.0), room.detach() <= 0)


def unlikelihood(nll: torch.Tensor, mask: torch.Tensor) -> Penalty:
    """(B, T) token losses -> mean over the mask of -log(1 - p(token)), p = exp(-nll).

    Welleck et al. 2020 (arXiv 1908.04319), equation 4, with the report's own tokens as the
    negative candidates. It is near 0 for tokens that are unlikely already, and its gradient to the
    logits is p: bounded everywhere, and largest where the model is surest. Reached where the mean
    of p is below FLAT.
    """
    wide = nll if nll.dtype == torch.float64 else nll.float()
    sure = wide.clamp(min=CERTAIN)
    each = case_means(-torch.log(-torch.expm1(-sure)), mask)
    left = case_means(torch.exp(-wide.detach()), mask)
    return Penalty(each, left < FLAT)


def scope_of(output: StepOutput, scope: str) -> torch.Tensor:
    """(B, T) bool: the tokens that carry the negative term. Raises ValueError where the marks of
    the scope were not made."""
    if scope == "all":
        return output.answer
    if scope not in output.marks:
        raise ValueError(f"the negative term has scope: {scope}, but its tokens are not marked")
    return output.answer & output.marks[scope].to(output.answer.device)
