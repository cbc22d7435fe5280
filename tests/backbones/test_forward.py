"""The teacher-forced pass: the numbers of the plain way at a fraction of its memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch.nn.functional import cross_entropy

from ctfw.errors import BadData
from ctfw.testing.data import REPORTS
from ctfw.types import Volume
from ctfw_plugins.backbones.configs import Qwen25VLConfig
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL

Scan = Callable[..., Volume]
LONG = "Pleural effusion is observed on the right. No lung nodule was detected."
SHORT = "Heart size is normal."


def plain_logits(backbone: Qwen25VL, batch: dict[str, torch.Tensor]) -> torch.Tensor:
    """(B, L, vocabulary) by the stock model on token ids and pixels, positions given."""
    return backbone.model.qwen(
        input_ids=batch["ids"],
        pixel_values_videos=batch["patches"],
        video_grid_thw=batch["grid"],
        position_ids=batch["positions"],
        mm_token_type_ids=batch["visual"].int() * 2,
        use_cache=False,
    ).logits


def gradients(backbone: Qwen25VL, loss: torch.Tensor) -> dict[str, torch.Tensor]:
    module = backbone.module()
    module.zero_grad()
    loss.backward()
    found = {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()
    return found


def test_nll_is_that_of_full_logits(backbone: Qwen25VL, scan: Scan) -> None:
    images = [backbone.encode(scan(4, 3.0, 1)), backbone.encode(scan(8, 1.5, 2))]
    batch = backbone.batch(images, [LONG, SHORT])
    output = backbone.forward(images, [LONG, SHORT])
    with torch.no_grad():
        logits = plain_logits(backbone, batch)
    for i, prefix in enumerate(batch["prefix"].tolist()):
        count = int(batch["answer"][i].sum())
        targets = batch["ids"][i, prefix : prefix + count]
        expected = cross_entropy(
            logits[i, prefix - 1 : prefix - 1 + count], targets, reduction="none"
        )
        torch.testing.assert_close(output.nll[i, :count], expected, rtol=1e-5, atol=1e-5)
        assert not output.nll[i, count:].any()
        assert output.answer[i].sum() == count


def test_loss_and_gradients_are_those_of_the_stock_model(backbone: Qwen25VL, scan: Scan) -> None:
    image = backbone.encode(scan(4, 3.0, 1))
    batch = backbone.batch([image], [LONG])
    stock = backbone.model.qwen(
        input_ids=batch["ids"],
        pixel_values_videos=batch["patches"],
        video_grid_thw=batch["grid"],
        position_ids=batch["positions"],
        mm_token_type_ids=batch["visual"].int() * 2,
        labels=batch["ids"].masked_fill(~batch["answer"], -100),
        use_cache=False,
    ).loss
    ours = backbone.forward([image], [LONG]).per_case().mean()
    torch.testing.assert_close(ours, stock, rtol=1e-5, atol=1e-5)
    theirs, mine = gradients(backbone, stock), gradients(backbone, ours)
    assert set(mine) == set(theirs)
    assert any("visual" in name for name in mine)
    for name, gradient in theirs.items():
        torch.testing.assert_close(mine[name], gradient, rtol=1e-4, atol=1e-5, msg=name)


def test_only_report_and_end_of_turn_are_answers(backbone: Qwen25VL, scan: Scan) -> None:
    image = backbone.encode(scan())
    batch = backbone.batch([image], [SHORT])
    tokenizer = backbone.processor.tokenizer
    answer = batch["ids"][0][batch["answer"][0]].tolist()
    assert tokenizer.decode(answer) == SHORT + "<|im_end|>"
    prompt = tokenizer.decode(batch["ids"][0][~batch["answer"][0]].tolist())
    assert prompt.startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>")
    assert prompt.endswith("<|im_start|>assistant\n")
    assert prompt.count("<|video_pad|>") == image.count == int(batch["visual"].sum())
    assert "Write the radiology report of this chest CT." in prompt


def test_padding_changes_nothing(backbone: Qwen25VL, scan: Scan) -> None:
    images = [backbone.encode(scan(n, seed=n)) for n in (4, 8, 6)]
    reports = [SHORT, LONG, SHORT + " " + LONG]
    with torch.no_grad():
        together = backbone.forward(images, reports).per_case()
        alone = [backbone.forward([i], [r]).per_case()[0] for i, r in zip(images, reports)]
    torch.testing.assert_close(together, torch.stack(alone), rtol=1e-5, atol=1e-5)


def test_computed_tokens_give_the_same_as_patches(backbone: Qwen25VL, scan: Scan) -> None:
    images = [backbone.encode(scan(n, seed=n)) for n in (4, 8)]
    seen = backbone.see(images)
    assert all(image.patches is None for image in seen)
    assert [tuple(image.tokens.shape) for image in seen] == [(4, 64), (8, 64)]  # type: ignore[union-attr]
    with torch.no_grad():
        fresh = backbone.forward(images, [LONG, SHORT])
        cached = backbone.forward(seen, [LONG, SHORT])
    torch.testing.assert_close(cached.nll, fresh.nll, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(cached.embeddings["image"], fresh.embeddings["image"])


def test_visual_tokens_carry_gradient_and_fit_their_grid(backbone: Qwen25VL, scan: Scan) -> None:
    image = backbone.encode(scan(4))
    (tokens,) = backbone.visual_tokens([image])
    t, rows, columns = backbone.token_grid(image)
    assert (t, rows, columns) == (2, 2, 1)
    assert tokens.shape == (t * rows * columns, 64)
    found = gradients(backbone, tokens.square().sum())
    assert all("visual" in name for name in found)


def test_image_changes_the_likelihood(backbone: Qwen25VL, scan: Scan) -> None:
    with torch.no_grad():
        one, other = (
            backbone.forward([backbone.encode(scan(4, seed=seed))], [LONG]).nll for seed in (1, 2)
        )
    assert (one - other).abs().max() > 1e-3


def test_slice_distance_changes_the_likelihood(backbone: Qwen25VL, scan: Scan) -> None:
    with torch.no_grad():
        near, far = (
            backbone.forward([backbone.encode(scan(4, step, 1))], [LONG]).nll for step in (1.5, 5.0)
        )
    assert (near - far).abs().max() > 1e-4


def test_embeddings_are_one_row_per_case(backbone: Qwen25VL, scan: Scan) -> None:
    images = [backbone.encode(scan(4, seed=i)) for i in (1, 2)]
    output = backbone.forward(images, [LONG, SHORT])
    tokens = torch.stack(backbone.visual_tokens(images))
    torch.testing.assert_close(output.embeddings["image"], tokens.mean(1), rtol=1e-4, atol=1e-5)
    assert output.embeddings["text"].shape == (2, 64)


def test_empty_report_is_refused(backbone: Qwen25VL, scan: Scan) -> None:
    with pytest.raises(BadData, match="a case has an empty report"):
        backbone.forward([backbone.encode(scan())], [" \n"])


def test_sequence_that_the_model_does_not_read_is_refused_and_never_cut(
    config: Qwen25VLConfig, scan: Scan
) -> None:
    backbone = Qwen25VL(config)
    backbone.build(REPORTS, 3)
    image = backbone.encode(scan())
    length = backbone.batch([image], [LONG])["ids"].shape[1]
    for limit, fits in ((length, True), (length - 1, False)):
        backbone.model.qwen.config.text_config.max_position_embeddings = limit
        backbone._adopt(backbone.model.qwen, backbone.processor)
        if fits:
            assert backbone.forward([image], [LONG]).nll.shape[0] == 1
        else:
            with pytest.raises(BadData, match=f"a sequence of {length} tokens, and the model re"):
                backbone.forward([image], [LONG])
