"""One process per run folder; SIGTERM ends a run as Ctrl-C does."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ctfw.errors import UserError
from ctfw.runs.lock import only_one, stoppable

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


def test_sigterm_is_an_interruption() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), stoppable():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before
