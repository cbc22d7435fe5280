"""Disk: what the stores and the checkpoints will take, against what is free."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ctfw.doctor.disk
from ctfw.doctor.disk import check
from ctfw.doctor.scene import Scene
from ctfw.model_plan import ModelPlan, Stack

PLAN = ModelPlan(
    grid=(5, 3, 4), patches=240, bytes_per_parameter=4, source="a test",
    vision_parameters=400_000, language_parameters=600_000, vision=Stack(3, 96, 256),
    language=Stack(3, 128, 384),
)  # fmt: skip
SHAPE = (60, 64, 64)
HEADER = 128
"""Bytes in front of the values of a .npy file of such a shape."""


@pytest.fixture
def scene(
    make_scene: Any, make_case: Any, write_scan: Callable[..., Path], tmp_path: Path
) -> Callable[..., Scene]:
    """Three scans through a chain with one store; a model of a million parameters."""

    def make(*overrides: str, plan: ModelPlan | None = PLAN) -> Scene:
        cases = [make_case(n, image=write_scan(f"{n}.nii.gz", SHAPE, value=i))
                 for i, n in enumerate("abc")]  # fmt: skip
        store = f"{{use: preprocessed-numpy, folder: {tmp_path / 'store'}}}"
        made: Scene = make_scene(cases, f"data.preprocess=[{store}]", *overrides, steps=True)
        made.__dict__["plan"] = plan
        return made

    return make


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    def put(count: float) -> None:
        monkeypatch.setattr(ctfw.doctor.disk, "free_bytes", lambda folder: int(count))

    return put


def test_bytes_of_a_volume_are_those_of_the_first_one(look: Any, scene: Any, free: Any) -> None:
    free(1e12)
    found = look(check, scene()).the("preprocessed scans")
    entry = HEADER + 2 * 60 * 64 * 64
    assert entry <= found.values["bytes_each"] < entry + 8192  # the sidecar
    assert found.values["cases"] == 3


def test_volumes_that_are_stored_already_are_not_counted_again(
    look: Any, scene: Any, free: Any
) -> None:
    free(1e12)
    first = scene()
    assert look(check, first).the("preprocessed scans").values["stored"] == 1
    for case in first.cases:
        first.pipeline.prepare(case.image, case)
    found = look(check, scene())
    assert found.the("preprocessed scans").values["stored"] == 3
    assert "about 3 of 3 are there already" in found.the("preprocessed scans").text


def test_checkpoints_hold_weights_and_optimizer_three_times(
    look: Any, scene: Any, free: Any
) -> None:
    free(1e12)
    found = look(check, scene()).the("checkpoints: ")
    frozen = 4 * 1_000_000 + 2 * 4 * 600_000  # all weights, moments of what trains
    assert found.values["checkpoints"] == 3 * frozen


@pytest.mark.parametrize(("share", "level"), [(0.5, "problem"), (1.05, "warning"), (2.0, "ok")])
def test_what_does_not_fit_is_a_problem(
    share: float, level: str, look: Any, scene: Any, free: Any
) -> None:
    free(1e12)
    needed = look(check, scene()).the("to come").values["needed"]
    free(share * needed)
    found = look(check, scene()).the("to come")
    assert found.level == level
    assert "store" in found.text
    assert "runs" in found.text


def test_a_chain_without_a_store_and_a_model_of_unknown_size_need_nothing(
    look: Any, make_scene: Any, make_case: Any, write_scan: Callable[..., Path]
) -> None:
    scene = make_scene([make_case("a", image=write_scan("a.nii.gz"))])
    scene.__dict__["plan"] = None
    assert look(check, scene) == []
