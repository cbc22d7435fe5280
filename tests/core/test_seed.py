"""Random streams depend on names, never on the order of drawing."""

from __future__ import annotations

import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st

from ctfw.seed import stream, stream_seed

names = st.lists(st.one_of(st.integers(0, 9), st.text(max_size=5)), max_size=4)


@given(st.integers(0, 2**40), names)
def test_stream_is_a_function_of_its_names(seed: int, path: list[str | int]) -> None:
    first = stream(seed, *path).integers(2**62, size=4).tolist()
    stream(seed, "something else").random(5)
    assert stream(seed, *path).integers(2**62, size=4).tolist() == first


def test_streams_of_different_names_differ() -> None:
    paths: list[tuple[str | int, ...]] = [
        (), ("a",), ("a", 1), ("a", 2), ("a", "1", ""), ("ab",), ("a", "b"), ("b", "a"),
    ]  # fmt: skip
    seeds = {stream_seed(seed, *path) for seed in (0, 1) for path in paths}
    assert len(seeds) == 2 * len(paths)


def test_stream_is_the_same_in_every_process() -> None:
    code = "from ctfw.seed import stream_seed; print(stream_seed(7, 'tune', 3, 'case'))"
    told = {
        subprocess.run(
            [sys.executable, "-c", code], env={"PYTHONHASHSEED": salt}, capture_output=True,
            text=True, check=True,
        ).stdout.strip()
        for salt in ("1", "2")
    }  # fmt: skip
    assert told == {str(stream_seed(7, "tune", 3, "case"))}
