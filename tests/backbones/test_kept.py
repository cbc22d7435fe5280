"""Visual tokens of Qwen2.5-VL on disk."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ctfw.engine.features import CachingBackbone, FeatureStore
from ctfw.testing.data import REPORTS
from ctfw.types import Volume
from ctfw_plugins.backbones.configs import Qwen25VLConfig
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL

Scan = Callable[..., Volume]
TEXT = "Heart size is normal."


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_tokens_from_disk_are_those_that_the_tower_gave(
    dtype: str, config: Qwen25VLConfig, scan: Scan, tmp_path: Path
) -> None:
    backbone = Qwen25VL(config.model_copy(update={"dtype": dtype}))
    backbone.build(REPORTS, 3)
    assert isinstance(backbone, CachingBackbone)
    key = backbone.features_key()
    assert key is not None
    store = FeatureStore(backbone, key, tmp_path, begin=True)
    seen = backbone.see([backbone.encode(scan(5, 3.0, 1)), backbone.encode(scan(8, 1.5, 2))])
    for number, image in enumerate(seen):
        store.put(str(number), image)
        kept = store.get(str(number))
        assert kept is not None
        assert kept.tokens.dtype == getattr(torch, dtype)
        assert torch.equal(kept.tokens, image.tokens)  # type: ignore[arg-type]
        assert kept.grid == image.grid
        assert kept.offsets.tolist() == image.offsets.tolist()
    with torch.no_grad():
        before = backbone.forward(seen, [TEXT] * 2).nll
        kept = [store.get(str(number)) for number in range(2)]
        assert torch.equal(backbone.forward(kept, [TEXT] * 2).nll, before)


def test_key_follows_tower_and_settings_and_not_the_language_model(
    backbone: Qwen25VL, config: Qwen25VLConfig
) -> None:
    key = backbone.features_key()
    again = Qwen25VL(config)
    again.build(REPORTS, 3)
    assert again.features_key() == key
    for changes in ({"channels": "windows"}, {"mm_per_position": 3.0}):
        other = copy.copy(backbone)
        other.config = config.model_copy(update=changes)
        assert other.features_key() != key
    with torch.no_grad():
        next(again.model.language.parameters()).add_(1)
        assert again.features_key() == key
        next(again.tower.parameters()).view(-1)[0] += 1e-3
    assert again.features_key() != key


def test_tensors_that_do_not_belong_together_are_refused(backbone: Qwen25VL, scan: Scan) -> None:
    packed = backbone.pack(backbone.see([backbone.encode(scan(4))])[0])
    with pytest.raises(ValueError, match="3 tokens on a grid of 2 x 4 x 2"):
        backbone.unpack({**packed, "tokens": packed["tokens"][:3]})
    with pytest.raises(KeyError):
        backbone.unpack({"tokens": packed["tokens"]})
