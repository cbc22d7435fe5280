"""The tensors of anchors and their negatives, with what they share made once.

A pair is read in several passes: the positives together, then the negatives in groups. A pass can
be left out of the backward pass without the others noticing, which is worth it where the loss of
its negatives sits at a bound. On the way:

- an image that occurs more than once in a step passes the vision tower once (negatives from the
  same batch), and the passes pick their visual tokens from where they were computed first;
- a negative on the anchor's grid has the anchor's token ids, so their embeddings are shared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from ctfw.types import StepOutput
from ctfw_plugins.backbones.seen import Seen

GROUP_TOKENS = 1024
"""Negatives that are differentiated, or left out, together: few where the sequences are long and a
pass of one keeps the device busy, all of a batch where they are short."""

Batch = dict[str, Any]
Text = Callable[[Sequence[Seen], Sequence[str]], Batch]
Sights = Callable[[Sequence[Seen]], Batch]


def pair_batches(
    text: Text,
    sights: Sights,
    images: Sequence[Seen],
    negatives: Sequence[Seen],
    reports: Sequence[str],
) -> list[Batch]:
    """The positives' batch, then one for each group of negatives, in the order of the anchors.

    text    images and reports -> ids, positions, masks
    sights  images -> what the tower reads, or the visual tokens
    Beside those a batch has `pick` and `calls` where its visual tokens come from several towers'
    calls, and `like`, the rows of the positives whose token ids are its own.
    """
    first = text(images, reports)
    calls = _Calls(first["ids"].device)
    batches = [first | calls.of(images, sights)]
    for start, stop in _groups(negatives, first):
        batch = text(negatives[start:stop], reports[start:stop])
        if _same_ids(batch["ids"], first["ids"][start:stop]):
            batch["like"] = (start, stop)
        batches.append(batch | calls.of(negatives[start:stop], sights))
    return batches


def as_outputs(found: Sequence[Mapping[str, torch.Tensor]]) -> list[StepOutput]:
    """What the module gave for each batch."""
    return [
        StepOutput(
            nll=out["nll"],
            answer=out["answer"],
            embeddings={key: out[key] for key in ("image", "text")},
        )
        for out in found
    ]


@dataclass
class _Calls:
    """Where the visual tokens of each image stand: (call of the tower, first row in it)."""

    device: torch.device
    places: dict[int, tuple[int, int]] = field(default_factory=dict)
    sizes: list[int] = field(default_factory=list)

    def of(self, images: Sequence[Seen], sights: Sights) -> Batch:
        """What a pass over `images` adds to the calls, and where it finds its visual tokens."""
        number, size = len(self.sizes), 0
        new: list[Seen] = []
        for image in images:
            if id(image) not in self.places:
                self.places[id(image)] = (number, size)
                size += image.count
                new.append(image)
        self.sizes.append(size)
        batch = sights(new) if new else {}
        if len(new) < len(images):
            batch |= self._picked(images)
        return batch

    def _picked(self, images: Sequence[Seen]) -> Batch:
        used = sorted({self.places[id(image)][0] for image in images})
        begins = {call: sum(self.sizes[c] for c in used if c < call) for call in used}
        rows = []
        for image in images:
            call, row = self.places[id(image)]
            rows.append(torch.arange(image.count) + begins[call] + row)
        return {"calls": tuple(used), "pick": torch.cat(rows).to(self.device)}


def _groups(negatives: Sequence[Seen], first: Batch) -> Iterator[tuple[int, int]]:
    """Consecutive negatives of about GROUP_TOKENS in all; a longer one is a group of its own."""
    size = max(1, GROUP_TOKENS // first["ids"].shape[1])
    for start in range(0, len(negatives), size):
        yield start, min(start + size, len(negatives))


def _same_ids(ids: torch.Tensor, others: torch.Tensor) -> bool:
    length = ids.shape[1]
    return length <= others.shape[1] and torch.equal(ids, others[:, :length])
