"""Progress with rate and time left: a bar on a terminal, a line now and then in a log file.

Of several processes the main one tells.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from ctfw.interruption import heed
from ctfw.place import is_main

T = TypeVar("T")

LINE_EVERY_S = 10.0


def duration(seconds: float) -> str:
    """`8 s`, `1 min 05 s`, `2 h 10 min`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def size_of(count: float) -> str:
    """`812 kB`, `91 MB`, `4.6 TB`, in powers of 1000."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"


class Bar:
    """One job under way. `advance` tells how far it is and what it is seeing."""

    def __init__(self, title: str, total: int, done: int = 0) -> None:
        self.title, self.total, self.done = title, total, done
        self._first, self._start, self._said = done, time.monotonic(), time.monotonic()
        self._rich: Any = None
        self._task: Any = None

    def advance(self, count: int = 1, note: str = "") -> None:
        """Raises KeyboardInterrupt where the job was asked to stop and went on."""
        heed()
        self.done += count
        if self._rich is not None:
            self._rich.update(self._task, completed=self.done, note=note)
        elif is_main() and time.monotonic() - self._said >= LINE_EVERY_S:
            self._said = time.monotonic()
            print(f"  {self.line(note)}", file=sys.stderr, flush=True)

    def line(self, note: str = "") -> str:
        """`tune: 320 of 900, 4.1/s, 2 min 21 s left, loss 0.41`."""
        seconds = time.monotonic() - self._start
        rate = (self.done - self._first) / seconds if seconds > 0 else 0.0
        left = f", {duration((self.total - self.done) / rate)} left" if rate > 0 else ""
        return f"{self.title}: {self.done} of {self.total}, {rate:.1f}/s{left}" + (
            f", {note}" if note else ""
        )

    def close(self) -> None:
        seconds = time.monotonic() - self._start
        if self._rich is not None:
            self._rich.stop()
        if seconds >= 2 and is_main():
            print(
                f"  {self.title}: {self.done} in {duration(seconds)}", file=sys.stderr, flush=True
            )


@contextmanager
def bar(title: str, total: int, done: int = 0) -> Iterator[Bar]:
    """A bar for work that the caller advances itself."""
    job = Bar(title, total, done)
    if sys.stderr.isatty() and is_main():
        job._rich, job._task = _rich_bar(title, total, done)
    try:
        yield job
    finally:
        job.close()


def track(items: Iterable[T], title: str, total: int) -> Iterator[T]:
    """Iterate with a bar."""
    with bar(title, total) as job:
        for item in items:
            yield item
            job.advance()


def _rich_bar(title: str, total: int, done: int) -> tuple[Any, Any]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    progress = Progress(
        TextColumn("  {task.description}"),
        BarColumn(bar_width=32),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
        console=Console(stderr=True),
        transient=True,
    )
    progress.start()
    return progress, progress.add_task(title, total=total, completed=done, note="")
