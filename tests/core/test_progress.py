"""Progress says how far, how fast and how long still."""

from __future__ import annotations

import sys

import pytest

from ctfw import progress
from ctfw.progress import bar, duration, track


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (125, "2 min 05 s"),
        (3599.7, "1 h 00 min"),
        (7800, "2 h 10 min"),
    ],
)
def test_duration_in_words(seconds: float, words: str) -> None:
    assert duration(seconds) == words


def test_line_now_and_then_in_a_log(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with bar("tune", 900) as job:
        for _ in range(60):
            clock.now += 0.25
            job.advance(note="loss 0.41")
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "  tune: 40 of 900, 4.0/s, 3 min 35 s left, loss 0.41",
        "  tune: 60 in 15 s",
    ]


def test_resumed_job_counts_only_its_own_speed(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with bar("tune", 100, done=80) as job:
        clock.now += 11
        job.advance(11)
    assert capsys.readouterr().err.splitlines()[0] == "  tune: 91 of 100, 1.0/s, 9 s left"


def test_short_job_says_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(iter("abc"), "read", 3)) == ["a", "b", "c"]
    assert capsys.readouterr().err == ""


def test_bar_on_a_terminal_is_closed_again(
    clock: Clock, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    jobs = []

    def work() -> None:
        with bar("tune", 3) as job:
            jobs.append(job)
            job.advance(note="loss 1")
            clock.now += 5
            raise KeyError

    with pytest.raises(KeyError):
        work()
    assert not jobs[0]._rich.live.is_started
    assert capsys.readouterr().err.rstrip().endswith("tune: 1 in 5 s")
