"""One process per run folder; SIGTERM ends a run as Ctrl-C does."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ctfw.errors import UserError
from ctfw.interruption import heed, stoppable
from ctfw.progress import bar
from ctfw.runs.fault import Fault, first
from ctfw.runs.lock import only_one

HOLD = (
    "import sys, time; from pathlib import Path; from ctfw.runs.lock import only_one\n"
    "with only_one(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"
)


def test_a_folder_that_another_process_holds_is_refused(tmp_path: Path) -> None:
    other = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert other.stdout is not None
    try:
        assert other.stdout.readline() == "held\n"
        with (
            pytest.raises(UserError, match=r"worked on by another ctfw \(process 7\)"),
            only_one(tmp_path, 7),
        ):
            pass
    finally:
        other.kill()
        other.wait()
    with only_one(tmp_path):
        pass  # a killed process leaves no lock behind


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_is_an_interruption(number: int) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), stoppable():
        signal.raise_signal(number)
    assert signal.getsignal(number) is before
    heed()  # nothing is left of it


def test_interruption_that_was_swallowed_stops_the_job_at_its_next_step() -> None:
    with stoppable(), bar("work", 3) as job:
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            job.advance()
        job.advance()  # told once
    assert job.done == 1


def test_fault_that_came_first_is_told_by_all(tmp_path: Path) -> None:
    faults = [Fault(rank, "failed", f"oh {rank}", 2) for rank in range(3)]
    assert [first(tmp_path, "job", fault) for fault in faults] == [faults[0]] * 3
    assert [path.name for path in tmp_path.iterdir()] == [".fault-job"]
