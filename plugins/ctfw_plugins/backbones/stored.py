"""What a checkpoint of `qwen2.5-vl` holds, written and read back.

Trained as a whole: the model, its processor, and the settings that shape its input. With adapters:
those in peft's format, what was trained besides them, and the name and hash of the base that they
belong to; a base with random weights has no other home and lies inside, in `base/`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import try_to_load_from_cache
from transformers import PreTrainedTokenizerBase, Qwen2_5_VLForConditionalGeneration

from ctfw.errors import BadCheckpoint
from ctfw.local_models import weights_fingerprint
from ctfw_plugins.backbones import lora
from ctfw_plugins.backbones.configs import Qwen25VLConfig
from ctfw_plugins.backbones.pretrained import read_pretrained
from ctfw_plugins.backbones.processor import HUProcessor

FACTS = "ctfw_backbone.json"
INSIDE = "base"
_SHAPING = ("system", "prompt", "channels", "mm_per_position")
_FORMING = ("rank", "alpha", "targets")  # of the adapters: what their values mean depends on them


@dataclass(frozen=True)
class Base:
    """The weights under the adapters.

    weights      folder or hub id; "base" for a folder inside the checkpoint
    fingerprint  hash of its safetensors; empty for one inside
    """

    weights: str = INSIDE
    fingerprint: str = ""

    @classmethod
    def of(cls, weights: str | None) -> Base:
        """A base by the name that the recipe gives it; its files are on this machine."""
        if weights is None:
            return cls()
        return cls(weights, _fingerprint(weights) or "")


@dataclass(frozen=True)
class Read:
    """A model as a checkpoint has it. `beside`: names of what was trained besides adapters."""

    qwen: Qwen2_5_VLForConditionalGeneration
    tokenizer: PreTrainedTokenizerBase
    base: Base
    beside: frozenset[str] = frozenset()


def write(
    folder: Path,
    qwen: Qwen2_5_VLForConditionalGeneration,
    processor: HUProcessor,
    config: Qwen25VLConfig,
    base: Base,
    beside: frozenset[str],
    weights: lora.Weights,
) -> None:
    """Write a checkpoint. `beside` is what was trained before; what trains now is added to it."""
    folder.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {key: getattr(config, key) for key in _SHAPING}
    if config.lora is None:
        qwen.save_pretrained(folder, state_dict=dict(weights))
    else:
        facts["lora"] = config.lora.model_dump(include=set(_FORMING))
        facts["base"] = {"weights": base.weights, "fingerprint": base.fingerprint}
        lora.save_adapter(folder, qwen, base.weights, weights)
        trains = {name for name, p in qwen.named_parameters() if p.requires_grad}
        kept = {n: w for n, w in weights.items() if n in trains | beside and ".lora_" not in n}
        if kept:
            lora.save_beside(folder, kept)
        if base.weights == INSIDE:
            qwen.save_pretrained(folder / INSIDE, state_dict=lora.base_of(weights))
            processor.tokenizer.save_pretrained(folder / INSIDE)
    processor.tokenizer.save_pretrained(folder)
    (folder / FACTS).write_text(json.dumps(facts, indent=2))


def read(folder: Path, config: Qwen25VLConfig, seed: int) -> Read:
    """The model of a checkpoint, with adapters where `config` asks for them.

    A checkpoint that was trained as a whole becomes the base of new adapters. Raises BadCheckpoint
    when something is missing or differs.
    """
    facts = _facts(folder)
    written, held = facts.pop("lora", None), facts.pop("base", None)
    for key, value in facts.items():
        _same(folder, f"backbone.{key}", value, getattr(config, key, "nothing of it"))
    if written is None:
        qwen, tokenizer = read_pretrained(str(folder), config.dtype, config.attention, local=True)
        if config.lora is None:
            return Read(qwen, tokenizer, Base())
        lora.add_adapters(qwen, config.lora, seed)
        return Read(qwen, tokenizer, Base.of(str(folder.resolve())))
    if config.lora is None:
        raise BadCheckpoint(
            f"{folder} holds adapters, the recipe trains all weights: set backbone.lora, or merge "
            "them with `ctfw export CHECKPOINT --merged FOLDER` and name FOLDER in backbone.weights"
        )
    for key in _FORMING:
        _same(folder, f"backbone.lora.{key}", written.get(key), getattr(config.lora, key))
    base, where = _find(folder, Base(**held), config)
    inside = base.weights == INSIDE
    qwen, tokenizer = read_pretrained(where, config.dtype, config.attention, local=inside)
    if not inside and not _fits(base, fetched := _fingerprint(where)):
        raise _other(folder, base, {where: fetched})
    lora.add_adapters(qwen, config.lora, seed)
    lora.load_adapter(folder, qwen)
    return Read(qwen, tokenizer, base, frozenset(lora.load_beside(folder, qwen)))


def _facts(folder: Path) -> dict[str, Any]:
    file = folder / FACTS
    if not file.is_file():
        raise BadCheckpoint(f"{folder} is not a checkpoint of qwen2.5-vl: no {file.name}")
    try:
        return dict(json.loads(file.read_text(encoding="utf-8")))
    except ValueError as error:
        raise BadCheckpoint(f"{file} cannot be read: {error}") from error


def _same(folder: Path, setting: str, written: Any, own: Any) -> None:
    if own != written:
        raise BadCheckpoint(
            f"{folder} was trained with {setting} = {written!r}, the recipe says {own!r}"
        )


def _find(folder: Path, base: Base, config: Qwen25VLConfig) -> tuple[Base, str]:
    """(base, where it lies): where the checkpoint says, or where the recipe has it now."""
    if base.weights == INSIDE:
        return base, str(folder / INSIDE)
    seen = {}
    for place in dict.fromkeys(filter(None, (base.weights, config.weights))):
        found = _fingerprint(place)
        if _fits(base, found) or (found is None and not _is_folder(place)):
            return base, place  # a hub id that is not on this machine is fetched by its reader
        seen[place] = found
    raise _other(folder, base, seen)


def _fits(base: Base, found: str | None) -> bool:
    return found is not None and base.fingerprint in ("", found)


def _other(folder: Path, base: Base, seen: Mapping[str, str | None]) -> BadCheckpoint:
    there = ", ".join(f"{p} ({'hash ' + h if h else 'not there'})" for p, h in seen.items())
    return BadCheckpoint(
        f"the adapters of {folder} were trained on {base.weights} (hash {base.fingerprint}), found "
        f"is {there}: name the folder with those weights in backbone.weights"
    )


def _is_folder(weights: str) -> bool:
    return weights.startswith(("/", ".", "~")) or Path(weights).is_dir()


def _fingerprint(weights: str) -> str | None:
    """Hash of the safetensors of a folder, or of a hub id that was fetched before."""
    folder = Path(weights).expanduser()
    if not folder.is_dir():
        try:
            config = try_to_load_from_cache(weights, "config.json")
        except ValueError:  # not the form of a hub id
            return None
        if not isinstance(config, str):
            return None
        folder = Path(config).parent
    return weights_fingerprint(folder, (".safetensors",))
