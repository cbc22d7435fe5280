"""Token ids, masks and positions of prompts with an image, with or without a report behind them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ctfw.errors import BadData
from ctfw_plugins.backbones.positions import rope_positions
from ctfw_plugins.backbones.seen import Seen

Tensors = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Prompt:
    """Token ids around the image, and the tokens that stand for it and for nothing.

    context  positions that the model was made for
    """

    before: Sequence[int]
    after: Sequence[int]
    video: int
    pad: int
    context: int

    def row(self, image: Seen) -> list[int]:
        """The prompt of an image."""
        return [*self.before, *[self.video] * image.count, *self.after]

    def positions(self, image: Seen, after: int) -> torch.Tensor:
        """(3, L) positions of the prompt's ids up to the image, and of `after` more."""
        made = rope_positions(len(self.before), image.offsets, image.token_grid[1:], after)
        return torch.from_numpy(made)

    def taught(self, images: Sequence[Seen], reports: Sequence[Sequence[int]]) -> Tensors:
        """The tensors of a teacher-forced pass, padded on the right.

        ids (B, L); positions (3, B, L); visual and answer (B, L) bool; prefix (B,) is the place of
        the first report token. Raises BadData for a sequence that the model does not read.
        """
        rows = [[*self.row(i), *report] for i, report in zip(images, reports, strict=True)]
        length = max(map(len, rows))
        if length > self.context:
            raise BadData(
                f"a sequence of {length:,} tokens, and the model reads {self.context:,}: fewer "
                "slices, a smaller size_px, or leave this case out"
            )
        ids = torch.full((len(rows), length), self.pad)
        positions = torch.zeros(3, len(rows), length, dtype=torch.long)
        answer = torch.zeros(len(rows), length, dtype=torch.bool)
        prefix = torch.tensor(
            [len(row) - len(report) for row, report in zip(rows, reports, strict=True)]
        )
        for i, (row, image) in enumerate(zip(rows, images, strict=True)):
            after = len(row) - len(self.before) - image.count
            ids[i, : len(row)] = torch.tensor(row)
            positions[:, i, : len(row)] = self.positions(image, after)
            answer[i, int(prefix[i]) : len(row)] = True
        visual = ids == self.video
        return {
            "ids": ids,
            "positions": positions,
            "answer": answer,
            "visual": visual,
            "prefix": prefix,
        }

    def asked(self, images: Sequence[Seen]) -> Tensors:
        """The tensors of prompts to go on from, padded on the left.

        ids, attention, visual (B, L); positions (3, B, L).
        """
        rows = [self.row(image) for image in images]
        length = max(map(len, rows))
        ids = torch.full((len(rows), length), self.pad)
        positions = torch.zeros(3, len(rows), length, dtype=torch.long)
        attention = torch.zeros(len(rows), length, dtype=torch.long)
        for i, (row, image) in enumerate(zip(rows, images, strict=True)):
            ids[i, length - len(row) :] = torch.tensor(row)
            positions[:, i, length - len(row) :] = self.positions(image, len(self.after))
            attention[i, length - len(row) :] = 1
        return {
            "ids": ids,
            "positions": positions,
            "attention": attention,
            "visual": ids == self.video,
        }
