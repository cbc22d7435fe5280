"""What a case costs Qwen2.5-VL: from the settings and a configuration, without any weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from huggingface_hub import try_to_load_from_cache
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from ctfw.errors import BadData
from ctfw.model_plan import ModelPlan, Stack
from ctfw.types import Volume
from ctfw_plugins.backbones.answer_nll import logit_memory
from ctfw_plugins.backbones.configs import Lora, Qwen25VLConfig
from ctfw_plugins.backbones.patches import HUVideoProcessor
from ctfw_plugins.backbones.positions import temporal_offsets
from ctfw_plugins.backbones.pretrained import DTYPES
from ctfw_plugins.backbones.processor import build_processor, prompt_text
from ctfw_plugins.backbones.shape import random_config

_VISION = {"depth": 32, "hidden_size": 1280, "intermediate_size": 3420, "num_heads": 16}
RELEASED: dict[str, dict[str, Any]] = {
    # The config.json of the two models as released by Qwen.
    "Qwen/Qwen2.5-VL-3B-Instruct": {
        "vocab_size": 151936, "hidden_size": 2048, "intermediate_size": 11008,
        "num_hidden_layers": 36, "num_attention_heads": 16, "num_key_value_heads": 2,
        "max_position_embeddings": 128000, "tie_word_embeddings": True,
    },
    "Qwen/Qwen2.5-VL-7B-Instruct": {
        "vocab_size": 152064, "hidden_size": 3584, "intermediate_size": 18944,
        "num_hidden_layers": 28, "num_attention_heads": 28, "num_key_value_heads": 4,
        "max_position_embeddings": 128000, "tie_word_embeddings": False,
    },
}  # fmt: skip


def make_plan(
    config: Qwen25VLConfig,
    volume: Volume,
    make_tokenizer: Callable[[], PreTrainedTokenizerBase],
) -> ModelPlan:
    """The plan of one volume; `make_tokenizer` serves models of a random shape.

    Slices go two by two into a temporal patch, 14 x 14 pixels into a patch, and 2 x 2 patches into
    a visual token (Qwen2.5-VL, arXiv 2502.13923, section 2.1). Raises BadData for what `encode`
    would refuse: sizes that are no multiples of 28, slices that share a temporal position.
    """
    t, rows, columns = _grid(volume, config.mm_per_position)
    qwen, tokenizer, source = _known(config, make_tokenizer)
    return ModelPlan(
        grid=(t, rows, columns),
        patches=t * rows * columns * HUVideoProcessor.merge_size**2,
        bytes_per_parameter=DTYPES[config.dtype].itemsize,
        source=source,
        prompt_tokens=None if tokenizer is None else _prompt_tokens(tokenizer, config),
        count_tokens=None if tokenizer is None else _counter(tokenizer),
        weights_here=config.weights is None or _on_disk(config.weights),
        **({} if qwen is None else sizes_of(qwen, config.lora)),
    )


def _grid(volume: Volume, mm_per_position: float) -> tuple[int, int, int]:
    """(T, rows, columns) of visual tokens. Raises BadData as `encode` does."""
    pair = HUVideoProcessor.temporal_patch_size
    block = HUVideoProcessor.patch_size * HUVideoProcessor.merge_size
    slices, height, width = volume.array.shape
    if height % block or width % block:
        raise BadData(
            f"slices of {width} x {height} pixels do not fill {block}-pixel tokens; set size_px of "
            f"the `fit` step to multiples of {block}"
        )
    mm = np.asarray(volume.slice_positions_mm, np.float64)
    padded = np.append(mm, mm[-1:]) if slices % pair else mm
    temporal_offsets(padded, pair, mm_per_position)
    return len(padded) // pair, height // block, width // block


def _known(
    config: Qwen25VLConfig, make_tokenizer: Callable[[], PreTrainedTokenizerBase]
) -> tuple[Qwen2_5_VLConfig | None, PreTrainedTokenizerBase | None, str]:
    """(configuration, tokenizer, where they come from) without asking a hub."""
    if config.weights is None:
        tokenizer = make_tokenizer()
        return random_config(config.shape, tokenizer), tokenizer, "the recipe's random shape"
    local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
    qwen, tokenizer = None, None
    # What is not there, or is no such model, is told by the run; here it only leaves a gap.
    with suppress(Exception):
        tokenizer = AutoTokenizer.from_pretrained(config.weights, **local)
    with suppress(Exception):
        qwen = AutoConfig.from_pretrained(config.weights, **local)
    if isinstance(qwen, Qwen2_5_VLConfig):
        return qwen, tokenizer, f"the config.json of {config.weights}"
    if config.weights in RELEASED:
        return released(config.weights), tokenizer, f"the released shape of {config.weights}"
    return None, tokenizer, "unknown, because the weights are not on this machine"


def _on_disk(weights: str) -> bool:
    """Whether safetensors of a folder, or of a hub id that was downloaded before, are there."""
    folder = Path(weights).expanduser()
    if folder.is_dir():
        return any(folder.glob("*.safetensors"))
    names = ("model.safetensors", "model.safetensors.index.json")
    with suppress(ValueError):  # not the form of a hub id
        return any(isinstance(try_to_load_from_cache(weights, name), str) for name in names)
    return False


def released(name: str) -> Qwen2_5_VLConfig:
    text = RELEASED[name]
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=_VISION | {"out_hidden_size": text["hidden_size"]},
        tie_word_embeddings=text["tie_word_embeddings"],
    )


def sizes_of(qwen: Qwen2_5_VLConfig, lora: Lora | None) -> dict[str, Any]:
    """Parameters, counted on the meta device where tensors have a shape and no memory."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration._from_config(qwen)
    vision = sum(p.numel() for p in model.model.visual.parameters())
    text, image = qwen.text_config, qwen.vision_config
    return {
        "vision_parameters": vision,
        "language_parameters": sum(p.numel() for p in model.parameters()) - vision,
        "adapter_parameters": None if lora is None else _adapters(model, lora),
        "vision": Stack(image.depth, image.hidden_size, image.intermediate_size),
        "language": Stack(text.num_hidden_layers, text.hidden_size, text.intermediate_size),
        "vocabulary": text.vocab_size,
        "logit_memory": partial(logit_memory, text.vocab_size, text.hidden_size),
        "context_length": text.max_position_embeddings,
    }


def _adapters(model: Qwen2_5_VLForConditionalGeneration, lora: Lora) -> int:
    """Parameters of both matrices of each adapter: rank x (inputs + outputs)."""
    layers = model.model.language_model.layers.named_modules()
    chosen = [layer for name, layer in layers if name.rpartition(".")[2] in lora.targets]
    return sum(lora.rank * (layer.in_features + layer.out_features) for layer in chosen)


def _prompt_tokens(tokenizer: PreTrainedTokenizerBase, config: Qwen25VLConfig) -> int:
    processor = build_processor(tokenizer, config.channels)
    before, _, after = prompt_text(processor, config.system, config.prompt).partition(
        "<|video_pad|>"
    )
    ids = tokenizer([before, after], add_special_tokens=False)["input_ids"]
    return sum(map(len, ids))


def _counter(tokenizer: PreTrainedTokenizerBase) -> Callable[[Sequence[str]], list[int]]:
    def count(reports: Sequence[str]) -> list[int]:
        ids = tokenizer(list(reports), add_special_tokens=False)["input_ids"]
        return [len(each) + 1 for each in ids]

    return count
