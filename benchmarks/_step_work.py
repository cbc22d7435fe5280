"""The step of a pair, in the plain way and in ours: model, inputs, variants, operations."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch.nn.functional import cross_entropy
from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

from ctfw.types import Case, Volume
from ctfw_plugins.backbones.configs import Qwen25VLConfig
from ctfw_plugins.backbones.plan import released
from ctfw_plugins.backbones.processor import build_processor
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL
from ctfw_plugins.backbones.seen import Seen
from ctfw_plugins.backbones.tokenizer import train_tokenizer
from ctfw_plugins.losses.bounded_contrast import BoundedContrast
from ctfw_plugins.losses.configs import BoundedContrastConfig
from ctfw_plugins.stages.finetune import enable_checkpointing
from ctfw_plugins.stages.pairs import Pairs
from ctfw_plugins.stages.step import PairStep

VOCABULARY, SLICES, PIXELS, ANSWER = 151_936, 10, 224, 250
BETA = 0.1
SMALL: dict[str, Any] = {
    "text": {
        "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 10,
        "num_attention_heads": 12, "num_key_value_heads": 2,
    },
    "vision": {
        "depth": 8, "hidden_size": 640, "intermediate_size": 1712, "num_heads": 10,
        "fullatt_block_indexes": [3, 7],
    },
}  # fmt: skip
"""0.25 billion parameters, divided between vision tower, decoder and vocabulary much as in 3B."""
NAMES = {"3b": "Qwen/Qwen2.5-VL-3B-Instruct", "7b": "Qwen/Qwen2.5-VL-7B-Instruct"}
ENGINE: Any = SimpleNamespace(backward=lambda total: total.backward())


@dataclass(frozen=True)
class Work:
    """What is measured.

    shape          "0.25b", "3b" or "7b"
    checkpointing  activations are recomputed, in the plain way and in ours
    """

    shape: str
    device: str
    dtype: str
    checkpointing: bool = False
    slices: int = SLICES
    pixels: int = PIXELS
    answer: int = ANSWER


class Reader(Qwen25VL):
    """The backbone with reports of a given number of tokens."""

    def __init__(self, work: Work) -> None:
        super().__init__(Qwen25VLConfig(dtype=work.dtype))  # type: ignore[arg-type]
        tokenizer = train_tokenizer([self.config.system, self.config.prompt] * 50, 600)
        config = config_of(work.shape, tokenizer)
        torch.manual_seed(0)
        with torch.device(work.device):
            qwen = Qwen2_5_VLForConditionalGeneration._from_config(
                config, dtype=getattr(torch, work.dtype), attn_implementation="sdpa"
            )
        self._adopt(qwen, build_processor(tokenizer, "windows"))
        draws = np.random.default_rng(0)
        self._report = draws.integers(1000, VOCABULARY - 1000, work.answer).tolist()
        if work.checkpointing:
            enable_checkpointing(self.module())
        self.module().train()

    def report_ids(self, report: str) -> list[int]:
        return list(self._report)


def config_of(shape: str, tokenizer: Any) -> Qwen2_5_VLConfig:
    """The configuration of a shape, with the special tokens of `tokenizer`."""
    token = tokenizer.convert_tokens_to_ids
    config = released(NAMES[shape]) if shape in NAMES else small_config()
    config.image_token_id, config.video_token_id = token("<|image_pad|>"), token("<|video_pad|>")
    return config


def small_config() -> Qwen2_5_VLConfig:
    text = SMALL["text"] | {"vocab_size": VOCABULARY, "max_position_embeddings": 128_000}
    width = SMALL["text"]["hidden_size"]
    vision = SMALL["vision"] | {"out_hidden_size": width}
    half = width // SMALL["text"]["num_attention_heads"] // 2
    sections = [half - 2 * (half * 3 // 8), half * 3 // 8, half * 3 // 8]
    text["rope_parameters"] = {
        "rope_type": "default", "rope_theta": 1e6, "mrope_section": sections,
    }  # fmt: skip
    return Qwen2_5_VLConfig(text_config=text, vision_config=vision, tie_word_embeddings=True)


def pair_of(backbone: Reader, work: Work) -> Pairs:
    """One anchor, its image and another: noise, 3 mm between slices."""

    def image(seed: int) -> Seen:
        array = np.random.default_rng(seed).uniform(-1, 1, (work.slices, work.pixels, work.pixels))
        affine = np.diag([-1.0, -1.0, 3.0, 1.0])
        volume = Volume(array.astype(np.float32), affine, "normalised")
        return backbone.encode(volume.noting("window", "by 1000", divide_by=1000))

    anchor = Case("anchor", "patient", None, "report")  # type: ignore[arg-type]
    return Pairs(0, [anchor], [image(1)], [image(2)])


Step = Callable[[], float]


def plain(backbone: Reader, pair: Pairs, max_loss: float) -> Step:
    """Both images in one batch through the stock class, labels -100 outside the report, as
    `compute_loss` of a Trainer would."""
    qwen = backbone.model.qwen
    reports = [anchor.report for anchor in pair.anchors]
    batch = backbone.batch([*pair.images, *(pair.negatives or [])], reports * 2)
    labels = batch["ids"].masked_fill(~batch["answer"], -100)[:, 1:]
    count = (labels != -100).sum(1)

    def step() -> float:
        logits = qwen(
            input_ids=batch["ids"],
            pixel_values_videos=batch["patches"],
            video_grid_thw=batch["grid"],
            position_ids=batch["positions"],
            mm_token_type_ids=batch["visual"].int() * 2,
            use_cache=False,
        ).logits
        shifted = logits[:, :-1].float().transpose(1, 2)
        each = cross_entropy(shifted, labels, ignore_index=-100, reduction="none").sum(1) / count
        half = len(reports)
        loss = each[:half].mean() - BETA * each[half:].clamp(max=max_loss).mean()
        loss.backward()
        return float(loss.detach())

    return step


def ours(backbone: Reader, pair: Pairs, max_loss: float) -> Step:
    """The step of the stage `finetune`."""
    loss = BoundedContrast(BoundedContrastConfig(beta=BETA, max_loss=max_loss))
    made = PairStep(backbone, backbone.module(), loss, ENGINE, "benchmark")
    return lambda: float(made(pair, 0.0).total)


def seen(backbone: Reader, pair: Pairs) -> Pairs:
    """The pair with its visual tokens computed, the tower frozen."""
    backbone.tower.requires_grad_(False)
    return replace(
        pair, images=backbone.see(pair.images), negatives=backbone.see(pair.negatives or [])
    )


NEVER, ALWAYS = 1e6, 1e-6
VARIANTS: dict[str, tuple[Callable[[Reader, Pairs, float], Step], float, bool]] = {
    "plain": (plain, NEVER, False),
    "ours": (ours, NEVER, False),
    "ours, negative at its bound": (ours, ALWAYS, False),
    "ours, vision frozen and cached": (ours, NEVER, True),
    "ours, both": (ours, ALWAYS, True),
}
"""name -> (step, bound of the negative, whether the tower is frozen and its output cached)"""


def make(work: Work, name: str) -> tuple[Reader, Step]:
    """The backbone and the step of a variant."""
    backbone = Reader(work)
    pair = pair_of(backbone, work)
    kind, max_loss, frozen = VARIANTS[name]
    return backbone, kind(backbone, seen(backbone, pair) if frozen else pair, max_loss)


def gradient_errors(work: Work) -> dict[str, float]:
    """Below and at the bound: the largest difference between a tensor's gradients in the plain way
    and in ours, in norm and relative to the plain one. Raises ValueError where only one way has
    a gradient."""
    backbone = Reader(work)
    pair = pair_of(backbone, work)
    module = backbone.module()
    found = {}
    for where, max_loss in (("below the bound", NEVER), ("at the bound", ALWAYS)):
        gradients = []
        for way in (plain, ours):
            module.zero_grad(set_to_none=True)
            way(backbone, pair, max_loss)()
            named = ((n, p.grad) for n, p in module.named_parameters() if p.grad is not None)
            gradients.append(dict(named))
        theirs, mine = gradients
        if only := sorted(set(mine) ^ set(theirs)):
            raise ValueError(f"only one of the two ways has gradients of {only}")
        found[where] = max(
            float((mine[n].double() - g.double()).norm() / g.double().norm())
            for n, g in theirs.items()
            if g.any()
        )
    return found


def operations(backbone: Reader, work: Work, name: str) -> float:
    """Floating-point operations of a step that are needed: 2 per weight and position forward,
    twice that backward, and the attention scores; recomputation does not count."""
    _, max_loss, frozen = VARIANTS[name]
    qwen = backbone.model.qwen
    text, width = qwen.config.text_config, qwen.config.text_config.hidden_size
    image = pair_of(backbone, work).images[0]
    length = backbone.batch([image], ["report"])["ids"].shape[1]
    layers = sum(p.numel() for p in backbone.model.language.layers.parameters())
    scores = 2 * text.num_hidden_layers * length**2 * width  # causal: half of 4
    language = 2 * layers * length + scores + 2 * text.vocab_size * width * work.answer
    tower = sum(p.numel() for p in backbone.tower.parameters())
    vision = 0 if frozen else 2 * tower * int(np.prod(image.grid))
    negative = 1 if max_loss == ALWAYS and name != "plain" else 3
    return float((3 + negative) * (language + vision))


def product_rate(device: str, dtype: str, size: int = 4096) -> float:
    """Floating-point operations per second of a large matrix product here; on a CPU per CPU
    second, so that other work on the machine does not count."""
    clock = time.process_time if device == "cpu" else time.perf_counter
    kind = getattr(torch, dtype)
    size = size if device == "cpu" else 4 * size
    left, right = (torch.randn(size, size, dtype=kind, device=device) for _ in range(2))
    times = []
    for _ in range(3):
        synchronise(device)
        begin = clock()
        torch.mm(left, right)
        synchronise(device)
        times.append(clock() - begin)
    return 2 * size**3 / min(times)


def synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def length_of(backbone: Reader, work: Work) -> int:
    """Positions of one sequence."""
    return int(backbone.batch(pair_of(backbone, work).images, ["report"])["ids"].shape[1])


def machine() -> str:
    """The device and the processor, without a name of the machine."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9
    cpu = platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        found = re.search(r"^model name\s*:\s*(.+)$", info.read_text(encoding="utf-8"), re.M)
        cpu = found[1] if found else cpu
    gpu = f"{torch.cuda.get_device_name()}, " if torch.cuda.is_available() else ""
    return f"{gpu}{cpu}, {os.cpu_count()} cores, {memory:.0f} GB"
