"""Ctrl-C and SIGTERM: both stop a job, and neither is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

_asked = threading.Event()


@contextmanager
def stoppable() -> Iterator[None]:
    """Turn SIGTERM, which batch schedulers send, into the interruption that Ctrl-C is.

    Python drops an exception that a signal raises while an object is being freed, and the job
    would go on. So it is remembered, and `heed` raises it again at the next step.
    """

    def stop(signum: int, frame: Any) -> None:
        _asked.set()
        raise KeyboardInterrupt

    before: dict[int, Any] = {}
    with suppress(ValueError):  # not in the main thread: leave signals to who owns it
        for number in (signal.SIGTERM, signal.SIGINT):
            before[number] = signal.signal(number, stop)
    _asked.clear()
    try:
        yield
    finally:
        _asked.clear()
        for each, handler in before.items():
            signal.signal(each, handler)


def heed() -> None:
    """Raise KeyboardInterrupt where one was asked for; called between the steps of a job."""
    if _asked.is_set() and threading.current_thread() is threading.main_thread():
        _asked.clear()
        raise KeyboardInterrupt
