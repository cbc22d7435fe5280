"""Tokenizer, chat template and slices of Qwen2.5-VL, without the library's processor class.

`Qwen2_5_VLProcessor` has changed with most releases of transformers, and its video half works only
where torchvision is installed. What a model reads must not depend on either.
"""

from __future__ import annotations

from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from ctfw_plugins.backbones.patches import HUVideoProcessor


@dataclass(frozen=True)
class HUProcessor:
    """What turns text and slices in HU into the input of the model."""

    tokenizer: PreTrainedTokenizerBase
    video_processor: HUVideoProcessor

    @property
    def video_token_id(self) -> int:
        token: int = self.tokenizer.convert_tokens_to_ids("<|video_pad|>")
        return token


def build_processor(tokenizer: PreTrainedTokenizerBase, channels: str) -> HUProcessor:
    """The processor of a tokenizer with its chat template; `channels` is grey or windows."""
    return HUProcessor(tokenizer, HUVideoProcessor(channels))


def prompt_text(processor: HUProcessor, system: str, prompt: str) -> str:
    """The conversation up to where the report begins; one `<|video_pad|>` marks the image."""
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": prompt}]},
    ]
    if not system:
        messages = messages[1:]
    text: str = processor.tokenizer.apply_chat_template(
        messages, tokenize=False, add_generation_prompt=True
    )
    return text
