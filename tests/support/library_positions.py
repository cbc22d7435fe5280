"""Positions as transformers makes them itself, under every version that ctfw runs with."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

import torch


def library_positions(
    qwen: Any, batch: Mapping[str, torch.Tensor], seconds: Sequence[float]
) -> torch.Tensor:
    """(3, B, L) from `get_rope_index`; L reaches to the last token.

    Later versions are told where the visual tokens are, earlier ones find them by their id.
    """
    options: dict[str, torch.Tensor] = {}
    if "mm_token_type_ids" in inspect.signature(qwen.model.get_rope_index).parameters:
        options["mm_token_type_ids"] = batch["visual"].int() * 2
    positions: torch.Tensor = qwen.model.get_rope_index(
        input_ids=batch["ids"],
        video_grid_thw=batch["grid"],
        second_per_grid_ts=torch.tensor(seconds),
        **options,
    )[0]
    return positions
