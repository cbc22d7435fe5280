"""Positions as transformers makes them itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch


def library_positions(
    qwen: Any, batch: Mapping[str, torch.Tensor], seconds: Sequence[float]
) -> torch.Tensor:
    """(3, B, L) from `get_rope_index`; L reaches to the last token."""
    positions: torch.Tensor = qwen.model.get_rope_index(
        input_ids=batch["ids"],
        mm_token_type_ids=batch["visual"].int() * 2,
        video_grid_thw=batch["grid"],
        second_per_grid_ts=torch.tensor(seconds),
    )[0]
    return positions
