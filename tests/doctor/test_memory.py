"""Memory: the estimate beside what the device and the machine have."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ctfw.doctor.memory
from ctfw.doctor.machine import Device, existing, free_bytes, host_memory
from ctfw.doctor.memory import check
from ctfw.doctor.scene import Processed, Scene
from ctfw.model_plan import ModelPlan, Stack
from ctfw.types import Volume

SEVEN_B = ModelPlan(
    grid=(5, 16, 16),
    patches=5120,
    bytes_per_parameter=2,
    source="a test",
    prompt_tokens=30,
    vision_parameters=676_550_144,
    language_parameters=7_615_616_512,
    vision=Stack(32, 1280, 3420),
    language=Stack(28, 3584, 18944),
    vocabulary=152_064,
)
BIG = (
    "training.precision=bfloat16",
    "training.gradient_checkpointing=true",
    "training.batch_size=1",
    "stages.tune.freeze_vision=false",
)

OFFLOADED = (*BIG, "training.engine=deepspeed-zero2", "training.offload=optimizer")


@pytest.fixture
def scene(make_scene: Any, make_case: Any, write_scan: Callable[..., Path]) -> Callable[..., Scene]:
    def make(*overrides: str, plan: ModelPlan = SEVEN_B) -> Scene:
        cases = [make_case("a", image=write_scan("a.nii.gz"), report="word " * 300)]
        made: Scene = make_scene(cases, *overrides)
        volume = Volume(np.zeros((10, 448, 448), np.float32), np.diag([-1.0, -1.0, 30.0, 1.0]))
        made.__dict__["_first"] = Processed(cases[0], volume, 1.0)
        made.__dict__["plan"] = plan
        return made

    return make


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def put(
        name: str, gigabytes: float, gpu: bool = True, cuda: bool = True, gpus: int = 1
    ) -> None:
        found = Device(name, int(gigabytes * 1e9), gpu, cuda, gpus)
        monkeypatch.setattr(ctfw.doctor.memory, "device_for", lambda wanted: found)

    return put


def test_seven_billion_weights_with_adam_do_not_fit_into_80_gb_under_zero(
    look: Any, scene: Any, device: Any
) -> None:
    device("A100", 80)
    findings = look(check, scene(*BIG, "training.engine=deepspeed-zero2"))
    found = findings.the("weights, gradients and optimizer alone")
    assert found.level == "problem"
    # 8.29 billion parameters x 16 bytes (ZeRO, section 3.1)
    assert found.values["tune"]["fixed"] == pytest.approx(132.7e9, rel=1e-3)


def test_an_estimate_that_fits_is_ok_and_shown_by_part(
    look: Any, scene: Any, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    device("A100", 80)
    monkeypatch.setattr(ctfw.doctor.memory, "host_memory", lambda: 200e9)
    findings = look(check, scene(*OFFLOADED))
    assert findings.the("a training step takes").level == "ok"
    header, row = findings.the("estimate per stage").table
    assert header[0] == "stage"
    assert row[:4] == ("tune", "16.6 GB", "0 B", "0 B")
    host = findings.the("the offloaded optimizer takes about 133 GB of host memory")
    assert host.level == "ok"


def test_zero_divides_among_the_processes_that_are_asked_for(
    look: Any, scene: Any, device: Any
) -> None:
    device("A100", 80, gpus=4)
    four = scene(*BIG, "training.engine=deepspeed-zero2")
    four.processes = 4
    found = look(check, four).the("a training step takes")
    assert found.level == "ok"
    # 2 bytes of each weight, and a quarter of 2 and 12 (ZeRO, section 3.1)
    assert found.values["tune"]["fixed"] == pytest.approx(8.292e9 * (2 + 14 / 4), rel=1e-3)


def test_more_processes_than_gpus_are_a_problem(look: Any, scene: Any, device: Any) -> None:
    device("A100", 80, gpus=2)
    three = scene(*BIG)
    three.processes = 3
    found = look(check, three).the("--nproc is 3, and torch sees 2 GPUs")
    assert (found.level, found.advice) == (
        "problem", "each process needs a GPU of its own: --nproc 2",
    )  # fmt: skip


def test_offloading_to_a_machine_without_the_memory_is_a_warning(
    look: Any, scene: Any, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    device("A100", 80)
    monkeypatch.setattr(ctfw.doctor.memory, "host_memory", lambda: 128e9)
    found = look(check, scene(*OFFLOADED)).the("the offloaded optimizer")
    assert found.level == "warning"
    assert found.text.endswith("this machine has 128 GB")


def test_an_estimate_that_nearly_fills_the_device_is_a_warning(
    look: Any, scene: Any, device: Any
) -> None:
    device("A100", 80)
    needed = look(check, scene(*OFFLOADED)).the("a training step takes").values["tune"]["total"]
    device("A100", needed / 0.95e9)
    assert look(check, scene(*OFFLOADED)).the("a training step takes").level == "warning"


def test_a_negative_doubles_the_images_of_a_step(look: Any, scene: Any, device: Any) -> None:
    device("A100", 80)
    negatives = ("stages.tune.negatives={use: gauss}", "stages.tune.loss={use: bounded-contrast}")
    plain = look(check, scene(*OFFLOADED)).the("a training step takes").values["tune"]
    pairs = look(check, scene(*OFFLOADED, *negatives)).the("a training step takes").values["tune"]
    assert pairs["fixed"] == plain["fixed"]
    within = pairs["total"] - pairs["fixed"], plain["total"] - plain["fixed"]
    assert within[0] == pytest.approx(2 * within[1])


def test_negatives_that_no_loss_reads_are_not_counted(look: Any, scene: Any, device: Any) -> None:
    device("A100", 80)

    def shown(*more: str) -> Any:
        found = look(check, scene(*BIG, *more)).the("estimate per stage")
        return found.table

    drawn = "stages.tune.negatives={use: heter}"
    plain = shown()
    assert shown(drawn) == plain
    assert shown(drawn, "stages.tune.loss={use: bounded-contrast}") != plain


def test_a_gpu_that_is_asked_for_and_absent_is_a_problem(
    look: Any, scene: Any, device: Any
) -> None:
    device("the CPU", 16, gpu=False, cuda=False)
    findings = look(check, scene(*BIG, "training.device=cuda"))
    found = findings.the("torch sees no GPU")
    assert found.level == "problem"
    assert "without CUDA" in found.text


def test_a_large_model_without_a_gpu_is_a_warning_and_not_measured_against_the_cpu(
    look: Any, scene: Any, device: Any
) -> None:
    device("the CPU", 16, gpu=False)
    findings = look(check, scene(*BIG, "training.device=auto"))
    assert [found.level for found in findings.bad] == ["warning"]
    assert "no GPU is here to compare with" in findings.the("a training step takes").text


def test_a_small_model_on_the_cpu_is_ok(look: Any, scene: Any, device: Any) -> None:
    device("the CPU", 16, gpu=False)
    tiny = ModelPlan(
        grid=(5, 3, 4), patches=240, bytes_per_parameter=4, source="a test", prompt_tokens=30,
        vision_parameters=500_000, language_parameters=800_000, vision=Stack(3, 96, 256),
        language=Stack(3, 128, 384), vocabulary=1024,
    )  # fmt: skip
    findings = look(check, scene(plan=tiny))
    assert findings.bad == []


def test_memory_for_readers_counts_a_scan_per_worker(look: Any, scene: Any, device: Any) -> None:
    device("A100", 80)
    found = look(check, scene(*BIG, "data.workers=6")).the("host memory")
    assert found.values["workers"] == 6
    assert found.values["per_worker"] == 4 * 60 * 64 * 64
    assert found.values["kept"] == 10 * 448 * 448 * 4


def test_processes_on_one_machine_keep_scans_each(look: Any, scene: Any, device: Any) -> None:
    device("A100", 80, gpus=2)
    two = scene(*BIG, "data.workers=6")
    two.processes = 2
    found = look(check, two).the("host memory")
    assert "8.03 MB kept by each of 2 processes" in found.text


def test_processes_without_gpus_share_the_memory_of_the_machine(
    look: Any, scene: Any, device: Any
) -> None:
    device("the CPU", 1, gpu=False)
    small = dataclasses.replace(
        SEVEN_B, vision_parameters=1_000_000, language_parameters=9_000_000, vocabulary=1024,
        vision=Stack(2, 32, 64), language=Stack(2, 64, 96),
    )  # fmt: skip
    alone = scene(*BIG, plan=small)
    assert look(check, alone).the("a training step takes").level == "ok"
    alone.processes = 8
    found = look(check, alone).the("in each of 8 processes")
    assert found.level == "problem"


def test_readers_that_need_more_than_the_machine_has_are_a_warning(
    look: Any, scene: Any, device: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    device("A100", 80)
    monkeypatch.setattr(ctfw.doctor.memory, "host_memory", lambda: 5_000_000)
    found = look(check, scene(*BIG, "data.workers=6")).the("host memory")
    assert found.level == "warning"
    assert "the machine has 5 MB" in found.text


@pytest.mark.skipif(not Path("/proc/meminfo").exists(), reason="only Linux has /proc/meminfo")
def test_host_memory_is_at_most_what_the_machine_has() -> None:
    facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
    assert 0 < host_memory() <= int(facts["MemTotal"].split()[0]) * 1024


def test_free_disk_of_a_folder_to_come_is_that_of_the_one_above(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "there") > 0
    assert existing(tmp_path / "not" / "there") == tmp_path
