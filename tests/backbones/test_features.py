"""The image's embedding knows nothing of the report, and the report's nothing of the image."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ctfw.errors import BadData
from ctfw.types import Volume
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL

REPORTS = ["Effusion on the left.", "No effusion. The heart is enlarged, with a nodule."]


def test_report_alone_gets_no_gradient_from_the_image_nor_gives_it_one(
    backbone: Qwen25VL, scan: Callable[..., Volume]
) -> None:
    image = backbone.encode(scan())
    tower = list(backbone.tower.parameters())
    alone = backbone.text_alone(REPORTS)
    told = torch.autograd.grad(alone.sum(), tower, allow_unused=True)
    assert all(each is None for each in told)
    under = backbone.forward([image] * 2, REPORTS).embeddings["text"]
    leak = torch.autograd.grad(under.sum(), tower, allow_unused=True)
    assert any(each is not None and each.any() for each in leak)  # why "text" would not do


def test_image_embedding_is_the_same_under_any_report(
    backbone: Qwen25VL, scan: Callable[..., Volume]
) -> None:
    images = [backbone.encode(scan(seed=1))] * 2
    with torch.no_grad():
        embeddings = backbone.forward(images, REPORTS).embeddings
    assert torch.allclose(embeddings["image"][0], embeddings["image"][1], atol=1e-6)
    assert not torch.allclose(embeddings["text"][0], embeddings["text"][1], atol=1e-3)


def test_report_alone_does_not_depend_on_the_batch(backbone: Qwen25VL) -> None:
    with torch.no_grad():
        both = backbone.text_alone(REPORTS)
        single = torch.cat([backbone.text_alone([report]) for report in REPORTS])
    assert both.shape == (2, 64)
    assert torch.allclose(both, single, atol=1e-5)
    with pytest.raises(BadData, match="empty report"):
        backbone.text_alone([" "])


def test_image_features_are_the_mean_visual_token_before_and_after_the_tower(
    backbone: Qwen25VL, scan: Callable[..., Volume]
) -> None:
    raw = [backbone.encode(scan(seed=seed)) for seed in (0, 1)]
    seen = backbone.see(raw)
    mixed = backbone.image_features([raw[0], seen[1]])
    assert mixed.shape == (2, 64)
    assert mixed.dtype == np.float32
    with torch.no_grad():
        expected = [tokens.mean(0).numpy() for tokens in backbone.visual_tokens(raw)]
    np.testing.assert_allclose(mixed, expected, atol=1e-5)
