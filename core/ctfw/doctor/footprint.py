"""How much memory a training step takes: estimates from shapes, before anything is loaded.

Sources of the formulas:
  ZeRO      Rajbhandari et al. 2020, arXiv 1910.02054, section 3: weights, gradients and the states
            of Adam, and what each stage of ZeRO divides among the processes
  estimators  deepspeed.runtime.zero.stage_1_and_2 and stage3, which docs/how-to/multi_gpu.md quotes
  recompute Korthikanti et al. 2022, arXiv 2205.05198, section 4: what a transformer layer keeps for
            its backward pass, and that checkpointing leaves its input and one layer at work
Attention is taken to be fused (sdpa, flash): the quadratic term of the second source is never
stored. Buffers, fragmentation and the CUDA context come on top.
"""

from __future__ import annotations

from dataclasses import dataclass

from ctfw.model_plan import ModelPlan, Stack
from ctfw.settings import Training

FULL, HALF = 4, 2
_LOGIT_COPIES = 4
_SUB_GROUP = 1e9  # parameters that ZeRO-3 steps at a time (sub_group_size)
_LAYER_WIDTHS, _LAYER_INNER = 12, 4


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes of one process; `fixed` is there from the first step on, the rest within a step.

    step  while the optimizer steps, when the activations are gone
    host  on the other side, in the memory of the machine, of all processes together
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    step: float = 0.0
    host: float = 0.0

    @property
    def fixed(self) -> float:
        """Weights, gradients and optimizer states."""
        return self.weights + self.gradients + self.optimizer

    @property
    def total(self) -> float:
        return self.fixed + max(self.activations + self.logits, self.step)


def footprint(
    plan: ModelPlan,
    training: Training,
    *,
    pairs: bool,
    report_tokens: int,
    frozen_vision: bool = False,
    processes: int = 1,
) -> Footprint | None:
    """The estimate for one training step; None where the plan lacks the sizes.

    pairs          whether each case is read a second time, under a negative
    report_tokens  of the longest report
    frozen_vision  the vision tower is run beforehand and takes no part in the step
    processes      among which ZeRO divides
    """
    if plan.parameters is None or plan.vision is None or plan.language is None:
        return None
    trained = _trained(plan, frozen_vision=frozen_vision)
    weights, gradients, optimizer, step, host = _states(plan, training, trained, processes)
    width = HALF if training.precision != "float32" else plan.bytes_per_parameter
    images = training.batch_size * (1 + pairs)
    length = plan.visual_tokens + (plan.prompt_tokens or 0) + report_tokens
    kept = _kept(plan.language, images * length, width, training.gradient_checkpointing)
    if not frozen_vision:
        kept += _kept(plan.vision, images * plan.patches, width, training.gradient_checkpointing)
    logits = _logits(plan, training, 1 + pairs, training.batch_size * report_tokens, width)
    return Footprint(weights, gradients, optimizer, kept, logits, step, host)


def _logits(plan: ModelPlan, training: Training, passes: int, rows: int, size: int) -> float:
    """Bytes for the logits of `passes` forward passes over `rows` report tokens each.

    Under ZeRO-3, which holds the head in parts, or where the backbone does not say better, all are
    made, and autograd keeps them.
    """
    if plan.logit_memory is None or training.engine.endswith("3"):
        return passes * rows * (plan.vocabulary or 0) * FULL * _LOGIT_COPIES
    kept, at_work = plan.logit_memory(rows, size, plan.adapter_parameters is None)
    return passes * kept + at_work


def checkpoint_bytes(
    plan: ModelPlan, training: Training, *, frozen_vision: bool = False
) -> float | None:
    """Bytes of a checkpoint of all processes; None where the plan lacks the sizes.

    Weights as they are held, and what resumption needs: both moments of AdamW, and the float32
    weights where the model's own files hold less (DeepSpeed) or read back as less (Accelerate).
    """
    if plan.parameters is None:
        return None
    trained, adapters = _trained(plan, frozen_vision=frozen_vision), plan.adapter_parameters or 0
    size = plan.bytes_per_parameter
    if training.engine.startswith("deepspeed"):
        return size * plan.parameters + 3 * FULL * (trained + adapters)
    widened = FULL * trained if size < FULL else 0
    model = size * (plan.parameters - trained) + FULL * (trained + adapters)
    return model + widened + 2 * FULL * (trained + adapters)


def _trained(plan: ModelPlan, *, frozen_vision: bool) -> int:
    """Parameters of the model itself that change; adapters are counted apart."""
    vision = 0 if frozen_vision else plan.vision_parameters or 0
    return vision + (plan.language_parameters or 0) * (plan.adapter_parameters is None)


def _states(
    plan: ModelPlan, training: Training, trained: int, processes: int
) -> tuple[float, float, float, float, float]:
    """(weights, gradients, optimizer states, more during the step, host memory) in bytes.

    Accelerate without DeepSpeed: what is trained is held in float32, with its gradient and both
    moments of AdamW; mixed precision keeps a half-size copy during a step.
    DeepSpeed: weights and gradients in the type of the forward pass, and float32 weights and
    moments beside them (ZeRO, section 3.1: 2 + 2 + 12 bytes per parameter); stage 1 divides the
    last, stage 2 also the gradients, stage 3 also the weights. To step, it copies its share of the
    gradients to float32 (`estimate_zero2_model_states_mem_needs` counts them too). Offloaded, the
    12 and these 4 lie in the host, and gradients go there as they come. Adapters come on top.
    """
    parameters, adapters = plan.parameters or 0, plan.adapter_parameters or 0
    half, size = training.precision != "float32", plan.bytes_per_parameter
    if not training.engine.startswith("deepspeed"):
        kept = (size + HALF * (half and size > HALF)) * (parameters - trained)
        copy = HALF * trained * half
        own = FULL * (trained + adapters)
        return kept + copy + own, own, 2 * own, 0.0, 0.0
    size, stage = HALF if half else size, int(training.engine[-1])
    parameters, trained = parameters + adapters, trained + adapters
    weights = size * parameters / (processes if stage >= 3 else 1)
    gradients = size * trained / (processes if stage >= 2 else 1)
    states, copied = 3 * FULL * trained / processes, FULL * trained / processes * half
    if stage >= 3:
        copied = min(copied, FULL * _SUB_GROUP)
    if training.offload == "optimizer":
        return weights, gradients * (stage < 2), 0.0, 0.0, 4 * FULL * trained
    return weights, gradients, states, copied, 0.0


def _kept(stack: Stack, positions: int, size: int, checkpointing: bool) -> float:
    """Bytes of activations that a stack keeps for its backward pass.

    For each position a layer keeps about 8 values of its width: what goes into the norms, the
    projections and the attention, and what comes out of it (recompute, section 4.1); 4 more that
    norms and rotary embedding keep where they are not fused, as in transformers; and 4 of its
    inner width, because its MLP is gated. tests/doctor/test_footprint.py compares this with what
    autograd keeps of a real model. With checkpointing each layer keeps its input, and one layer
    is at work (section 5).
    """
    layer = (_LAYER_WIDTHS * stack.width + _LAYER_INNER * stack.intermediate) * size
    if checkpointing:
        return positions * (stack.layers * stack.width * size + layer)
    return positions * stack.layers * layer
