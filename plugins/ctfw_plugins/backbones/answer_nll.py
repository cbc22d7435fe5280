"""Negative log-likelihood of report tokens from hidden states, without a tensor of all logits.

The gradient of -log softmax(z)_y with respect to z is softmax(z) - e_y. So a backward pass needs
the probabilities of each answer position and the weight that the loss gives it, nothing else:
they are kept in one buffer, which the backward pass works in, as far as it is small; computed
again beyond that; and not needed at all where the head is frozen, because the gradient of the
hidden states is then proportional to what the forward pass can work out.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.autograd.function import once_differentiable

CHUNK_BYTES = {"cpu": 1 << 27, "cuda": 1 << 28}
"""Logits that are made at a time, as float32; a product with fewer rows waits for the weights."""
KEEP_BYTES = 1 << 29
"""Probabilities that a call keeps for its backward pass; the rows beyond are computed again."""


def answer_nll(head: nn.Module, states: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(N,) float32 NLL, nats, of `targets` (N,) under head(`states` (N, D)).

    A head that is more than one matrix, or whose matrix is spread over processes (ZeRO-3), is
    called as a module; its logits are then kept by autograd.
    """
    if type(head) is not nn.Linear or head.bias is not None or hasattr(head.weight, "ds_id"):
        return nn.functional.cross_entropy(head(states).float(), targets, reduction="none")
    if torch.is_grad_enabled():
        out: torch.Tensor = _AnswerNLL.apply(states, head.weight, targets)
        return out
    states, weight = _computed(states, head.weight)
    parts = [_nll(states[rows], weight, targets[rows])[0] for rows in _chunks(states, weight)]
    return torch.cat(parts) if parts else states.new_zeros(0, dtype=torch.float32)


class _AnswerNLL(torch.autograd.Function):
    """See the head of this file. The backward pass may run once."""

    @staticmethod
    def forward(
        ctx: Any, states: torch.Tensor, weight: torch.Tensor, targets: torch.Tensor
    ) -> torch.Tensor:
        given, trained = (states.dtype, weight.dtype), ctx.needs_input_grad[1]
        low, matrix = _computed(states, weight)
        nll = states.new_empty(len(targets), dtype=torch.float32)
        keep = min(len(targets), KEEP_BYTES // (matrix.element_size() * matrix.shape[0]))
        kept = matrix.new_empty(keep if trained else 0, matrix.shape[0])
        slope = None if trained else torch.empty_like(low)
        for rows in _chunks(low, matrix):
            nll[rows], found = _nll(low[rows], matrix, targets[rows])
            if slope is not None:
                slope[rows] = _less_one(found.exp_(), targets[rows]).to(matrix.dtype) @ matrix
            elif rows.start < keep:
                stop = min(rows.stop, keep)
                kept[rows.start : stop] = found[: stop - rows.start].exp_()
        ctx.given, ctx.dtype = given, matrix.dtype
        ctx.kept = kept
        ctx.save_for_backward(states, weight, targets, slope)
        return nll

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        (upstream,) = grads
        states, weight, targets, slope = ctx.saved_tensors
        if slope is not None:
            return (slope * upstream[:, None].to(slope.dtype)).to(ctx.given[0]), None, None
        kept, ctx.kept = ctx.kept, None
        if kept is None:
            raise RuntimeError("the logits of this pass are gone: its backward pass has been run")
        low, matrix = states.to(ctx.dtype), weight.to(ctx.dtype)
        to_states = torch.empty_like(low)
        to_weight = torch.zeros_like(matrix) if len(kept) < len(targets) else None
        for rows, errors in _errors(kept, low, matrix, targets):
            errors.mul_(upstream[rows, None])
            torch.mm(errors, matrix, out=to_states[rows])
            if to_weight is None:
                to_weight = errors.t() @ low[rows]
            else:
                to_weight.addmm_(errors.t(), low[rows])
        assert to_weight is not None
        return to_states.to(ctx.given[0]), to_weight.to(ctx.given[1]), None


def logit_memory(
    vocabulary: int, width: int, rows: int, size: int, trained: bool
) -> tuple[float, float]:
    """Bytes of a pass over `rows` tokens on a GPU: (kept for its backward pass, at work beside).

    vocabulary, width  of the head's matrix; `size` bytes per value of the arithmetic
    trained            whether the matrix is
    """
    chunk = min(rows, max(1, CHUNK_BYTES["cuda"] // (4 * vocabulary)))
    held = 2 if chunk < rows else 1  # probabilities in float32, of this chunk and of the one before
    forward = chunk * vocabulary * (size + 4 * held)
    if not trained:
        return rows * width * size, forward
    kept = min(rows * vocabulary * size, KEEP_BYTES)
    gradient = vocabulary * width * size
    again = forward if kept < rows * vocabulary * size else 0
    return kept, max(forward, gradient + again)


def _computed(states: torch.Tensor, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Both in the type of the arithmetic: that of mixed precision, else of the weights."""
    kind = states.device.type
    mixed = torch.is_autocast_enabled(kind)
    dtype = torch.get_autocast_dtype(kind) if mixed else weight.dtype
    return states.to(dtype), weight.to(dtype)


def _chunks(states: torch.Tensor, matrix: torch.Tensor) -> Iterator[slice]:
    """Rows that are worked on together."""
    size = max(1, CHUNK_BYTES.get(states.device.type, 1 << 28) // (4 * matrix.shape[0]))
    for start in range(0, len(states), size):
        yield slice(start, min(start + size, len(states)))


def _nll(
    states: torch.Tensor, matrix: torch.Tensor, targets: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """(n,) NLL and (n, V) log-probabilities, float32."""
    with torch.autocast(states.device.type, enabled=False):
        logits = states @ matrix.t()
    found = torch.log_softmax(logits, -1, dtype=torch.float32)
    return -found.gather(1, targets[:, None]).squeeze(1), found


def _less_one(probability: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """softmax(z) - e_y, in place."""
    ones = torch.ones_like(targets, dtype=probability.dtype)[:, None]
    return probability.scatter_add_(1, targets[:, None], -ones)


def _errors(
    kept: torch.Tensor, states: torch.Tensor, matrix: torch.Tensor, targets: torch.Tensor
) -> Iterator[tuple[slice, torch.Tensor]]:
    """(rows, softmax - e_y of them): of what was kept, then of what is computed again."""
    if len(kept):
        rows = slice(0, len(kept))
        yield rows, _less_one(kept, targets[rows])
    rest = states[len(kept) :]
    for part in _chunks(rest, matrix):
        rows = slice(part.start + len(kept), part.stop + len(kept))
        probability = _nll(states[rows], matrix, targets[rows])[1].exp_()
        yield rows, _less_one(probability, targets[rows]).to(matrix.dtype)
