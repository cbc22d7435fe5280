"""The engine under the stages: Hugging Face Accelerate, with DeepSpeed where the recipe says so.

Device, mixed precision, gradient accumulation over processes and DeepSpeed's ZeRO come from
there; the loops stay plain Python that can be read from top to bottom.
"""

from __future__ import annotations

import math
import os
import socket
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import DeepSpeedPlugin

from ctfw.errors import MissingPackage, UserError
from ctfw.settings import Training

PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def make_accelerator(training: Training) -> Accelerator:
    """An accelerator of these settings. Raises UserError for a device that is not there."""
    if training.threads:
        torch.set_num_threads(training.threads)
    wanted = training.device
    if wanted.startswith("cuda") and not torch.cuda.is_available():
        raise UserError(
            f"training.device is {wanted!r}, but torch sees no GPU; set it to auto or cpu"
        )
    _forget()
    if ":" in wanted:
        torch.cuda.set_device(wanted)
    return Accelerator(
        cpu=wanted == "cpu",
        mixed_precision=PRECISION[training.precision],
        gradient_accumulation_steps=training.gradient_accumulation,
        deepspeed_plugin=_deepspeed(training),
    )


def _forget() -> None:
    """Accelerate keeps one state per process, and each stage has settings of its own.

    The process group of a distributed run stays as it is.
    """
    AcceleratorState._reset_state(reset_partial_state=not torch.distributed.is_initialized())
    GradientState._reset_state()


def _deepspeed(training: Training) -> Any:
    if not training.engine.startswith("deepspeed"):
        return None
    try:
        import deepspeed  # noqa: F401
    except ImportError as error:
        raise MissingPackage(
            f"training.engine is {training.engine!r}, which needs DeepSpeed; run: "
            "pip install 'ctfw[deepspeed]', or set training.engine to accelerate"
        ) from error
    _one_process()
    plugin = DeepSpeedPlugin(
        zero_stage=int(training.engine[-1]),
        gradient_accumulation_steps=training.gradient_accumulation,
        gradient_clipping=training.clip_norm,
    )
    # Accelerate reads the batch size off a DataLoader, which our plan takes the place of.
    plugin.deepspeed_config["train_micro_batch_size_per_gpu"] = training.batch_size
    return plugin


def _one_process() -> None:
    """Tell DeepSpeed what a launcher would; without one it looks for MPI."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**alone, "MASTER_PORT": str(port)}.items():
        os.environ.setdefault(name, value)


def learning_rate_at(training: Training, step: int, total: int) -> float:
    """Share of the peak learning rate at optimizer step `step` (from 0) of `total`."""
    warmup = int(training.warmup_ratio * total)
    if step < warmup:
        return (step + 1) / (warmup + 1)
    if training.schedule == "constant":
        return 1.0
    progress = (step - warmup) / max(1, total - warmup)
    if training.schedule == "linear":
        return max(0.0, 1.0 - progress)
    return 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))


def make_optimizer(module: torch.nn.Module, training: Training) -> torch.optim.AdamW:
    """AdamW over what is trainable; weight decay on matrices only, not on norms and biases."""
    trained = [p for p in module.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim >= 2], "weight_decay": training.weight_decay},
        {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=training.betas)
