"""A model under training: exact weights, steps that are refused, and states that come back."""

from __future__ import annotations

import io
from typing import Any

import pytest
import torch

from ctfw.engine.accelerator import make_accelerator
from ctfw.engine.optimise import Optimised
from ctfw.errors import BadCheckpoint, UserError
from ctfw.settings import Training


def made(dtype: torch.dtype = torch.float32, **settings: Any) -> Optimised:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).to(dtype)
    training = Training.model_validate({"device": "cpu", "learning_rate": 1e-3, **settings})
    return Optimised(module, make_accelerator(training), training)


def steps(model: Optimised, count: int, scale: float = 1.0) -> list[float]:
    norms = []
    for i in range(count):
        with model.accelerator.accumulate(model.wrapped):
            with model.accelerator.autocast():
                loss = model.wrapped(torch.full((2, 3), 0.1 * (i + 1))).float().pow(2).sum()
            model.accelerator.backward(loss * scale)
            norms.append(model.step())
    return norms


def through_a_file(value: Any) -> Any:
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def weights(model: Optimised) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in model.module.parameters()]


def test_trained_weights_are_held_in_float32_and_small_steps_count() -> None:
    model = made(torch.bfloat16, precision="bfloat16", learning_rate=1e-6)
    before = weights(model)
    assert {parameter.dtype for parameter in model.module.parameters()} == {torch.float32}
    steps(model, 1)
    moved = [bool((a != b).any()) for a, b in zip(before, weights(model), strict=True)]
    assert all(moved)  # in bfloat16 a step of 1e-6 on such weights is rounded away
    assert [bool((a.bfloat16() != b.bfloat16()).any()) for a, b in zip(
        before[::2], weights(model)[::2], strict=True)] == [False, False]  # fmt: skip


def test_frozen_weights_keep_their_type() -> None:
    torch.manual_seed(0)
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 2)).bfloat16()
    module[0].requires_grad_(False)
    training = Training(device="cpu", precision="bfloat16")
    Optimised(module, make_accelerator(training), training)
    assert [p.dtype for p in module.parameters()] == [torch.bfloat16] * 2 + [torch.float32] * 2


@pytest.mark.parametrize(
    ("dtype", "precision"), [(torch.float32, "float32"), (torch.bfloat16, "bfloat16")]
)
def test_restored_state_steps_as_the_unbroken_one(dtype: torch.dtype, precision: str) -> None:
    unbroken = made(dtype, precision=precision)
    steps(unbroken, 3)
    state = through_a_file(unbroken.state())
    held = [tensor.to(dtype) for tensor in weights(unbroken)]  # what the model's own files keep
    steps(unbroken, 2)

    resumed = made(dtype, precision=precision)
    with torch.no_grad():
        for parameter, kept in zip(resumed.module.parameters(), held, strict=True):
            parameter.copy_(kept)
    resumed.restore(state, None)
    steps(resumed, 2)
    assert all(map(torch.equal, weights(unbroken), weights(resumed)))


@pytest.mark.parametrize("scale", [float("nan"), float("inf")])
def test_gradients_that_are_no_numbers_do_not_reach_the_weights(scale: float) -> None:
    model = made()
    before = weights(model)
    with pytest.raises(UserError, match=r"the gradients are not finite \(norm (nan|inf)\)"):
        steps(model, 1, scale)
    assert all(map(torch.equal, before, weights(model)))


def test_norm_is_told_at_the_end_of_an_accumulation() -> None:
    norms = steps(made(gradient_accumulation=2), 4)
    assert [norm == norm for norm in norms] == [False, True, False, True]


def test_state_of_another_model_is_refused() -> None:
    model = made()
    steps(model, 1)
    state = through_a_file(model.state())
    state["optimizer"]["state"][0]["exp_avg"] = torch.zeros(7, 7)
    with pytest.raises(BadCheckpoint, match=r"does not fit .* weight 0 is \(4, 3\) here and \(7,"):
        made().restore(state, None)
    with pytest.raises(BadCheckpoint, match="does not fit this model"):
        made().restore({}, None)


@pytest.mark.parametrize(
    ("dtype", "per_parameter"), [(torch.float32, 4 + 8), (torch.bfloat16, 4 + 4 + 8)]
)
def test_size_of_a_checkpoint_is_known_before_it_is_written(
    dtype: torch.dtype, per_parameter: int
) -> None:
    model = made(dtype)
    count = sum(parameter.numel() for parameter in model.module.parameters())
    assert model.checkpoint_bytes() == per_parameter * count
