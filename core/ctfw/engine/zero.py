"""DeepSpeed's ZeRO: its settings, and its shards of the optimizer without pickle.

Mixed precision with Adam takes 16 bytes per parameter: 2 for the weight, 2 for its gradient, and
4 each for the float32 weight and both moments (Rajbhandari et al. 2020, arXiv 1910.02054, 3.1).
ZeRO-1 divides the last 12 among the processes, ZeRO-2 also the gradient, ZeRO-3 also the weight;
with `offload: optimizer` the 12 lie in the memory of the host. For a step DeepSpeed copies its
share of the gradients to float32, 4 bytes per parameter more, which is in its own estimators too.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

import torch
from accelerate.utils import DeepSpeedPlugin

from ctfw import processes
from ctfw.engine.spawn import free_port
from ctfw.errors import DEEPSPEED, BadCheckpoint, MissingPackage
from ctfw.settings import Training

_SCALER = "loss_scaler"
_PLAIN = (torch.Tensor, int, float, bool, str, type(None))


def zero_plugin(training: Training, *, on_cpu: bool) -> DeepSpeedPlugin:
    """Accelerate's settings of DeepSpeed. Raises MissingPackage."""
    if on_cpu:
        os.environ["DS_ACCELERATOR"] = os.environ["ACCELERATE_TORCH_DEVICE"] = "cpu"
    _quiet()
    try:
        import deepspeed
    except ImportError as error:
        raise MissingPackage(
            f"training.engine is {training.engine!r}, which needs DeepSpeed; run: {DEEPSPEED}, or "
            "set training.engine to accelerate"
        ) from error
    _quiet()
    if on_cpu:
        _without_compilation(deepspeed)
    _one_process()
    plugin = DeepSpeedPlugin(
        zero_stage=int(training.engine[-1]),
        gradient_accumulation_steps=training.gradient_accumulation,
        gradient_clipping=training.clip_norm,
        offload_optimizer_device="cpu" if training.offload == "optimizer" else "none",
    )
    # Accelerate reads the batch size off a DataLoader, which our plan takes the place of. torch's
    # own AdamW serves on the host: that of DeepSpeed wants a compiler and the CUDA toolkit.
    plugin.deepspeed_config |= {
        "train_micro_batch_size_per_gpu": training.batch_size,
        "zero_force_ds_cpu_optimizer": False,
        "zero_allow_untested_optimizer": True,
    }
    return plugin


def build_whole() -> None:
    """Let transformers build and load models whole.

    Accelerate tells it to divide them from the start, and whoever touches a weight before the
    engine does, as to start a tower or to load adapters, finds it empty.
    """
    from transformers.integrations import unset_hf_deepspeed_config

    unset_hf_deepspeed_config()


def _quiet() -> None:
    """Warnings only: DeepSpeed tells its whole configuration otherwise, in every process."""
    os.environ.setdefault("DS_LOG_LEVEL", "warning")
    for name in ("DeepSpeed", "deepspeed"):
        logging.getLogger(name).setLevel(logging.ERROR)


def _without_compilation(deepspeed: Any) -> None:
    """Leave out the communication op that DeepSpeed compiles for CPUs, for minutes and in silence.

    gloo takes its place; that is said, because nobody expects speed of it.
    """
    known = getattr(deepspeed.ops, "__compatible_ops__", {})
    known["deepspeed_shm_comm"] = False
    known["shm_comm"] = False


def _one_process() -> None:
    """Tell DeepSpeed what a launcher would; without one it looks for MPI."""
    alone = {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1"}
    for name, value in {**alone, "MASTER_PORT": str(free_port())}.items():
        os.environ.setdefault(name, value)


def shard_of(zero: Any) -> dict[str, Any]:
    """What this process has of the optimizer: float32 weights, moments, and the loss scale.

    zero  DeepSpeed's optimizer, of any stage
    """
    kept = {key: value for key, value in zero.state_dict().items() if _is_plain(value)}
    scaler = getattr(zero, _SCALER, None)
    state = {key: value for key, value in vars(scaler).items() if _is_plain(value)}
    return {"zero": kept, _SCALER: state, "processes": processes.world()}


def restore_shard(zero: Any, shard: Mapping[str, Any]) -> None:
    """The inverse of `shard_of`. Raises BadCheckpoint for a shard of another model or engine."""
    own = zero.state_dict()
    if set(shard["zero"]) != {key for key, value in own.items() if _is_plain(value)}:
        raise BadCheckpoint("the optimizer's shards were written by another engine of DeepSpeed")
    scaler = getattr(zero, _SCALER, None)
    try:
        zero.load_state_dict([own | dict(shard["zero"])] * processes.world())
    except (RuntimeError, ValueError, KeyError, IndexError, AssertionError) as error:
        raise BadCheckpoint(f"the optimizer's shards do not fit this model: {error}") from error
    if scaler is not None:
        vars(scaler).update(shard[_SCALER])


def _is_plain(value: Any) -> bool:
    """Whether `torch.load` reads it with `weights_only`."""
    if isinstance(value, Mapping):
        return all(_is_plain(key) and _is_plain(item) for key, item in value.items())
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return type(value) in _PLAIN or isinstance(value, torch.Tensor)
