"""What this machine has: device, memory, free disk."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene


@dataclass(frozen=True, slots=True)
class Device:
    """Where training would run.

    name    of the GPU, or "the CPU"
    memory  bytes, of the GPU or of the machine
    gpu     whether it is a GPU
    cuda    whether torch is a build that could use an NVIDIA or AMD GPU
    gpus    number of GPUs that torch sees
    """

    name: str
    memory: int
    gpu: bool
    cuda: bool
    gpus: int = 1


def device_for(wanted: Iterable[str]) -> Device:
    """The device that stages with these `training.device` settings get. Imports torch."""
    import torch

    cuda = bool(torch.version.cuda or getattr(torch.version, "hip", None))
    if not torch.cuda.is_available() or all(each == "cpu" for each in wanted):
        return Device("the CPU", host_memory(), gpu=False, cuda=cuda, gpus=0)
    chosen = next((each for each in wanted if ":" in each), "cuda:0")
    facts = torch.cuda.get_device_properties(chosen)
    number = torch.cuda.device_count()
    return Device(facts.name, int(facts.total_memory), gpu=True, cuda=cuda, gpus=number)


def devices_wanted(scene: Scene) -> list[str]:
    """`training.device` of every stage that trains."""
    return [settings.training.device for _, settings in scene.stages("training")]


def host_memory() -> int:
    """Bytes of memory that this process may use: of the machine, or of its control group."""
    whole = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        try:
            limit = Path("/sys/fs/cgroup", file).read_text(encoding="ascii").strip()
        except OSError:
            continue
        if limit.isdecimal():
            return min(whole, int(limit))
    return whole


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.expanduser().absolute()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return folder


def free_bytes(folder: Path) -> int:
    """Bytes free where `folder` is or will be."""
    return shutil.disk_usage(existing(folder)).free
