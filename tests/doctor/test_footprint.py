"""Footprint: the published bytes per parameter, and the activations of a real model."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from ctfw.doctor.footprint import Footprint, checkpoint_bytes, footprint
from ctfw.model_plan import ModelPlan, Stack
from ctfw.settings import Training
from ctfw.testing.data import REPORTS
from ctfw.types import Volume
from ctfw.volumes.geometry import lps_affine
from ctfw_plugins.backbones.configs import Qwen25VLConfig, RandomShape
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL

BILLION = 1_000_000_000
PLAN = ModelPlan(
    grid=(5, 16, 16),
    patches=5120,
    bytes_per_parameter=4,
    source="a test",
    prompt_tokens=30,
    vision_parameters=BILLION // 4,
    language_parameters=3 * BILLION // 4,
    vision=Stack(32, 1280, 3420),
    language=Stack(28, 3584, 18944),
    vocabulary=152_064,
)
HALF_PLAN = dataclasses.replace(PLAN, bytes_per_parameter=2)


def estimate(plan: ModelPlan = PLAN, **settings: Any) -> Footprint:
    more = {key: settings.pop(key) for key in ("frozen_vision", "processes") if key in settings}
    found = footprint(plan, Training(**settings), pairs=True, report_tokens=300, **more)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("plan", "settings", "per_parameter"),
    [
        (PLAN, {}, (4, 4, 8)),
        (PLAN, {"precision": "bfloat16"}, (6, 4, 8)),
        (HALF_PLAN, {"precision": "bfloat16"}, (6, 4, 8)),  # what is trained is held in float32
        # ZeRO, section 3.1: K = 12 bytes of optimizer states per parameter beside 2 and 2.
        (HALF_PLAN, {"precision": "bfloat16", "engine": "deepspeed-zero2"}, (2, 2, 12)),
    ],
)
def test_weights_gradients_and_optimizer_take_the_published_bytes(
    plan: ModelPlan, settings: dict[str, Any], per_parameter: tuple[int, int, int]
) -> None:
    found = estimate(plan, **settings)
    assert (found.weights, found.gradients, found.optimizer) == tuple(
        size * BILLION for size in per_parameter
    )
    assert found.fixed == sum(per_parameter) * BILLION


@pytest.mark.parametrize(("stage", "divided"), [(1, (1, 1, 8)), (2, (1, 8, 8)), (3, (8, 8, 8))])
def test_each_stage_of_zero_divides_what_its_paper_says(
    stage: int, divided: tuple[int, int, int]
) -> None:
    settings = {"precision": "bfloat16", "engine": f"deepspeed-zero{stage}"}
    one = estimate(HALF_PLAN, **settings)
    eight = estimate(HALF_PLAN, processes=8, **settings)
    shares = (one.weights / eight.weights, one.gradients / eight.gradients)
    assert (*shares, one.optimizer / eight.optimizer) == divided


def test_a_frozen_tower_has_no_gradients_and_no_activations() -> None:
    free, frozen = estimate(), estimate(frozen_vision=True)
    assert frozen.weights == free.weights
    assert frozen.gradients == 0.75 * free.gradients
    assert frozen.optimizer == 0.75 * free.optimizer
    assert frozen.activations < free.activations


@given(
    st.integers(1, 8), st.integers(1, 2000), st.booleans(),
    st.sampled_from(["float32", "bfloat16"]),
)  # fmt: skip
def test_more_images_and_longer_reports_never_take_less(
    images: int, tokens: int, frozen: bool, precision: Any
) -> None:
    def total(images: int, tokens: int, **more: Any) -> float:
        found = footprint(
            PLAN, Training(precision=precision, batch_size=images, **more), pairs=False,
            report_tokens=tokens, frozen_vision=frozen,
        )  # fmt: skip
        assert found is not None
        return found.total

    assert total(images, tokens) < total(images + 1, tokens)
    assert total(images, tokens) < total(images, tokens + 1)
    assert total(images, tokens, gradient_checkpointing=True) < total(images, tokens)


def test_logits_are_counted_as_the_backbone_makes_them() -> None:
    asked: list[tuple[int, int, bool]] = []

    def memory(rows: int, size: int, trained: bool) -> tuple[float, float]:
        asked.append((rows, size, trained))
        return 10.0, 3.0

    plan = dataclasses.replace(HALF_PLAN, logit_memory=memory)
    adapted = dataclasses.replace(plan, adapter_parameters=40_000_000)
    half: dict[str, Any] = {"precision": "bfloat16", "batch_size": 2}
    assert estimate(plan, **half).logits == 2 * 10 + 3
    assert estimate(adapted, batch_size=1).logits == 2 * 10 + 3
    assert asked == [(600, 2, True), (300, 2, False)]
    everything = 2 * 600 * 152_064 * 4 * 4
    assert estimate(plan, engine="deepspeed-zero3", **half).logits == everything
    assert estimate(HALF_PLAN, **half).logits == everything


def test_no_estimate_is_made_of_an_unknown_size() -> None:
    plan = ModelPlan(grid=(5, 16, 16), patches=5120, bytes_per_parameter=2, source="unknown")
    assert footprint(plan, Training(), pairs=False, report_tokens=300) is None


@pytest.mark.parametrize("frozen", [False, True])
def test_activations_are_near_to_what_autograd_keeps_of_a_real_model(frozen: bool) -> None:
    rng = np.random.default_rng(0)
    array = rng.uniform(-1, 1, (10, 84, 112)).astype(np.float32)
    volume = Volume(array, lps_affine((1.0, 1.0, 6.0)), "normalised")
    backbone = Qwen25VL(Qwen25VLConfig(shape=RandomShape(vocabulary=320)))
    backbone.build(REPORTS, 0)
    backbone.module().train()
    backbone.tower.requires_grad_(not frozen)
    image = backbone.encode(volume)
    if frozen:
        (image,) = backbone.see([image])
    own = {parameter.untyped_storage().data_ptr() for parameter in backbone.module().parameters()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        output = backbone.forward([image], [REPORTS[0]])
    plan = backbone.plan(volume, REPORTS)
    tokens = int(output.answer.sum())
    found = footprint(plan, Training(), pairs=False, report_tokens=tokens, frozen_vision=frozen)
    assert found is not None
    assert 0.75 < (found.activations + found.logits) / sum(kept.values()) < 1.3


def test_adapters_alone_have_gradients_and_moments() -> None:
    adapted = dataclasses.replace(HALF_PLAN, adapter_parameters=40_000_000)
    found = estimate(adapted, precision="bfloat16", frozen_vision=True)
    # 2 bytes of each fixed weight; float32 adapters with their gradient and two moments.
    assert found.weights == 2 * BILLION + 4 * 40_000_000
    assert (found.gradients, found.optimizer) == (4 * 40_000_000, 8 * 40_000_000)
    tower = estimate(adapted, precision="bfloat16")
    assert tower.gradients - found.gradients == 4 * BILLION // 4
    sharded = estimate(
        adapted, precision="bfloat16", frozen_vision=True, engine="deepspeed-zero2", processes=2
    )
    assert sharded.optimizer == 12 * 40_000_000 / 2


SEVEN = dataclasses.replace(
    HALF_PLAN, vision_parameters=676_550_144, language_parameters=7_615_616_512
)
"""Qwen2.5-VL-7B."""


@pytest.mark.parametrize(
    ("stage", "offload", "estimated"),
    [(2, "none", 91.2e9), (2, "optimizer", 16.6e9), (3, "none", 74.6e9), (3, "optimizer", 8.3e9)],
)
def test_states_are_near_to_the_estimators_of_deepspeed(
    stage: int, offload: str, estimated: float
) -> None:
    # deepspeed 0.19.8, per GPU of two: stage 2: 2 N + 18 N / 2, offloaded 2 N; stage 3: 18 N / 2,
    # offloaded 2 N / 2, without its largest layer, which is at work and no state.
    found = estimate(
        SEVEN, precision="bfloat16", engine=f"deepspeed-zero{stage}", offload=offload, processes=2
    )
    assert found.fixed + found.step == pytest.approx(estimated, rel=0.06)
    assert found.host == (16 * SEVEN.parameters if offload == "optimizer" else 0)  # type: ignore[operator]


def test_step_counts_when_it_takes_more_than_the_activations() -> None:
    found = Footprint(weights=1, gradients=2, optimizer=3, activations=4, logits=5, step=10)
    assert found.total == 16
    assert dataclasses.replace(found, step=8).total == 15


@pytest.mark.parametrize(
    ("plan", "settings", "per_parameter"),
    [
        (PLAN, {}, 4 + 8),
        (HALF_PLAN, {"engine": "accelerate"}, 4 + 4 + 8),
        (HALF_PLAN, {"engine": "deepspeed-zero2"}, 2 + 12),
        (HALF_PLAN, {"engine": "deepspeed-zero2", "offload": "optimizer"}, 2 + 12),
    ],
)
def test_checkpoint_holds_weights_and_what_resumption_needs(
    plan: ModelPlan, settings: dict[str, Any], per_parameter: int
) -> None:
    training = Training(precision="bfloat16", **settings)
    assert checkpoint_bytes(plan, training) == per_parameter * BILLION
    frozen = checkpoint_bytes(plan, training, frozen_vision=True)
    assert frozen is not None
    assert frozen < per_parameter * BILLION
