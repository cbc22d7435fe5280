"""Visual tokens to disk and back, and what they depend on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from ctfw.engine.features import hash_of, weights_hash
from ctfw_plugins.backbones.configs import Qwen25VLConfig
from ctfw_plugins.backbones.seen import Seen, tokens_of

if TYPE_CHECKING:
    from ctfw_plugins.backbones.report_model import ReportModel


class Kept:
    """A part of `Qwen25VL`: `ctfw.contracts.CachingBackbone`."""

    config: Qwen25VLConfig
    model: ReportModel

    def features_key(self) -> str | None:
        """Of the tower's weights with their types, the channels and the scale of positions."""
        weights = weights_hash(self.model.tower)
        if weights is None:
            return None
        return hash_of([weights, self.config.channels, repr(self.config.mm_per_position)])

    def pack(self, image: Seen) -> dict[str, torch.Tensor]:
        """Visual tokens as the tower gave them, grid and temporal positions."""
        return {
            "tokens": tokens_of(image),
            "grid": torch.tensor(image.grid),
            "offsets": torch.from_numpy(image.offsets),
        }

    def unpack(self, tensors: Mapping[str, torch.Tensor]) -> Seen:
        """Raises KeyError or ValueError for tensors that do not belong together."""
        t, h, w = (int(size) for size in tensors["grid"])
        image = Seen((t, h, w), tensors["offsets"].numpy(), tokens=tensors["tokens"])
        if len(tokens_of(image)) != image.count or len(image.offsets) != t:
            raise ValueError(f"{len(tensors['tokens'])} tokens on a grid of {t} x {h} x {w}")
        return image
