"""One model under training: the engine's form of it, its optimizer, and their state on disk."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from accelerate import Accelerator

from ctfw.engine.accelerator import in_float32, make_optimizer
from ctfw.engine.zero import restore_shard, shard_of
from ctfw.errors import BadCheckpoint, Diverged
from ctfw.settings import Training


class Optimised:
    """A module that the engine trains, in one process or in several.

    wrapped    the module as the engine calls it, for passes with gradients
    optimizer  Accelerate's form of AdamW over what is trainable
    """

    def __init__(self, module: torch.nn.Module, accelerator: Accelerator, training: Training):
        self.module, self.accelerator, self.training = module, accelerator, training
        self.zero_stage = int(training.engine[-1]) if training.engine[-1].isdigit() else 0
        self._widened = not self.zero_stage and in_float32(module)
        self.wrapped, self.optimizer = accelerator.prepare(module, make_optimizer(module, training))

    def step(self) -> float:
        """Clip, step and clear, where the accumulation is complete; the norm of the gradients.

        NaN between the steps. Raises UserError on a norm that is not a number, before the weights
        are touched (float16: such steps are skipped and the scale is lowered).
        """
        norm: Any = None
        if self.accelerator.sync_gradients:
            norm = self.accelerator.clip_grad_norm_(
                self.module.parameters(), self.training.clip_norm
            )
            if self.zero_stage:
                norm = self.wrapped.get_global_grad_norm()
            self._check(norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return float("nan") if norm is None else float(norm)

    def _check(self, norm: Any) -> None:
        if self.training.precision == "float16" or norm is None:
            return
        if not torch.isfinite(torch.as_tensor(norm)):
            raise Diverged(
                f"the gradients are not finite (norm {float(norm)}). Start a new run with a lower "
                "training.learning_rate; `ctfw resume` would repeat the same steps"
            )

    def state(self) -> dict[str, Any]:
        """What is the same in all processes: to be written once."""
        found: dict[str, Any] = {"weights": self._exact()}
        if not self.zero_stage:
            found["optimizer"] = self.optimizer.state_dict()
        if self.accelerator.scaler is not None:
            found["scaler"] = self.accelerator.scaler.state_dict()
        return found

    def shard(self) -> dict[str, Any] | None:
        """What this process alone has, under ZeRO: to be written by each."""
        return shard_of(self.optimizer.optimizer) if self.zero_stage else None

    def checkpoint_bytes(self) -> int:
        """Bytes of a checkpoint with all shards: weights as held, and what resumption needs."""
        held = trained = 0
        for parameter in self.module.parameters():
            count = getattr(parameter, "ds_numel", parameter.numel())  # ZeRO-3 divides them
            held += count * parameter.element_size()
            trained += count * parameter.requires_grad
        master = 4 * trained if self.zero_stage or self._widened else 0
        return held + master + 8 * trained

    def restore(self, state: Mapping[str, Any], shard: Mapping[str, Any] | None) -> None:
        """The inverse of `state` and `shard`. Raises BadCheckpoint for those of another model."""
        try:
            self.module.load_state_dict(state.get("weights", {}), strict=False)
            if shard is not None:
                restore_shard(self.optimizer.optimizer, shard)
            else:
                self._fits(state["optimizer"])
                self.optimizer.load_state_dict(state["optimizer"])
        except (KeyError, ValueError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise BadCheckpoint(
                f"the state of the optimizer does not fit this model and training.engine: {reason}"
            ) from error
        if self.accelerator.scaler is not None and "scaler" in state:
            self.accelerator.scaler.load_state_dict(state["scaler"])

    def _fits(self, state: Mapping[str, Any]) -> None:
        """Raises ValueError for moments of other shapes, which torch would find out in a step."""
        own = [p for group in self.optimizer.param_groups for p in group["params"]]
        for i, parameter in enumerate(own):
            kept = state["state"].get(i, {}).get("exp_avg")
            if kept is not None and kept.shape != parameter.shape:
                raise ValueError(
                    f"weight {i} is {tuple(parameter.shape)} here and {tuple(kept.shape)} there"
                )

    def _exact(self) -> dict[str, torch.Tensor]:
        """Weights that a backbone in half precision would not read back as they are."""
        if not self._widened:
            return {}
        return {
            name: parameter.detach()
            for name, parameter in self.module.named_parameters()
            if parameter.requires_grad
        }

    @contextmanager
    def whole(self) -> Iterator[None]:
        """Inside, each parameter is whole in every process, as ZeRO-3 does not keep them."""
        if self.zero_stage < 3:
            yield
            return
        import deepspeed

        with deepspeed.zero.GatheredParameters(list(self.module.parameters())):
            yield
