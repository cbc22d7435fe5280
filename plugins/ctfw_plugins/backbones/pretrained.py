"""Reading a Qwen2.5-VL model from a folder or the hub, or saying what is wrong with it."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoTokenizer,
    PreTrainedTokenizerBase,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
)

from ctfw.errors import BadCheckpoint, MissingPackage, UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def read_pretrained(
    where: str, dtype: str, attention: str, *, local: bool
) -> tuple[Qwen2_5_VLForConditionalGeneration, PreTrainedTokenizerBase]:
    """Model and tokenizer; safetensors only, no remote code.

    local  never ask the hub
    Raises BadCheckpoint for a folder that is damaged or holds another architecture, UserError for
    a name that is neither a folder nor reachable on the hub, MissingPackage for an `attention`
    that is not installed.
    """
    if attention == "flash_attention_2" and find_spec("flash_attn") is None:
        raise MissingPackage(
            "backbone.attention is flash_attention_2, which needs the package flash-attn (and a "
            "GPU): install it, or set backbone.attention to sdpa"
        )
    options: dict[str, Any] = {"trust_remote_code": False, "local_files_only": local}
    try:
        # Without a config.json the model class would build its default, the full 7B.
        config = AutoConfig.from_pretrained(where, **options)
        if not isinstance(config, Qwen2_5_VLConfig):
            raise BadCheckpoint(
                f"{where} holds a model of type {config.model_type!r}, not a Qwen2.5-VL"
            )
        tokenizer = AutoTokenizer.from_pretrained(where, **options)
        qwen, report = Qwen2_5_VLForConditionalGeneration.from_pretrained(
            where,
            config=config,
            dtype=DTYPES[dtype],
            attn_implementation=attention,
            use_safetensors=True,
            output_loading_info=True,
            **options,
        )
    except (UserError, MemoryError):
        raise
    except Exception as error:  # what the readers raise for damaged files has no common base
        raise _wrong(where, error) from error
    misfits = [*report["missing_keys"], *report["unexpected_keys"]]
    if misfits:
        raise BadCheckpoint(
            f"{where}: {len(misfits)} weights do not fit the architecture, e.g. {misfits[0]}"
        )
    return qwen, tokenizer


def _wrong(where: str, error: Exception) -> UserError:
    reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    if Path(where).is_dir():
        return BadCheckpoint(f"{where} cannot be loaded as a Qwen2.5-VL model: {reason}")
    return UserError(
        f"backbone.weights: {where!r} is neither a local folder with a Qwen2.5-VL model nor "
        f"reachable on the hub ({reason})"
    )
