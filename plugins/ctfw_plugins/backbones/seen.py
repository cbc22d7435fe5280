"""One image between the scan and the language model."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Seen:
    """One image on its way into the model: patches before the tower, or tokens after it.

    grid     (T, h, w) of patches, before the 2 x 2 merge
    offsets  (T,) temporal positions in units of `mm_per_position`
    patches  (T*h*w, 1176), or None once the tower has run
    tokens   (T*h*w/4, D) visual tokens, or None
    """

    grid: tuple[int, int, int]
    offsets: np.ndarray
    patches: torch.Tensor | None = None
    tokens: torch.Tensor | None = None

    @property
    def token_grid(self) -> tuple[int, int, int]:
        """(T, rows, columns) of visual tokens."""
        t, h, w = self.grid
        return t, h // 2, w // 2

    @property
    def count(self) -> int:
        """Number of visual tokens."""
        return int(np.prod(self.token_grid))

    @property
    def nbytes(self) -> int:
        """Memory of the tensors that it holds."""
        return sum(t.nbytes for t in (self.patches, self.tokens) if t is not None)


def patches_of(image: Seen) -> torch.Tensor:
    if image.patches is None:
        raise ValueError("this image has only its visual tokens left; encode the volume again")
    return image.patches


def tokens_of(image: Seen) -> torch.Tensor:
    if image.tokens is None:
        raise ValueError("the visual tokens of this image have not been computed")
    return image.tokens
