"""A scan for a model that runs elsewhere: slices as PNG in a chat, or as frames of a video.

Both go through 8 bits per channel, so a served model sees 256 grey values where the checkpoint in
this process sees the HU themselves.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

from ctfw.endpoint import Message, image_part
from ctfw.types import Volume
from ctfw_plugins.backbones.configs import Qwen25VLConfig
from ctfw_plugins.backbones.patches import to_channels
from ctfw_plugins.backbones.processor import HUProcessor, prompt_text

_PER_SECOND = 2  # temporal positions per second of the released Qwen2.5-VL models


def frames(volume: Volume, channels: str) -> np.ndarray:
    """(slices, rows, columns, 3) uint8 of a preprocessed volume."""
    values = to_channels(volume, channels).transpose(0, 2, 3, 1)
    return np.rint(values * 255).astype(np.uint8)


def conversation(volume: Volume, config: Qwen25VLConfig) -> list[Message]:
    """The system message; then the slices as PNG, from first to last, and the prompt."""
    parts: list[Any] = [image_part(_png(frame)) for frame in frames(volume, config.channels)]
    parts.append({"type": "text", "text": config.prompt})
    system = [{"role": "system", "content": config.system}] if config.system else []
    return [*system, {"role": "user", "content": parts}]


def _png(frame: np.ndarray) -> bytes:
    grey = bool((frame[..., :1] == frame).all())
    file = io.BytesIO()
    Image.fromarray(frame[..., 0] if grey else frame).save(file, "PNG")
    return file.getvalue()


def video_request(volume: Volume, config: Qwen25VLConfig, processor: HUProcessor) -> dict[str, Any]:
    """Prompt and video for vLLM's `LLM.generate`.

    vLLM makes the temporal positions itself: positions per second times seconds per patch. With
    this `fps` neighbouring patches of two slices each are 2 * distance / mm_per_position apart, as
    in training where the slices are evenly spaced; where they are not, their mean distance counts.
    """
    mm = np.asarray(volume.slice_positions_mm, np.float64)
    step = float(np.abs(np.diff(mm)).mean()) if len(mm) > 1 else config.mm_per_position
    return {
        "prompt": prompt_text(processor, config.system, config.prompt),
        "multi_modal_data": {"video": frames(volume, config.channels)},
        "mm_processor_kwargs": {
            "fps": _PER_SECOND * config.mm_per_position / step,
            "do_sample_frames": False,
            "do_resize": False,
        },
    }
