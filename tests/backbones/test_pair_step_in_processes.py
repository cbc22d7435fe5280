"""The step of a pair in two processes: gradients are the mean, whoever leaves its negative out."""

from __future__ import annotations

import multiprocessing
import os
import socket
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

HERE = Path(__file__).parent
LIMIT_S = 240


def _gradients(rank: int, limits: tuple[float, float], out: str, port: int | None) -> None:
    """Write the gradients of a rank's pair; without a port every pair in this one process."""
    sys.path.insert(0, str(HERE))
    from accelerate import Accelerator
    from test_pair_step import bounded, pairs

    from conftest import SHAPE, make_scan
    from ctfw.testing.data import REPORTS
    from ctfw_plugins.backbones.configs import Qwen25VLConfig
    from ctfw_plugins.backbones.qwen25_vl import Qwen25VL
    from ctfw_plugins.stages.step import PairStep

    torch.set_num_threads(1)
    backbone = Qwen25VL(Qwen25VLConfig(shape=SHAPE))
    backbone.build(REPORTS, 3)
    module = backbone.module()
    wrapped: Any = module
    engine: Any = SimpleNamespace(backward=lambda total: (0.5 * total).backward())
    if port is not None:
        place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port}
        os.environ |= {name: str(value) for name, value in place.items()}
        os.environ["MASTER_ADDR"] = "127.0.0.1"
        engine = Accelerator(cpu=True)
        wrapped = engine.prepare(module)
        assert wrapped is not module
    for number in (rank,) if port is not None else (0, 1):
        grids = ("same", "other")[number]
        step = PairStep(backbone, wrapped, bounded(limits[number]), engine, "tune")
        step(pairs(backbone, make_scan, grids, 2), 0.0)
    named = module.named_parameters()
    torch.save({name: p.grad for name, p in named if p.grad is not None}, out)


@pytest.mark.slow
def test_gradients_are_the_mean_over_the_processes(tmp_path: Path) -> None:
    limits = (1e-6, 1e6)  # the first process leaves its negatives out, the second does not
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    alone = tmp_path / "alone.pt"
    jobs = [context.Process(target=_gradients, args=(0, limits, str(alone), None))]
    for rank in (0, 1):
        file = str(tmp_path / f"{rank}.pt")
        jobs.append(context.Process(target=_gradients, args=(rank, limits, file, port)))
    for job in jobs:
        job.start()
    for job in jobs:
        job.join(LIMIT_S)
        if job.is_alive():
            job.kill()
    assert [job.exitcode for job in jobs] == [0, 0, 0]
    expected = torch.load(alone, weights_only=True)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"{rank}.pt", weights_only=True)
        assert set(found) == set(expected)
        for name, gradient in expected.items():
            apart = float((found[name] - gradient).norm())
            assert apart <= 1e-5 * float(gradient.norm()) + 1e-7, name
