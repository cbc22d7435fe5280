"""One vector of an image that no report touches, and one of a report that no image touches.

Samplers mine with the first, and a contrast between images and reports needs both: the mean hidden
state of a report that was read under its image would give the image away.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ctfw_plugins.backbones.seen import Seen

if TYPE_CHECKING:
    from ctfw_plugins.backbones.report_model import ReportModel


class Features:
    """A part of `Qwen25VL`."""

    model: ReportModel

    if TYPE_CHECKING:

        def visual_tokens(self, images: Sequence[Seen]) -> list[torch.Tensor]: ...
        def report_ids(self, report: str) -> list[int]: ...

    @property
    def device(self) -> torch.device:
        return next(self.model.parameters()).device

    @torch.no_grad()
    def image_features(self, images: Sequence[Seen]) -> np.ndarray:
        """(B, D) float32, the mean visual token of each image, encoded or seen."""
        raw = [image for image in images if image.tokens is None]
        computed = iter(self.visual_tokens(raw) if raw else ())
        tokens = [next(computed) if each.tokens is None else each.tokens for each in images]
        return np.stack([each.float().mean(0).cpu().numpy() for each in tokens])

    def text_alone(self, reports: Sequence[str], module: Any = None) -> torch.Tensor:
        """(B, D) mean last hidden state of each report, read without prompt and image.

        `module` is the engine's wrapped form of `module()`. Raises BadData for an empty report.
        """
        rows = [self.report_ids(report) for report in reports]
        ids = torch.zeros(len(rows), max(map(len, rows)), dtype=torch.long)
        alone = torch.zeros(ids.shape, dtype=torch.bool)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = torch.tensor(row)
            alone[i, : len(row)] = True
        batch = {"ids": ids.to(self.device), "alone": alone.to(self.device)}
        found: torch.Tensor = (module or self.model)(batch)[0]["text-alone"]
        return found
