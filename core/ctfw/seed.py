"""Named random streams: what is drawn depends on names, never on the order of drawing.

`stream(seed, "tune", epoch, case_id)` is the same in every process, with any number of workers
and after a resumption.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream_seed(seed: int, *names: str | int) -> int:
    """A 64-bit integer from a seed and a path of names."""
    text = "\0".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "little")


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """A generator of its own for this path of names."""
    return np.random.default_rng(stream_seed(seed, *names))
