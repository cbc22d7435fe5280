"""Which of several processes this one is, by what its launcher says. Light.

`ctfw run --nproc` and torchrun tell each process its place by the environment variables RANK,
LOCAL_RANK and WORLD_SIZE.
"""

from __future__ import annotations

import os


def world() -> int:
    """Processes in all."""
    return number_of("WORLD_SIZE", 1)


def rank() -> int:
    """Which of them this one is, from 0."""
    return number_of("RANK", 0)


def local_rank() -> int:
    """Which of those on this machine, from 0."""
    return number_of("LOCAL_RANK", 0)


def is_main() -> bool:
    """Whether this is the one that writes and speaks."""
    return rank() == 0 or world() == 1


def number_of(name: str, default: int) -> int:
    """A variable of the environment; `default` where it is not set, or no number."""
    text = os.environ.get(name, "")
    return int(text) if text.isdecimal() else default
