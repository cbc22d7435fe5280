"""Temporal positions are millimetres, in training and in generation alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from library_positions import library_positions

from ctfw.errors import BadData
from ctfw.settings import Generation
from ctfw.types import Volume
from ctfw_plugins.backbones.positions import rope_positions, temporal_offsets
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL

Scan = Callable[..., Volume]


@pytest.mark.parametrize(
    ("step_mm", "expected"),
    [  # pairs of slices lie two steps apart; one position is 1.5 mm
        (0.75, [0, 1, 2, 3, 4]),
        (1.0, [0, 1, 3, 4, 5]),
        (1.25, [0, 2, 3, 5, 7]),
        (1.5, [0, 2, 4, 6, 8]),
        (3.0, [0, 4, 8, 12, 16]),
        (5.0, [0, 7, 13, 20, 27]),
    ],
)
def test_offsets_are_rounded_millimetres(step_mm: float, expected: list[int]) -> None:
    positions = np.arange(10) * step_mm
    assert temporal_offsets(positions, 2, 1.5).tolist() == expected


def test_uneven_slices_keep_their_distances() -> None:
    # Pairs at 1.5, 13.5 and 60 mm: 0, 12 and 58.5 mm from the first.
    assert temporal_offsets([0, 3, 12, 15, 50, 70], 2, 1.5).tolist() == [0, 8, 39]


def test_offsets_do_not_depend_on_the_origin_or_the_direction() -> None:
    there = temporal_offsets([0, 3, 12, 15, 50, 70], 2, 1.5)
    assert temporal_offsets(-300.5 - np.array([0, 3, 12, 15, 50, 70]), 2, 1.5).tolist() == (
        there.tolist()
    )


def test_neighbours_that_would_merge_are_refused() -> None:
    with pytest.raises(BadData) as caught:
        temporal_offsets(np.arange(10) * 0.25, 2, 1.5)
    assert str(caught.value) == (
        "slices 0.50 mm apart share one temporal position at mm_per_position = 1.5; set "
        "backbone.mm_per_position to at most 0.50"
    )
    assert temporal_offsets(np.arange(10) * 0.25, 2, 0.5).tolist() == [0, 1, 2, 3, 4]


# Whole seconds per patch: transformers before 5.18 cuts them to whole ones.
@pytest.mark.parametrize("step_mm", [1.5, 3.0, 4.5])
def test_image_has_the_positions_of_transformers(
    backbone: Qwen25VL, scan: Scan, step_mm: float
) -> None:
    image = backbone.encode(scan(8, step_mm))
    batch = backbone.batch([image], ["No lung nodule."])
    per_second = backbone.model.qwen.config.vision_config.tokens_per_second
    seconds = 2 * step_mm / 1.5 / per_second
    ours, theirs = batch["positions"], library_positions(backbone.model.qwen, batch, [seconds])
    until = int(batch["visual"][0].nonzero().max()) + 1
    assert torch.equal(ours[:, :, :until], theirs[:, :, :until])
    # Behind the image the library counts on from its rows and columns alone, so that text runs
    # into the positions of late slices. Ours starts behind the last slice, as in the paper.
    rows, columns = image.token_grid[1:]
    before = until - image.count
    assert int(theirs[0, 0, until]) == before + max(rows, columns)
    assert int(ours[0, 0, until]) == int(ours[:, 0, :until].max()) + 1


def test_text_positions_are_equal_on_all_axes_and_step_by_one() -> None:
    made = rope_positions(3, np.array([0, 4]), (2, 3), 4)
    assert made.shape == (3, 3 + 12 + 4)
    assert made[:, :3].tolist() == [[0, 1, 2]] * 3
    assert made[0, 3:15].tolist() == [3] * 6 + [7] * 6
    assert made[1, 3:15].tolist() == [3, 3, 3, 4, 4, 4] * 2
    assert made[2, 3:15].tolist() == [3, 4, 5] * 4
    assert made[:, 15:].tolist() == [[8, 9, 10, 11]] * 3


def seen_by_the_decoder(
    backbone: Qwen25VL, monkeypatch: pytest.MonkeyPatch
) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """(positions, attention) of every call of the language model from now on."""
    calls: list[tuple[torch.Tensor, torch.Tensor]] = []
    language = backbone.model.language
    original = language.forward

    def spy(*args: Any, **kwargs: Any) -> Any:
        calls.append((kwargs["position_ids"].clone(), kwargs["attention_mask"].clone()))
        return original(*args, **kwargs)

    monkeypatch.setattr(language, "forward", spy)
    return calls


def test_generation_goes_on_where_training_would(
    backbone: Qwen25VL, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    images = [backbone.encode(scan(4, 3.0, 1)), backbone.encode(scan(8, 1.0, 2))]
    text = "Pleural effusion is observed on the right. No lung nodule."
    batch = backbone.batch(images, [text, text])
    monkeypatch.setattr(backbone, "_stop", -1)  # nothing ends a report before its limit
    calls = seen_by_the_decoder(backbone, monkeypatch)
    backbone.generate(images, Generation(max_new_tokens=6))
    prompt, attention = calls[0]
    assert attention.sum(1).tolist() == [int(p) for p in batch["prefix"]]
    for i, prefix in enumerate(batch["prefix"].tolist()):
        trained = batch["positions"][:, i]
        assert torch.equal(prompt[:, i, -prefix:], trained[:, :prefix])
        written = [int(call[0][axis, i, 0]) for axis in range(3) for call in calls[1:]]
        assert written == trained[:, prefix : prefix + 5].flatten().tolist()


def test_odd_number_of_slices_repeats_the_last(backbone: Qwen25VL, scan: Scan) -> None:
    image = backbone.encode(scan(5, 3.0))
    assert image.grid[0] == 3
    assert image.offsets.tolist() == [0, 4, 7]  # pairs at 1.5, 7.5 and 12 mm
