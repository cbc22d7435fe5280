"""Several processes of one run on this machine: `ctfw run --nproc N` without a launcher of yours.

Each process is `ctfw resume RUN` with the environment variables that torchrun would set. They are
in the group of the process that starts them, so that Ctrl-C in a terminal reaches all.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from ctfw.doctor.machine import cores
from ctfw.interruption import stoppable
from ctfw.runs.directory import RunDirectory
from ctfw.runs.fault import Fault, first

JOB, LIFELINE = "CTFW_JOB", "CTFW_LIFELINE"
ALONE_S, GRACE_S = 3.0, 30.0
_LOOK_S = 0.1


def run_together(run: RunDirectory, count: int) -> int:
    """Go on with a run in `count` processes; the exit code of who failed first, or 0.

    When one ends with an error, or this process is stopped, the others are asked to stop, and
    killed after half a minute. Raises KeyboardInterrupt when it is stopped itself.
    """
    job = uuid.uuid4().hex
    with stoppable(), _lifeline() as lifeline:
        started: list[subprocess.Popen[bytes]] = []
        try:
            port = free_port()
            for rank in range(count):
                started.append(_start(run.path, rank, count, port, job, lifeline))
            failed = _wait(started)
            return 0 if failed is None else exit_code(run, job, failed, started[failed].returncode)
        finally:
            _stop(started)


def _start(
    run: Path, rank: int, count: int, port: int, job: str, lifeline: int
) -> subprocess.Popen[bytes]:
    place = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": count, "LOCAL_WORLD_SIZE": count}
    own = {
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
        JOB: job,
        LIFELINE: lifeline,
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS") or max(1, cores() // count),
    }
    environment = os.environ | {name: str(value) for name, value in {**place, **own}.items()}
    command = [sys.executable, "-m", "ctfw", "resume", str(run)]
    return subprocess.Popen(command, env=environment, pass_fds=(lifeline,))


def _wait(started: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """The first process that ended with an error, or None when all went well."""
    while True:
        codes = [process.poll() for process in started]
        for rank, code in enumerate(codes):
            if code:
                return rank
        if all(code == 0 for code in codes):
            return None
        time.sleep(_LOOK_S)


def _stop(started: Sequence[subprocess.Popen[bytes]]) -> None:
    """Let them end by themselves, as after Ctrl-C or a lost connection; else ask, then kill."""
    for ask, seconds in ((None, ALONE_S), (signal.SIGTERM, GRACE_S), (signal.SIGKILL, None)):
        living = [process for process in started if process.poll() is None]
        if ask is not None:
            for process in living:
                process.send_signal(ask)
        end = None if seconds is None else time.monotonic() + seconds
        for process in living:
            with suppress(subprocess.TimeoutExpired):
                process.wait(None if end is None else max(0.0, end - time.monotonic()))


def exit_code(run: RunDirectory, job: str, rank: int, code: int) -> int:
    """The exit code of the job; a process that was killed is told of, because it could not.

    It may have been the library's connection that ended it, when another process had failed: then
    that one has told of its error, and the code is its own.
    """
    if code > 0:
        return code
    with suppress(ValueError):
        name = signal.Signals(-code).name
        words = (
            f"process {rank} was ended by {name}. With SIGKILL it is most often the system that is "
            "out of memory: see docs/how-to/memory_budget.md"
        )
        found = first(run.path, job, Fault(rank, "failed", words, 1))
        if found.words == words:
            print(words, file=sys.stderr)
            run.set_status(state="failed", error=words)
        return found.code
    return 1


def free_port() -> int:
    """A TCP port of this machine that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@contextmanager
def _lifeline() -> Iterator[int]:
    """A pipe whose other end closes with this process, whatever ends it."""
    reading, writing = os.pipe()
    try:
        yield reading
    finally:
        os.close(reading)
        os.close(writing)


def end_with_launcher() -> None:
    """Stop this process when the one that started it is gone; nothing without a launcher of ours.

    A launcher that is killed cannot stop anyone, and the others would train on unseen.
    """
    lifeline = os.environ.pop(LIFELINE, "")
    if not lifeline:
        return

    def watch() -> None:
        with suppress(OSError):
            os.read(int(lifeline), 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(GRACE_S)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True, name="lifeline").start()
