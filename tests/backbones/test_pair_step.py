"""The step of a pair against plain passes of the stock model, with `labels` and -100.

The loss is that of the method: alpha CE_pos - beta min(CE_neg, max_loss), each CE the mean over
the tokens of a report, then over the reports.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ctfw.testing import tiny_cases
from ctfw.types import LossTerms, StepOutput, Volume
from ctfw_plugins.backbones import pair_batch
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL
from ctfw_plugins.backbones.seen import Seen
from ctfw_plugins.losses.bounded_contrast import BoundedContrast
from ctfw_plugins.losses.configs import BoundedContrastConfig, CrossEntropyConfig
from ctfw_plugins.losses.cross_entropy import CrossEntropy
from ctfw_plugins.stages.finetune import enable_checkpointing
from ctfw_plugins.stages.pairs import Pairs
from ctfw_plugins.stages.step import PairStep

Scan = Callable[..., Volume]
Gradients = dict[str, torch.Tensor]
LONG = "Pleural effusion is observed on the right. No lung nodule was detected."
SHORT = "Heart size is normal."
MIDDLE = "No lung nodule was detected. Heart size is normal."
ENGINE: Any = SimpleNamespace(backward=lambda total: total.backward())
BETA, NEVER, ALWAYS = 0.3, 1e6, 1e-6


@contextmanager
def collected(backbone: Qwen25VL) -> Iterator[Gradients]:
    """What the gradients are after the block."""
    module = backbone.module()
    module.zero_grad()
    found: Gradients = {}
    yield found
    found |= {n: p.grad.clone() for n, p in module.named_parameters() if p.grad is not None}
    module.zero_grad()


def stock_loss(backbone: Qwen25VL, image: Seen, report: str) -> torch.Tensor:
    """The mean cross-entropy of one report by the stock class, every logit made."""
    batch = backbone.batch([image], [report])
    loss: torch.Tensor = backbone.model.qwen(
        input_ids=batch["ids"],
        pixel_values_videos=batch["patches"],
        video_grid_thw=batch["grid"],
        position_ids=batch["positions"],
        mm_token_type_ids=batch["visual"].int() * 2,
        labels=batch["ids"].masked_fill(~batch["answer"], -100),
        use_cache=False,
    ).loss
    return loss


def reference(
    backbone: Qwen25VL, pair: Pairs, max_loss: float
) -> tuple[float, torch.Tensor, Gradients]:
    """(loss, the negatives' CE, gradients) of two plain passes per anchor."""
    reports = [anchor.report for anchor in pair.anchors]
    negatives = pair.negatives or []
    with collected(backbone) as found:
        pulled = [stock_loss(backbone, *each) for each in zip(pair.images, reports, strict=True)]
        pushed = [stock_loss(backbone, *each) for each in zip(negatives, reports, strict=True)]
        bounded = torch.stack(pushed).clamp(max=max_loss)
        total = torch.stack(pulled).mean() - BETA * bounded.mean()
        total.backward()
    return float(total.detach()), torch.stack(pushed).detach(), found


def of_step(
    backbone: Qwen25VL, pair: Pairs, loss: Any, engine: Any = ENGINE
) -> tuple[LossTerms, Gradients]:
    step = PairStep(backbone, backbone.module(), loss, engine, "tune")
    with collected(backbone) as found:
        terms = step(pair, 0.0)
    return terms, found


def bounded(max_loss: float) -> BoundedContrast:
    return BoundedContrast(BoundedContrastConfig(beta=BETA, max_loss=max_loss))


def same(mine: Gradients, theirs: Gradients) -> None:
    """Each tensor differs by less than 1e-5 of its norm."""
    assert set(mine) == set(theirs)
    for name, gradient in theirs.items():
        apart = float((mine[name] - gradient).norm())
        assert apart <= 1e-5 * float(gradient.norm()) + 1e-7, name


def pairs(backbone: Qwen25VL, scan: Scan, grids: str, count: int) -> Pairs:
    """Anchors of different lengths; their negatives on the same grids or on other ones."""
    cases = tiny_cases(count)
    reports = (LONG, SHORT, MIDDLE)
    anchors = [replace(c, report=r) for c, r in zip(cases, reports, strict=False)]
    slices = (4, 8, 6)
    others = slices if grids == "same" else (6, 4, 10)
    images = [backbone.encode(scan(slices[i], 3.0, i)) for i in range(count)]
    negatives = [backbone.encode(scan(others[i], 3.0, 9 + i)) for i in range(count)]
    return Pairs(0, anchors, images, negatives)


@pytest.mark.parametrize("grids", ["same", "other"])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("group_tokens", [1, 10_000])
@pytest.mark.parametrize("where", ["below the bound", "between", "at the bound"])
def test_loss_and_gradients_are_those_of_two_plain_passes(
    grids: str,
    count: int,
    group_tokens: int,
    where: str,
    backbone: Qwen25VL,
    scan: Scan,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(pair_batch, "GROUP_TOKENS", group_tokens)
    pair = pairs(backbone, scan, grids, count)
    _, pushed, _ = reference(backbone, pair, NEVER)
    limits = {"below the bound": NEVER, "between": float(pushed.mean()), "at the bound": ALWAYS}
    expected, _, theirs = reference(backbone, pair, limits[where])
    terms, mine = of_step(backbone, pair, bounded(limits[where]))
    assert float(terms.total) == pytest.approx(expected, rel=1e-5, abs=1e-5)
    assert not terms.total.requires_grad
    same(mine, theirs)


def test_without_negatives_it_is_plain_fine_tuning(backbone: Qwen25VL, scan: Scan) -> None:
    pair = replace(pairs(backbone, scan, "same", 1), negatives=None)
    with collected(backbone) as theirs:
        expected = stock_loss(backbone, pair.images[0], LONG)
        expected.backward()
    terms, mine = of_step(backbone, pair, CrossEntropy(CrossEntropyConfig()))
    assert float(terms.total) == pytest.approx(float(expected.detach()), rel=1e-5)
    same(mine, theirs)


class Passes:
    """Forward and backward passes of the first MLPs of both stacks, from now on.

    Checkpointing recomputes what is inside a layer: that counts as a forward pass.
    """

    def __init__(self, backbone: Qwen25VL, monkeypatch: pytest.MonkeyPatch) -> None:
        self.forward = {"language": 0, "tower": 0}
        self.backward = {"language": 0, "tower": 0}
        tower: Any = backbone.tower
        language: Any = backbone.model.language
        for name, layer in (("language", language.layers[0]), ("tower", tower.blocks[0])):
            monkeypatch.setattr(layer.mlp, "forward", self._watched(name, layer.mlp.forward))

    def _watched(self, name: str, original: Any) -> Any:
        def forward(*args: Any, **kwargs: Any) -> Any:
            self.forward[name] += 1
            out = original(*args, **kwargs)
            if out.requires_grad:
                out.register_hook(lambda _: self._came_back(name))
            return out

        return forward

    def _came_back(self, name: str) -> None:
        self.backward[name] += 1


@pytest.mark.parametrize("checkpointing", [False, True])
def test_negative_at_its_bound_is_read_once_and_not_differentiated(
    checkpointing: bool, backbone: Qwen25VL, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = pairs(backbone, scan, "same", 1)
    backbone = with_checkpointing(backbone) if checkpointing else backbone
    passes = Passes(backbone, monkeypatch)
    of_step(backbone, pair, bounded(ALWAYS))
    again = 1 if checkpointing else 0  # the positive is computed again on the way back
    assert passes.forward == {"language": 2 + again, "tower": 2 + again}
    assert passes.backward == {"language": 1, "tower": 1}
    of_step(backbone, pair, bounded(NEVER))
    assert passes.forward == {"language": 4 + 3 * again, "tower": 4 + 3 * again}
    assert passes.backward == {"language": 3, "tower": 3}


def with_checkpointing(backbone: Qwen25VL) -> Qwen25VL:
    """A copy that recomputes; the other keeps its activations."""
    made = copy.copy(backbone)
    made.model = copy.deepcopy(backbone.model)
    enable_checkpointing(made.module())
    made.module().train()
    return made


def test_gradient_checkpointing_changes_no_gradient(backbone: Qwen25VL, scan: Scan) -> None:
    pair = pairs(backbone, scan, "other", 3)
    _, theirs = of_step(backbone, pair, bounded(NEVER))
    _, mine = of_step(with_checkpointing(backbone), pair, bounded(NEVER))
    same(mine, theirs)


def test_only_the_group_at_its_bound_is_left_out(
    backbone: Qwen25VL, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_batch, "GROUP_TOKENS", 1)
    pair = pairs(backbone, scan, "same", 3)
    _, pushed, _ = reference(backbone, pair, NEVER)
    passes = Passes(backbone, monkeypatch)
    of_step(backbone, pair, bounded(0.999 * float(pushed.median())))
    assert passes.forward["language"] == 4
    assert passes.backward["language"] == 2


def test_images_of_a_batch_that_serve_each_other_pass_the_tower_once(
    backbone: Qwen25VL, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_batch, "GROUP_TOKENS", 1)
    pair = pairs(backbone, scan, "same", 3)
    pair = replace(pair, negatives=[pair.images[1], pair.images[2], pair.images[0]])
    _, pushed, theirs = reference(backbone, pair, NEVER)
    seen: list[int] = []
    original = backbone.model.see

    def spy(patches: torch.Tensor, grid: torch.Tensor) -> torch.Tensor:
        seen.append(len(grid))
        return original(patches, grid)

    monkeypatch.setattr(backbone.model, "see", spy)
    _, mine = of_step(backbone, pair, bounded(NEVER))
    assert seen == [3]
    same(mine, theirs)
    limit = 0.999 * float(pushed.median())
    expected = reference(backbone, pair, limit)[2]
    seen.clear()
    same(of_step(backbone, pair, bounded(limit))[1], expected)
    assert seen == [3]


def test_partner_of_two_anchors_passes_the_tower_once(
    backbone: Qwen25VL, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pair_batch, "GROUP_TOKENS", 1)
    pair = pairs(backbone, scan, "other", 3)
    assert pair.negatives is not None
    common, other = pair.negatives[:2]
    pair = replace(pair, negatives=[common, other, common])
    theirs = reference(backbone, pair, NEVER)[2]
    passes = Passes(backbone, monkeypatch)
    _, mine = of_step(backbone, pair, bounded(NEVER))
    assert passes.forward["tower"] == 3  # the positives; the first partner; the second
    same(mine, theirs)


def test_text_of_equal_grids_is_embedded_once(
    backbone: Qwen25VL, scan: Scan, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = backbone.model.qwen.get_input_embeddings()
    calls: list[int] = []
    original = table.forward

    def spy(ids: torch.Tensor) -> Any:
        calls.append(len(ids))
        return original(ids)

    monkeypatch.setattr(table, "forward", spy)
    of_step(backbone, pairs(backbone, scan, "same", 2), bounded(NEVER))
    assert calls == [2]
    calls.clear()
    of_step(backbone, pairs(backbone, scan, "other", 2), bounded(NEVER))
    assert calls == [2, 2]


def test_computed_visual_tokens_serve_both(backbone: Qwen25VL, scan: Scan) -> None:
    pair = pairs(backbone, scan, "same", 2)
    assert pair.negatives is not None
    seen = replace(pair, images=backbone.see(pair.images), negatives=backbone.see(pair.negatives))
    _, _, theirs = reference(backbone, pair, NEVER)
    _, mine = of_step(backbone, seen, bounded(NEVER))
    same(mine, {name: g for name, g in theirs.items() if "visual" not in name})


class Margin:
    """A third party's loss: it reads both likelihoods together, and both kinds of embedding."""

    uses_negative = True

    def __call__(
        self,
        positive: StepOutput,
        negative: StepOutput | None = None,
        reference: StepOutput | None = None,
        *,
        progress: float = 0.0,
    ) -> LossTerms:
        assert negative is not None
        gap = torch.relu(0.5 + positive.per_case() - negative.per_case())
        near = torch.cosine_similarity(positive.embeddings["text"], negative.embeddings["text"])
        seen = (positive.embeddings["image"] * negative.embeddings["image"]).sum(1)
        total = (positive.per_case() + gap + 0.2 * near + 0.01 * seen).mean()
        return LossTerms(total, {"loss": float(total.detach())})


def test_any_loss_gives_the_gradients_of_its_own_backward_pass(
    backbone: Qwen25VL, scan: Scan
) -> None:
    pair = pairs(backbone, scan, "other", 3)
    reports = [anchor.report for anchor in pair.anchors]
    with collected(backbone) as theirs:
        positive = backbone.forward(pair.images, reports)
        negative = backbone.forward(pair.negatives or [], reports)
        Margin()(positive, negative).total.backward()
    _, mine = of_step(backbone, pair, Margin())
    same(mine, theirs)


class Widest(TorchDispatchMode):
    """The most elements of a tensor that ends in the size of the vocabulary."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary, self.most = vocabulary, 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        for each in tree_leaves(out):
            if isinstance(each, torch.Tensor) and each.shape[-1:] == (self.vocabulary,):
                self.most = max(self.most, each.numel())
        return out


def test_logits_are_made_at_report_tokens_only(backbone: Qwen25VL, scan: Scan) -> None:
    pair = pairs(backbone, scan, "same", 1)
    length = backbone.batch(pair.images, [LONG])["ids"].shape[1]
    vocabulary = backbone.model.qwen.config.text_config.vocab_size
    answers = len(backbone.report_ids(LONG))
    assert answers < length
    with Widest(vocabulary) as widest:
        of_step(backbone, pair, bounded(NEVER))
    # The weights and their gradient end in the width of the model; what ends in the vocabulary
    # are logits and, turned around, the weights.
    width = backbone.model.qwen.config.text_config.hidden_size
    assert widest.most == max(answers, width) * vocabulary
    with Widest(vocabulary) as widest:
        reference(backbone, pair, NEVER)
    assert widest.most >= length * vocabulary
