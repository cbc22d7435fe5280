"""Killed anywhere, as often as you like: nothing half is taken for whole, nothing is done twice,
and the bytes are those of a job that nobody killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctfw.engine.ledger import Ledger
from ctfw.engine.prepare import prepare_volumes
from ctfw.types import Case, Volume
from ctfw.volumes.pipeline import VolumePipeline
from ctfw.volumes.stream import SliceStream
from ctfw_plugins.preprocess.configs import PreprocessedNumpyConfig
from ctfw_plugins.preprocess.preprocessed_numpy import PreprocessedNumpy


def whole_entries(shelf: Any) -> dict[Path, int]:
    """Time of every sidecar, which says that its entry is whole."""
    return {path: path.stat().st_mtime_ns for path in shelf.stores.rglob("[!.]*.json")}


def kill_at(shelf: Any, more: int, delay: float) -> bool:
    """Start the job, and kill it with all its processes `delay` seconds after so many more
    volumes are in the last store; whether it was still running."""
    wanted = done_volumes(shelf) + more
    process = subprocess.Popen(
        shelf.command("--workers", 2), env=shelf.environment, start_new_session=True,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        while process.poll() is None and done_volumes(shelf) < wanted:
            time.sleep(0.002)
        with suppress(subprocess.TimeoutExpired):
            process.wait(delay)
        return process.poll() is None
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def done_volumes(shelf: Any) -> int:
    return sum(1 for _ in (shelf.stores / "numpy").glob("[!.]*.json"))


@pytest.mark.parametrize("kills", [5, pytest.param(30, marks=pytest.mark.slow)])
def test_killed_job_ends_with_the_bytes_of_an_unbroken_one(
    make_shelf: Callable[..., Any], kills: int
) -> None:
    unbroken = make_shelf(3 * kills, 40, 128, "unbroken")
    assert unbroken.prepare("--workers", 2).returncode == 0
    broken = make_shelf(3 * kills, 40, 128, "broken")
    rng = np.random.default_rng(kills)
    killed = 0
    for _ in range(kills):
        before = whole_entries(broken)
        for path in before:
            side = json.loads(path.read_text())
            data = next(p for p in path.parent.glob(f"{path.stem}.n*"))
            assert data.stat().st_size == side["bytes"], "half an entry is taken for whole"
        more = int(rng.integers(0, 3))
        # Without a volume to wait for, the kill falls into the start of the job.
        killed += kill_at(broken, more, float(rng.uniform(0, 0.15 if more else 2.5)))
        after = whole_entries(broken)
        assert before.items() <= after.items(), "what was done has been done again"
    assert killed >= 0.8 * kills
    done = broken.prepare("--workers", 2)
    assert done.returncode == 0, done.stderr
    assert broken.entries() == unbroken.entries()  # and no file besides
    assert broken.prepare().stdout.startswith("made: 0")


class Deadly:
    """A step that kills its process on one case, every time or the first time only."""

    def __init__(self, victim: str, once: Path | None = None) -> None:
        self.victim, self.once = victim, once

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        assert case is not None
        if case.id == self.victim and (self.once is None or not self.once.exists()):
            if self.once is not None:
                self.once.write_text("died")
            os.kill(os.getpid(), signal.SIGKILL)
        return volume


def tiny(path: Path) -> SliceStream:
    number = float(path.stem.split("-")[1])
    affine = np.diag([-1.0, -1, 1, 1])
    return SliceStream.of(Volume(np.full((3, 4, 5), number, np.float32), affine, "normalised"))


@pytest.mark.parametrize("once", [True, False])
def test_dead_worker_costs_its_volume_at_most(tmp_path: Path, once: bool) -> None:
    cases = []
    for number in range(8):
        path = tmp_path / f"case-{number}"
        path.write_text(str(number))
        cases.append(Case(path.name, path.name, path, ""))
    store = PreprocessedNumpy(PreprocessedNumpyConfig(folder=tmp_path / "store"))
    steps = [Deadly("case-3", tmp_path / "mark" if once else None), store]
    pipeline = VolumePipeline(tiny, steps, ["deadly", "store"])
    ledger = prepare_volumes(pipeline, cases, Ledger(), workers=2)
    if once:
        assert ledger.refused == {}
        assert ledger.counts["made"] + ledger.counts["found"] == 8
    else:
        assert list(ledger.refused) == ["case-3"]
        assert "killed twice" in ledger.refused["case-3"]
    assert len(list((tmp_path / "store").glob("*.npy"))) == (8 if once else 7)
