"""Three-axis rotary positions (M-RoPE) whose temporal axis is millimetres.

Qwen2-VL, section 2.1 (arXiv 2409.12191): text tokens carry one position on all three axes, a
visual token carries (time, row, column) counted from where the text before it stopped, and the
text after it starts at the largest position used, plus one. Qwen2.5-VL (arXiv 2502.13923) ties
the time axis to seconds; here it is tied to millimetres along the scan axis. We compute the
positions ourselves, in training and in generation: library versions have dropped, truncated or
restarted them between the two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ctfw.errors import BadData


def temporal_offsets(
    slice_positions_mm: Sequence[float] | np.ndarray, frames_per_patch: int, mm_per_position: float
) -> np.ndarray:
    """(T,) integer temporal offsets of the patches of `frames_per_patch` slices each.

    A patch lies at the mean position of its slices; offset = |mm from the first patch| divided by
    `mm_per_position`, rounded. Raises BadData when rounding would merge two neighbours.
    """
    mm = np.asarray(slice_positions_mm, dtype=np.float64)
    patches = mm.reshape(-1, frames_per_patch).mean(axis=1)
    offsets = np.rint(np.abs(patches - patches[0]) / mm_per_position).astype(np.int64)
    if len(offsets) > 1 and not (np.diff(offsets) > 0).all():
        step = float(np.abs(np.diff(patches)).min())
        raise BadData(
            f"slices {step:.2f} mm apart share one temporal position at mm_per_position = "
            f"{mm_per_position}; set backbone.mm_per_position to at most {step:.2f}"
        )
    return offsets


def rope_positions(
    before: int, offsets: np.ndarray, grid_hw: tuple[int, int], after: int
) -> np.ndarray:
    """(3, before + T*h*w + after) positions on the axes (time, row, column).

    before   text tokens in front of the visual tokens
    offsets  (T,) from `temporal_offsets`
    grid_hw  rows and columns of visual tokens after the 2 x 2 merge
    after    text tokens behind them
    """
    rows, columns = grid_hw
    time, row, column = np.meshgrid(offsets, np.arange(rows), np.arange(columns), indexing="ij")
    visual = before + np.stack([time.ravel(), row.ravel(), column.ravel()])
    lead = np.broadcast_to(np.arange(before), (3, before))
    start = int(visual.max()) + 1
    tail = np.broadcast_to(np.arange(start, start + after), (3, after))
    return np.concatenate([lead, visual, tail], axis=1).astype(np.int64)
