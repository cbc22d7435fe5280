"""Several processes write what one would, and a killed job is taken up by any number of them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ctfw.engine.batches import in_batches
from ctfw.runs.files import read_lines

SCRIPT = """
import sys, time
from pathlib import Path
from ctfw import processes
from ctfw.engine.batches import in_batches
file, count, size, pause = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])

def work(part):
    time.sleep(pause)
    return [{"case": i, "of": len(part), "first": part[0]} for i in part]

with processes.joined():
    fits = lambda place, line: line.get("case") == place
    lines = in_batches(work, range(count), size, file, "write", fits)
    assert [line["case"] for line in lines] == list(range(count)), lines
"""


def fits(place: int, line: Mapping[str, Any]) -> bool:
    return line.get("case") == place


def start(file: Path, count: int, size: int, processes: int, pause: float = 0.0) -> list:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [
        subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(file), str(count), str(size), str(pause)],
            env={
                **os.environ, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1",
                "WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
            },
            stderr=subprocess.PIPE,
        )
        for rank in range(processes)
    ]  # fmt: skip


def finish(jobs: list) -> None:
    for job in jobs:
        _, said = job.communicate(timeout=120)
        assert job.returncode == 0, said.decode()[-2000:]


def alone(file: Path, count: int, size: int) -> str:
    def work(part):  # type: ignore[no-untyped-def]
        return [{"case": i, "of": len(part), "first": part[0]} for i in part]

    in_batches(work, range(count), size, file, "write", fits)
    return file.read_text()


@pytest.mark.parametrize(("count", "size"), [(11, 3), (2, 4)])
def test_two_processes_write_the_file_of_one(count: int, size: int, tmp_path: Path) -> None:
    expected = alone(tmp_path / "one.jsonl", count, size)
    finish(start(tmp_path / "two.jsonl", count, size, 2))
    assert (tmp_path / "two.jsonl").read_text() == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one.jsonl", "two.jsonl"]


@pytest.mark.parametrize("then", [1, 2])
def test_killed_processes_are_taken_up_by_any_number(then: int, tmp_path: Path) -> None:
    expected = alone(tmp_path / "one.jsonl", 40, 2)
    jobs = start(tmp_path / "g.jsonl", 40, 2, 2, pause=0.1)
    parts = [tmp_path / f"g.rank{rank}.jsonl" for rank in (0, 1)]
    end = time.monotonic() + 60
    while not all(len(read_lines(part)) >= 4 for part in parts) and time.monotonic() < end:
        time.sleep(0.01)
    for job in jobs:
        job.send_signal(signal.SIGKILL)
        job.communicate()
    before = sum(len(read_lines(part)) for part in parts)
    assert 8 <= before < 40
    began = time.monotonic()
    if then == 1:
        done = []

        def work(part):  # type: ignore[no-untyped-def]
            done.extend(part)
            return [{"case": i, "of": len(part), "first": part[0]} for i in part]

        in_batches(work, range(40), 2, tmp_path / "g.jsonl", "write", fits)
        assert len(done) <= 40 - before // 2 * 2 + 4
        assert time.monotonic() - began < 60
    else:
        finish(start(tmp_path / "g.jsonl", 40, 2, 2))
    assert (tmp_path / "g.jsonl").read_text() == expected
    assert sorted(p.name for p in tmp_path.iterdir()) == ["g.jsonl", "one.jsonl"]


def test_batch_that_was_cut_is_written_again(tmp_path: Path) -> None:
    expected = alone(tmp_path / "one.jsonl", 8, 4)
    part = tmp_path / "g.rank1.jsonl"
    lines = [line for line in expected.splitlines() if line]
    part.write_text("".join(f'{{"at": {i}, {lines[i][1:]}\n' for i in (4, 5, 6)) + '{"at": 7, "ca')
    assert alone(tmp_path / "g.jsonl", 8, 4) == expected


def test_lines_of_one_process_that_do_not_fit_are_written_again(tmp_path: Path) -> None:
    expected = alone(tmp_path / "one.jsonl", 11, 3)
    part = tmp_path / "g.rank1.jsonl"
    lines = [{"at": i, "case": i, "of": 3, "first": i // 3 * 3} for i in range(6)]
    lines[4]["case"] = 9
    part.write_text("".join(json.dumps(line) + "\n" for line in lines) + "5\n{}\n")
    assert alone(tmp_path / "g.jsonl", 11, 3) == expected
