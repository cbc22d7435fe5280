"""The real Qwen2.5-VL processor around our HU video processor."""

from __future__ import annotations

from typing import Any

from transformers import PreTrainedTokenizerBase, Qwen2_5_VLProcessor
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
from transformers.video_processing_utils import VideoProcessorMixin

from ctfw_plugins.backbones.patches import HUVideoProcessor


class HUProcessor(Qwen2_5_VLProcessor):
    """`Qwen2_5_VLProcessor` that works where torchvision is not installed.

    The stock class looks its video processor's base class up in `transformers`' top level, where
    it exists only together with torchvision.
    """

    def check_argument_for_proper_class(self, argument_name: str, argument: Any) -> Any:
        if argument_name != "video_processor":
            return super().check_argument_for_proper_class(argument_name, argument)
        if not isinstance(argument, VideoProcessorMixin):
            raise TypeError(f"{type(argument).__name__} is not a video processor")
        return VideoProcessorMixin


def build_processor(tokenizer: PreTrainedTokenizerBase, channels: str) -> HUProcessor:
    """The processor of a tokenizer: its chat template, and slices in HU instead of frames."""
    return HUProcessor(
        image_processor=Qwen2VLImageProcessorPil(),
        tokenizer=tokenizer,
        video_processor=HUVideoProcessor(channels=channels),
        chat_template=tokenizer.chat_template,
    )


def prompt_text(processor: HUProcessor, system: str, prompt: str) -> str:
    """The conversation up to where the report begins; one `<|video_pad|>` marks the image."""
    messages = [
        {"role": "system", "content": system},
        {"role": "user", "content": [{"type": "video"}, {"type": "text", "text": prompt}]},
    ]
    if not system:
        messages = messages[1:]
    return processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
