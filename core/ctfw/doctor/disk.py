"""Whether what a run writes fits on the disks: preprocessed scans, and checkpoints."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctfw.doctor.finding import Finding, count, evenly, note, ok, problem, warning
from ctfw.doctor.footprint import checkpoint_bytes
from ctfw.doctor.machine import existing, free_bytes
from ctfw.doctor.scene import sources
from ctfw.errors import UserError
from ctfw.progress import size_of

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene

COPIES = 3
"""Checkpoints of a stage at most: the last, the best, and the one that is being written."""
ROOM = 0.9
_LOOKED_AT = 100
_CHEAP = 1 << 26


def check(scene: Scene) -> Iterator[Finding]:
    """Bytes that are still to come against what is free, disk by disk."""
    needs: dict[int, float] = {}
    places: dict[int, list[Path]] = {}
    for folder, size, finding in (*_stores(scene), *_checkpoints(scene)):
        disk = os.stat(existing(folder)).st_dev
        needs[disk] = needs.get(disk, 0.0) + size
        places.setdefault(disk, []).append(folder)
        yield finding
    for disk, size in needs.items():
        yield _verdict(places[disk], size)


def _verdict(folders: list[Path], size: float) -> Finding:
    free = free_bytes(folders[0])
    text = f"{size_of(size)} to come, {size_of(free)} free: {', '.join(map(str, folders))}"
    values: dict[str, Any] = {"needed": size, "free": free}
    advice = "give them another disk, keep fewer scans (--limit), or a smaller dtype or size"
    if size > free:
        return problem(text, advice=advice, **values)
    if size > ROOM * free:
        return warning(text, advice=advice, **values)
    return ok(text, **values)


def _stores(scene: Scene) -> Iterator[tuple[Path, float, Finding]]:
    """(folder, bytes to come, what is said) of the stores of the preprocessing."""
    pipeline = scene.pipeline
    if pipeline is None or not pipeline.has_store or not pipeline.folders:
        return
    case, number = scene.first.case, len(scene.cases)
    each = pipeline.size(case.image, case)
    if not each:
        return
    done = _share_stored(scene)
    left = number if done is None else round(number * (1 - done))
    text = f"preprocessed scans: {size_of(each)} each, {size_of(each * number)} for all"
    if done:
        text += f"; about {number - left:,} of {number:,} are there already"
    share = each * left / len(pipeline.folders)
    values: dict[str, Any] = {"bytes_each": each, "cases": number, "stored": number - left}
    for i, folder in enumerate(pipeline.folders):
        told = note(text, **values) if i == 0 else note(f"and in {folder}")
        yield folder, share, told


def _share_stored(scene: Scene) -> float | None:
    """Share of evenly spaced cases that the stores have; None where looking would read them.

    A packed file is known by its ends, any other by all that is in it.
    """
    assert scene.pipeline is not None
    looked, stored = 0, 0
    for case in evenly(scene.cases, _LOOKED_AT):
        if all(map(_cheap, sources(case))):
            looked += 1
            try:
                stored += scene.pipeline.stored(case.image, case, True)
            except UserError:
                continue
    return stored / looked if looked else None


def _cheap(path: Path) -> bool:
    return path.is_file() and (path.suffix == ".gz" or path.stat().st_size < _CHEAP)


def _checkpoints(scene: Scene) -> Iterator[tuple[Path, float, Finding]]:
    """(folder of runs, bytes, what is said) of the stages that train."""
    plan, total, stages = scene.plan, 0.0, 0
    if plan is None:
        return
    for _, settings in scene.training_stages():
        frozen = bool(getattr(settings, "freeze_vision", False))
        each = checkpoint_bytes(plan, settings.training, frozen_vision=frozen)
        if each is not None:
            total += COPIES * each
            stages += 1
    if stages:
        text = (
            f"checkpoints: up to {size_of(total)} (weights and optimizer of "
            f"{count(stages, 'stage')}, {COPIES} at a time: last, best, and the one being written)"
        )
        yield scene.runs, total, note(text, checkpoints=total)
