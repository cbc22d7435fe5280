"""What a training step of Qwen2.5-VL-3B and 7B takes, by the estimate of `ctfw doctor`.

The last table holds the estimate against the measurement of `training_step.py`.

`python benchmarks/memory_budget.py` prints the tables of docs/how-to/memory_budget.md; `--write`
puts them there. No weights are needed: parameters are counted on tensors without memory.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _step_work import ANSWER, PIXELS, small_config

from ctfw.doctor.footprint import Footprint, footprint
from ctfw.model_plan import ModelPlan
from ctfw.settings import Training
from ctfw.types import Volume
from ctfw.volumes.geometry import lps_affine
from ctfw_plugins.backbones.configs import Lora, Qwen25VLConfig
from ctfw_plugins.backbones.plan import make_plan, sizes_of

PAGE = Path(__file__).resolve().parents[1] / "docs" / "how-to" / "memory_budget.md"
RESULTS = Path(__file__).resolve().parent / "results" / "training_step.md"
BEGIN, END = "<!-- Made by `python benchmarks/memory_budget.py --write` -->", "## "
MODELS = {"3B": "Qwen/Qwen2.5-VL-3B-Instruct", "7B": "Qwen/Qwen2.5-VL-7B-Instruct"}
SLICES, REPORT, PROMPT = 10, 512, 30
"""Slices of a scan; tokens of a long report of CT-RATE, and of the prompt."""
GB = 1e9
WAYS: dict[str, dict[str, Any]] = {
    "all weights, one process": {},
    "all weights, ZeRO-2, 2 processes": {"engine": "deepspeed-zero2", "processes": 2},
    "all weights, ZeRO-2, 2 processes, optimizer in the host": {
        "engine": "deepspeed-zero2", "processes": 2, "offload": "optimizer",
    },
    "adapters and vision tower": {"lora": True},
    "adapters alone": {"lora": True, "frozen": True},
}  # fmt: skip


def plan_of(model: str, pixels: int, *, lora: bool = False) -> ModelPlan:
    """The plan of `SLICES` slices of `pixels` px in bfloat16."""
    config = Qwen25VLConfig(weights=MODELS[model], dtype="bfloat16", lora=Lora() if lora else None)
    array = np.zeros((SLICES, pixels, pixels), np.float32)
    volume = Volume(array, lps_affine((1.0, 1.0, 30.0)), "normalised")

    def no_tokenizer() -> Any:
        raise RuntimeError("released shapes need no tokenizer")

    return make_plan(config, volume, no_tokenizer)


def estimate(model: str, pixels: int = 448, *, pairs: bool = True, **way: Any) -> Footprint:
    """One anchor per process, bfloat16, activations recomputed."""
    processes = way.pop("processes", 1)
    frozen, lora = way.pop("frozen", False), way.pop("lora", False)
    training = Training(precision="bfloat16", gradient_checkpointing=True, batch_size=1, **way)
    found = footprint(
        plan_of(model, pixels, lora=lora),
        training,
        pairs=pairs,
        report_tokens=REPORT + PROMPT,
        frozen_vision=frozen,
        processes=processes,
    )
    if found is None:
        raise RuntimeError(f"the shape of {MODELS[model]} is not known")
    return found


def states() -> Iterator[str]:
    """What is there from the first step on, and what a step adds."""
    yield (
        "| model | what is trained | weights | gradients | optimizer | activations | logits "
        "| in all, each GPU | in the host |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    for model in MODELS:
        for name, way in WAYS.items():
            found = estimate(model, **way)
            sizes = (found.weights, found.gradients, found.optimizer)
            sizes += (found.activations, found.logits, found.total, found.host)
            yield f"| {model} | {name} | " + " | ".join(f"{s / GB:.1f}" for s in sizes) + " |"


def images() -> Iterator[str]:
    """Visual tokens of a scan, and what they take."""
    yield (
        "| slices of | visual tokens | on disk, 3B | on disk, 7B | activations of a pair, 7B "
        "| without a negative |"
    )
    yield "| --- | --- | --- | --- | --- | --- |"
    for pixels in (224, 336, 448, 672):
        plans = [plan_of(model, pixels) for model in MODELS]
        kept = []
        for plan in plans:
            if plan.language is None:
                raise RuntimeError("the shape is not known")
            size = plan.visual_tokens * plan.language.width * plan.bytes_per_parameter
            kept.append(f"{size / 1e6:.1f} MB")
        pair, alone = (estimate("7B", pixels, pairs=each).activations for each in (True, False))
        yield (
            f"| {pixels} px | {plans[0].visual_tokens:,} | {kept[0]} | {kept[1]} "
            f"| {pair / GB:.1f} | {alone / GB:.1f} |"
        )


def against_measured() -> Iterator[str]:
    """Beyond weights and inputs, of the model that `training_step.py` measures: bfloat16, also its
    gradients."""
    known = sizes_of(small_config(), None)
    plan = replace(plan_of("3B", PIXELS), prompt_tokens=PROMPT, **known)
    yield (
        "| step of a pair, 0.25 billion weights | gradients | activations | logits | in all "
        "| measured |"
    )
    yield "| --- | --- | --- | --- | --- | --- |"
    for name, frozen in (("ours", False), ("ours, vision frozen and cached", True)):
        found = footprint(plan, Training(), pairs=True, report_tokens=ANSWER, frozen_vision=frozen)
        if found is None:
            raise RuntimeError("the shape is not known")
        gradients = found.gradients / 2  # that estimate holds them in float32
        parts = (gradients, found.activations, found.logits)
        sizes = " | ".join(f"{s / GB:.1f}" for s in (*parts, sum(parts), measured(name)))
        yield f"| {name} | {sizes} |"


def measured(name: str) -> float:
    """Bytes beyond weights of a step that `training_step.py` has kept."""
    (row,) = (line for line in RESULTS.read_text().splitlines() if line.startswith(f"| {name} |"))
    return float(row.split(" | ")[6]) * (1 << 30)


def tables() -> str:
    return "\n".join([*states(), "", *images(), "", *against_measured()])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help=f"put the tables into {PAGE.name}")
    text = tables()
    if parser.parse_args().write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        _, _, after = rest.partition(END)
        PAGE.write_text(f"{before}{BEGIN}\n\n{text}\n\n{END}{after}", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
