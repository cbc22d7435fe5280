"""A Qwen2.5-VL small enough for a test, and scans for it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from ctfw.testing.data import REPORTS
from ctfw.types import Volume
from ctfw_plugins.backbones.configs import Qwen25VLConfig, RandomShape
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL

torch.set_num_threads(1)

# Wide weights: a random model then writes different tokens for different scans.
SHAPE = RandomShape(
    hidden_size=64,
    layers=2,
    intermediate_size=96,
    vision_hidden_size=32,
    vision_layers=2,
    vision_intermediate_size=48,
    vocabulary=320,
    initializer_range=0.3,
)


def make_scan(slices: int = 4, step_mm: float = 3.0, seed: int = 0, size: int = 56) -> Volume:
    """Normalised noise of (slices, size, 28 px) with slices `step_mm` apart."""
    rng = np.random.default_rng(seed)
    array = rng.uniform(-1, 1, (slices, size, 28)).astype(np.float32)
    affine = np.diag([-3.0, -3.0, step_mm, 1.0])
    return Volume(array, affine, "normalised").noting("window", "by 1000", divide_by=1000)


@pytest.fixture(scope="session")
def scan() -> Callable[..., Volume]:
    return make_scan


@pytest.fixture(scope="session")
def config() -> Qwen25VLConfig:
    return Qwen25VLConfig(shape=SHAPE)


@pytest.fixture(scope="session")
def backbone(config: Qwen25VLConfig) -> Qwen25VL:
    """Random weights; a test that changes them must put them back."""
    made = Qwen25VL(config)
    made.build(REPORTS, 3)
    made.module().eval()
    return made
