"""The engine under the stages: Hugging Face Accelerate, with DeepSpeed where the recipe says so.

Device, mixed precision, gradient accumulation over processes and DeepSpeed's ZeRO come from
there; the loops stay plain Python that can be read from top to bottom.
"""

from __future__ import annotations

import math
import os

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState, GradientState
from accelerate.utils import InitProcessGroupKwargs

from ctfw import processes
from ctfw.engine.zero import build_whole, zero_plugin
from ctfw.errors import UserError
from ctfw.settings import Training

PRECISION = {"float32": "no", "bfloat16": "bf16", "float16": "fp16"}


def make_accelerator(training: Training, *, trains: bool = True) -> Accelerator:
    """An accelerator of these settings, on the GPU of this process or on the CPU.

    trains  without it nothing is optimised, and DeepSpeed stays out of it

    Raises UserError for a device that is not there, and where processes outnumber the GPUs.
    """
    if training.threads:
        torch.set_num_threads(training.threads)
    on_cpu = runs_on_cpu(training)
    _forget()
    if ":" in training.device:
        torch.cuda.set_device(training.device)
    zero = trains and training.engine.startswith("deepspeed")
    # Accelerate takes a CPU for one process when DeepSpeed is asked for, unless told how they meet.
    meeting = [InitProcessGroupKwargs(backend="gloo")] if on_cpu and zero else []
    made = Accelerator(
        cpu=on_cpu and not zero,
        mixed_precision=PRECISION[training.precision],
        gradient_accumulation_steps=training.gradient_accumulation,
        deepspeed_plugin=zero_plugin(training, on_cpu=on_cpu) if zero else None,
        kwargs_handlers=meeting,
    )
    if zero:
        build_whole()
    return made


def runs_on_cpu(training: Training) -> bool:
    """Whether this process trains on the CPU. Raises UserError for a GPU that is not there."""
    wanted = training.device
    gpus = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if wanted.startswith("cuda") and not gpus:
        raise UserError(
            f"training.device is {wanted!r}, but torch sees no GPU; set it to auto or cpu"
        )
    if wanted == "cpu" or not gpus:
        return True
    if processes.world() > 1 and ":" in wanted:
        raise UserError(
            f"training.device is {wanted!r}, but {processes.world()} processes need a GPU each; "
            "set it to auto, and choose among the GPUs with CUDA_VISIBLE_DEVICES"
        )
    if processes.local_rank() >= gpus:
        raise UserError(
            f"process {processes.local_rank()} of this machine has no GPU: torch sees {gpus}. "
            f"Use --nproc {gpus}, or training.device=cpu"
        )
    return False


def _forget() -> None:
    """Accelerate keeps one state per process, and each stage has settings of its own.

    The process group of a distributed run stays as it is.
    """
    os.environ.pop("ACCELERATE_USE_DEEPSPEED", None)
    AcceleratorState._reset_state(reset_partial_state=True)
    GradientState._reset_state()


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
    # A CPU that steps 4 billion parameters at a time wants the one-pass kernel.
    fused = True if training.offload == "optimizer" else None
    return torch.optim.AdamW(groups, lr=training.learning_rate, betas=training.betas, fused=fused)


def in_float32(module: torch.nn.Module) -> bool:
    """Hold what is trained in float32, in place; whether anything was not.

    bfloat16 keeps 8 bits: a step of 2e-5 on a weight of .02 is rounded away. The forward pass still
    runs in half precision where the settings say so (Micikevicius et al. 2018, arXiv 1710.03740).
    """
    half = (torch.bfloat16, torch.float16)
    found = [p for p in module.parameters() if p.requires_grad and p.dtype in half]
    for parameter in found:
        parameter.data = parameter.data.float()
    return bool(found)
