"""Learning rate, optimizer and engine follow the settings of each stage."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
import torch

from ctfw.engine.accelerator import learning_rate_at, make_accelerator, make_optimizer
from ctfw.errors import UserError
from ctfw.settings import Training


def rates(total: int = 100, **settings: Any) -> list[float]:
    training = Training.model_validate(settings)
    return [learning_rate_at(training, step, total) for step in range(total)]


def test_warm_up_rises_evenly_to_the_peak() -> None:
    made = rates(warmup_ratio=0.1, schedule="constant")
    assert made[:10] == pytest.approx([(i + 1) / 11 for i in range(10)])
    assert set(made[10:]) == {1.0}
    assert rates(warmup_ratio=0.0)[0] == 1.0
    assert rates(total=20, warmup_ratio=0.03)[0] == 1.0  # less than a step of warm-up is none


@pytest.mark.parametrize(
    ("schedule", "middle"), [("linear", 0.5), ("cosine", 0.5 * (1 + math.cos(math.pi / 2)))]
)
def test_rate_falls_to_zero(schedule: str, middle: float) -> None:
    made = rates(warmup_ratio=0.2, schedule=schedule)
    assert made[20] == 1.0
    assert made[60] == pytest.approx(middle)
    assert 0 < made[-1] < 0.03
    assert all(a > b for a, b in itertools.pairwise(made[20:]))


def test_decay_is_on_matrices_and_frozen_weights_are_left_out() -> None:
    module = torch.nn.Sequential(
        torch.nn.Linear(3, 4), torch.nn.LayerNorm(4), torch.nn.Linear(4, 2)
    )
    module[2].requires_grad_(False)
    optimizer = make_optimizer(module, Training(weight_decay=0.1, betas=(0.8, 0.95)))
    decayed, plain = optimizer.param_groups
    assert [p.shape for p in decayed["params"]] == [(4, 3)]
    assert [p.shape for p in plain["params"]] == [(4,), (4,), (4,)]
    assert (decayed["weight_decay"], plain["weight_decay"]) == (0.1, 0.0)
    assert decayed["betas"] == (0.8, 0.95)


def test_each_stage_has_an_engine_of_its_own() -> None:
    settings: list[tuple[dict[str, Any], str, int]] = [
        ({}, "no", 1),
        ({"precision": "bfloat16"}, "bf16", 1),
        ({"gradient_accumulation": 3}, "no", 3),
    ]
    for changes, precision, accumulation in settings:
        made = make_accelerator(Training.model_validate({"device": "cpu", **changes}))
        assert made.device.type == "cpu"
        assert (made.mixed_precision, made.gradient_accumulation_steps) == (precision, accumulation)
        module = torch.nn.Linear(2, 2)
        wrapped, optimizer = made.prepare(module, torch.optim.SGD(module.parameters(), lr=0.1))
        synced, before = [], module.weight.detach().clone()
        for _ in range(2 * accumulation):
            with made.accumulate(wrapped):
                made.backward(wrapped(torch.ones(1, 2)).float().sum())
                synced.append(made.sync_gradients)
                optimizer.step()
                optimizer.zero_grad()
        assert synced == ([False] * (accumulation - 1) + [True]) * 2
        # Gradients of ones are averaged over the passes of a step: two steps of 0.1 in all.
        torch.testing.assert_close(module.weight.detach(), before - 0.2)


def test_device_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match=r"training.device is 'cuda:1', but torch sees no GPU"):
        make_accelerator(Training(device="cuda:1"))


@pytest.mark.parametrize(
    ("device", "local", "words"),
    [
        ("cuda:0", 1, r"'cuda:0', but 2 processes need a GPU each; set it to auto"),
        ("auto", 1, r"process 1 of this machine has no GPU: torch sees 1. Use --nproc 1"),
    ],
)
def test_processes_and_gpus_that_do_not_fit_are_refused(
    device: str, local: int, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setenv("LOCAL_RANK", str(local))
    with pytest.raises(UserError, match=words):
        make_accelerator(Training(device=device))


def test_offload_without_deepspeed_is_refused() -> None:
    with pytest.raises(ValueError, match="needs DeepSpeed: set engine to deepspeed-zero2"):
        Training(offload="optimizer")


def test_threads_are_set_when_asked_for() -> None:
    before = torch.get_num_threads()
    try:
        make_accelerator(Training(device="cpu", threads=2))
        assert torch.get_num_threads() == 2
        make_accelerator(Training(device="cpu"))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
