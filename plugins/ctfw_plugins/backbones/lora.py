"""Low-rank adapters (LoRA, arXiv 2106.09685) on the language model, kept in peft's own format.

The layers are put into the model in place, so that its parts stay where training and generation
look for them. Adapters that silently do nothing after a library renamed a module have cost people
whole trainings, so every key of a file must find its place, and every place its key.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn
from transformers import Qwen2_5_VLForConditionalGeneration

from ctfw.errors import BadCheckpoint, MissingPackage
from ctfw_plugins.backbones.configs import Lora

ADAPTER = "adapter_model.safetensors"
BESIDE = "trained.safetensors"
_NAME = "default"  # of the one adapter inside peft's layers
_PREFIX = "base_model.model."  # of every key in peft's files
Weights = Mapping[str, torch.Tensor]


def add_adapters(qwen: Qwen2_5_VLForConditionalGeneration, lora: Lora, seed: int) -> None:
    """Put adapters that change nothing yet into the language model, and freeze all else.

    Adapters are float32 whatever the weights are, as peft has them. Raises MissingPackage.
    """
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise MissingPackage(
            "backbone.lora needs peft, which is not installed; run: pip install 'peft>=0.18', or "
            "set backbone.lora to null"
        ) from error
    qwen.requires_grad_(False)
    settings = LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        # The vision tower has projections of the same names.
        target_modules=rf".*language_model\.layers\..*\.({'|'.join(lora.targets)})",
        bias="none",
        # By a task peft would look for the base among the models of text alone, and refuse it.
        task_type=None,
        auto_mapping={
            "base_model_class": Qwen2_5_VLForConditionalGeneration.__name__,
            "parent_library": Qwen2_5_VLForConditionalGeneration.__module__,
        },
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        inject_adapter_in_model(settings, qwen)
    for name, weight in qwen.named_parameters():
        if ".lora_" in name:
            weight.data = weight.data.float()
            weight.requires_grad_(True)


def has_adapters(qwen: nn.Module) -> bool:
    return bool(getattr(qwen, "peft_config", None))


def adapter_of(weights: Weights) -> dict[str, torch.Tensor]:
    """The adapters among a model's weights, under the names of peft's files."""
    return {
        _PREFIX + name.replace(f".{_NAME}.", "."): weight
        for name, weight in weights.items()
        if ".lora_" in name
    }


def base_of(weights: Weights) -> dict[str, torch.Tensor]:
    """The weights without the adapters, under the names that the plain model has."""
    return {
        name.replace(".base_layer.", "."): weight
        for name, weight in weights.items()
        if ".lora_" not in name
    }


def save_adapter(folder: Path, qwen: Any, base: str, weights: Weights) -> None:
    """Adapters as peft writes them: `PeftModel` and `AutoPeftModel` read the folder.

    base     what stock tools should put them on: a folder or a hub id
    weights  of the model, by name
    """
    folder.mkdir(parents=True, exist_ok=True)
    settings = qwen.peft_config[_NAME]
    settings.base_model_name_or_path = base
    trained, settings.inference_mode = settings.inference_mode, True
    settings.save_pretrained(folder)
    settings.inference_mode = trained
    _write(folder / ADAPTER, adapter_of(weights))


def save_beside(folder: Path, weights: Weights) -> None:
    """What was trained besides the adapters, under its own names."""
    _write(folder / BESIDE, weights)


def _write(file: Path, weights: Weights) -> None:
    held = {name: weight.detach().cpu().contiguous() for name, weight in weights.items()}
    save_file(held, file, metadata={"format": "pt"})


def load_adapter(folder: Path, qwen: nn.Module) -> None:
    """Fill the adapters from peft's file. Raises BadCheckpoint naming what does not fit."""
    weights = dict(qwen.named_parameters())
    places = {key: weights[name] for name, key in _keys(weights)}
    _fill(folder / ADAPTER, places, "adapter weights", complete=True)


def load_beside(folder: Path, qwen: nn.Module) -> set[str]:
    """Put back what was trained besides the adapters; its names. Raises BadCheckpoint."""
    if not (folder / BESIDE).is_file():
        return set()
    return _fill(folder / BESIDE, qwen.state_dict(keep_vars=True), "weights", complete=False)


def _keys(weights: Weights) -> Iterator[tuple[str, str]]:
    """(name in the model, name in peft's file) of each adapter weight."""
    for name in weights:
        if ".lora_" in name:
            yield name, _PREFIX + name.replace(f".{_NAME}.", ".")


def _fill(file: Path, places: Weights, what: str, *, complete: bool) -> set[str]:
    try:
        held = load_file(file)
    except (OSError, SafetensorError) as error:
        raise BadCheckpoint(f"{file} cannot be read: {error}") from error
    unexpected = [key for key in held if key not in places]
    missing = [key for key in places if key not in held] if complete else []
    if unexpected or missing:
        told = [f"{len(missing)} are missing, e.g. {missing[0]}"] if missing else []
        told += [f"{len(unexpected)} have no place, e.g. {unexpected[0]}"] if unexpected else []
        raise BadCheckpoint(f"{file}: of the {what}, {' and '.join(told)}; nothing was loaded")
    for key, value in held.items():
        if value.shape != places[key].shape:
            raise BadCheckpoint(
                f"{file}: {key} has the shape {tuple(value.shape)}, the model needs "
                f"{tuple(places[key].shape)}; nothing of it is used"
            )
    with torch.no_grad():
        for key, value in held.items():
            places[key].copy_(value)
    return set(held)


@torch.no_grad()
def merge_adapters(qwen: nn.Module) -> int:
    """Add every adapter to the matrix under it and take the adapters out; how many there were.

    The sum W + (alpha / rank) B A is made in float32 and rounded once to the type of W.
    """
    from peft.tuners.lora import LoraLayer

    found: list[tuple[str, Any]] = [
        (name, layer) for name, layer in qwen.named_modules() if isinstance(layer, LoraLayer)
    ]
    for name, layer in found:
        plain = layer.get_base_layer()
        update = layer.lora_B[_NAME].weight.float() @ layer.lora_A[_NAME].weight.float()
        merged = plain.weight.float() + layer.scaling[_NAME] * update
        plain.weight.copy_(merged.to(plain.weight.dtype))
        parent, _, last = name.rpartition(".")
        setattr(qwen.get_submodule(parent), last, plain)
    if found:
        del qwen.peft_config
    return len(found)
