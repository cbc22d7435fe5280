"""One closed form gives the temporal positions everywhere, whatever the library rounds to.

Pairs of slices lie at their mean position; time = first visual position + round(|mm from the
first pair| / mm_per_position). The references here are loops over the stock class.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from library_positions import library_positions

from ctfw.settings import Generation
from ctfw.testing.data import REPORTS
from ctfw.types import Volume
from ctfw_plugins.backbones import qwen25_vl
from ctfw_plugins.backbones.configs import Lora, Qwen25VLConfig
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL
from ctfw_plugins.backbones.seen import Seen

Scan = Callable[..., Volume]
SPACINGS = (0.75, 1.0, 1.25, 1.5, 3.0, 5.0)
UNEVEN = (0.0, 3.0, 12.0, 15.0, 50.0, 70.0)
TEXT = "Pleural effusion is observed on the right."
MM_PER_POSITION = 1.5


def closed_form(mm: Sequence[float]) -> list[int]:
    """Offsets of the pairs of slices at these positions."""
    pairs = [(mm[i] + mm[i + 1]) / 2 for i in range(0, len(mm), 2)]
    return [math.floor(abs(pair - pairs[0]) / MM_PER_POSITION + 0.5) for pair in pairs]


def slices_of(mm: Sequence[float] | float, scan: Scan) -> tuple[Volume, list[float]]:
    """A scan with its slices evenly `mm` apart, or at the positions `mm`."""
    if isinstance(mm, float):
        return scan(10, mm, 1), [i * mm for i in range(10)]
    volume = scan(len(mm), 3.0, 2)
    return volume.but(positions_mm=np.array(mm)), list(mm)


@pytest.mark.parametrize("mm", [*SPACINGS, UNEVEN])
def test_training_reads_the_closed_form(
    mm: float | Sequence[float], backbone: Qwen25VL, scan: Scan
) -> None:
    volume, places = slices_of(mm, scan)
    image = backbone.encode(volume)
    batch = backbone.batch([image], [TEXT])
    time = batch["positions"][0, 0][batch["visual"][0]]
    before = int(batch["visual"][0].nonzero().min())
    offsets = [before + offset for offset in closed_form(places)]
    per_patch = image.count // len(offsets)
    assert time.tolist() == [offset for offset in offsets for _ in range(per_patch)]
    assert len(set(offsets)) == len(offsets)


@pytest.mark.parametrize("mm", [*SPACINGS, UNEVEN])
def test_generation_reads_the_closed_form_padded_on_the_left(
    mm: float | Sequence[float],
    backbone: Qwen25VL,
    scan: Scan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    volume, places = slices_of(mm, scan)
    images = [backbone.encode(scan(14, 3.0, 3)), backbone.encode(volume)]
    seen: list[torch.Tensor] = []
    language = backbone.model.language
    original = language.forward

    def spy(*args: object, **kwargs: torch.Tensor) -> object:
        seen.append(kwargs["position_ids"].clone())
        return original(*args, **kwargs)

    monkeypatch.setattr(language, "forward", spy)
    backbone.generate(images, Generation(max_new_tokens=1))
    prompt = backbone.batch(images, [TEXT] * 2)
    length = int(prompt["prefix"][1])
    mine = seen[0][:, 1, -length:]
    assert seen[0].shape[2] > length, "the other image must be longer for padding to be there"
    visual = prompt["visual"][1, :length]
    before = int(visual.nonzero().min())
    offsets = [before + offset for offset in closed_form(places)]
    assert sorted(set(mine[0][visual].tolist())) == offsets
    after = length - before - int(visual.sum())
    assert int(mine[0, -1]) == int(mine[:, :-after].max()) + after


def without_cache(backbone: Qwen25VL, image: Seen, count: int) -> list[int]:
    """Greedy tokens, each from a full pass of the stock class over all that is there so far."""
    prompt = backbone.batch([image], [TEXT])
    length = int(prompt["prefix"][0])
    ids = prompt["ids"][:, :length]
    positions = prompt["positions"][:, :, :length]
    for _ in range(count):
        with torch.no_grad():
            logits = backbone.model.qwen(
                input_ids=ids,
                pixel_values_videos=prompt["patches"],
                video_grid_thw=prompt["grid"],
                position_ids=positions,
                mm_token_type_ids=(ids == backbone.processor.video_token_id).int() * 2,
                use_cache=False,
            ).logits
        ids = torch.cat([ids, logits[:, -1:].argmax(-1)], dim=1)
        positions = torch.cat(
            [positions, positions[:, :, -1:].amax(0)[None].expand(3, 1, 1) + 1], 2
        )
    return [int(token) for token in ids[0, length:]]


def written_by(
    backbone: Qwen25VL, images: list[Seen], count: int, monkeypatch: pytest.MonkeyPatch
) -> list[list[int]]:
    """Token ids of `generate`, which keeps keys and values and pads on the left."""
    found: list[torch.Tensor] = []
    original = qwen25_vl.write_reports

    def spy(*args: object) -> tuple[torch.Tensor, torch.Tensor]:
        written, ended = original(*args)  # type: ignore[arg-type]
        found.append(written)
        return written, ended

    monkeypatch.setattr(qwen25_vl, "write_reports", spy)
    monkeypatch.setattr(backbone, "_stop", -1)
    backbone.generate(images, Generation(max_new_tokens=count))
    return [[int(token) for token in row] for row in found[0]]


def test_cache_batch_and_padding_change_no_token(
    backbone: Qwen25VL, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    volumes = [slices_of(mm, scan)[0] for mm in (0.75, 1.25, UNEVEN, 5.0)]
    images = [backbone.encode(volume) for volume in volumes]
    expected = [without_cache(backbone, image, 8) for image in images]
    assert len({tuple(row) for row in expected}) > 1
    assert written_by(backbone, images, 8, monkeypatch) == expected


def test_adapters_and_their_merging_leave_the_positions_alone(
    config: Qwen25VLConfig, backbone: Qwen25VL, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    adapted = Qwen25VL(config.model_copy(update={"lora": Lora(rank=4, alpha=8, dropout=0.0)}))
    adapted.build(REPORTS, 3)
    torch.manual_seed(1)
    with torch.no_grad():
        for name, weight in adapted.module().named_parameters():
            if "lora_B" in name:
                weight.normal_(0, 0.2)
    adapted.module().eval()
    images = [adapted.encode(slices_of(mm, scan)[0]) for mm in (1.25, UNEVEN)]
    batch = adapted.batch(images, [TEXT] * 2)
    assert torch.equal(batch["positions"], backbone.batch(images, [TEXT] * 2)["positions"])
    before = written_by(adapted, images, 8, monkeypatch)
    merged = copy.deepcopy(adapted.model.qwen)
    for layer in merged.modules():
        if hasattr(layer, "merge") and hasattr(layer, "lora_A"):
            layer.merge()
    adapted.model.qwen = merged
    assert [without_cache(adapted, image, 8) for image in images] == before


@pytest.mark.parametrize("seconds", [0.2, 0.3, 0.45])
def test_library_merges_neighbours_where_ours_stay_apart(
    seconds: float, backbone: Qwen25VL, scan: Scan
) -> None:
    """`get_rope_index` cuts time to whole positions: below one position per patch it gives
    neighbouring patches the same. We neither call it nor take its answer."""
    image = backbone.encode(scan(10, 1.0))
    batch = backbone.batch([image], [TEXT])
    theirs = library_positions(backbone.model.qwen, batch, [seconds])
    visual = batch["visual"][0]
    assert len(set(theirs[0, 0][visual].tolist())) < 5
    assert len(set(batch["positions"][0, 0][visual].tolist())) == 5


def test_nothing_asks_the_library_for_positions(
    backbone: Qwen25VL, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*args: object, **kwargs: object) -> None:
        raise AssertionError("the library's positions were asked for")

    for name in ("get_rope_index", "compute_3d_position_ids"):
        if hasattr(backbone.model.qwen.model, name):
            monkeypatch.setattr(backbone.model.qwen.model, name, never)
    images = [backbone.encode(scan(4)), backbone.encode(scan(8))]
    backbone.forward(images, [TEXT] * 2)
    backbone.forward_pair(images, images[::-1], [TEXT] * 2)
    backbone.generate(images, Generation(max_new_tokens=2))
