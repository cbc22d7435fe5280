"""Interleaved rounds: every peer once per round, in a process of its own, in a random order."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _picture import Picture, difference

HERE = Path(__file__).resolve().parent
LIMIT_S = 3600
NO_PICTURE = "gunzip-write"
_ALIKE = 0.05
_ONE_THREAD = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "NUMBA_NUM_THREADS",
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


@dataclass(frozen=True)
class Run:
    """One run of one peer. `failure` says why there are no numbers; times in s, memory in MiB."""

    volume: str
    peer: str
    round: int
    failure: str = ""
    import_s: float = 0.0
    import_mib: float = 0.0
    cpu_s: float = 0.0
    wall_s: float = 0.0
    peak_mib: float = 0.0
    shape: tuple[int, ...] = ()
    dtype: str = ""


@dataclass(frozen=True)
class Job:
    """A volume to be measured with some peers.

    `source` is what `_work.Source` is made of; `picture` comes from `_picture.of_source`.
    """

    volume: str
    peers: Sequence[str]
    source: dict[str, Any]
    expected_zxy: tuple[int, int, int]
    picture: Picture


def rounds(
    jobs: Sequence[Job], count: int, seed: int, scratch: Path, core: int | None
) -> Iterator[Run]:
    """Yield every run as it ends. One seed gives one order."""
    rng = random.Random(seed)
    for number in range(1, count + 1):
        for job in jobs:
            for peer in rng.sample(list(job.peers), len(job.peers)):
                yield _one(job, peer, number, scratch, core)


def _one(job: Job, peer: str, number: int, scratch: Path, core: int | None) -> Run:
    _warm(Path(job.source["path"]))
    scratch.mkdir(parents=True, exist_ok=True)
    place = Path(tempfile.mkdtemp(prefix="run-", dir=scratch))
    try:
        answer = _ask(job, peer, place, core)
    finally:
        shutil.rmtree(place, ignore_errors=True)
    wrong = answer.get("failure") or _wrong(job, peer, answer)
    if wrong:
        return Run(job.volume, peer, number, failure=wrong)
    kept = {key: answer[key] for key in answer if key in Run.__dataclass_fields__}
    return Run(job.volume, peer, number, **{**kept, "shape": tuple(kept["shape"])})


def _ask(job: Job, peer: str, place: Path, core: int | None) -> dict[str, Any]:
    """The answer of the process, or {"failure": why}."""
    out = place / "out"
    out.mkdir()
    request, answer = place / "request.json", place / "answer.json"
    request.write_text(
        json.dumps(
            {
                "peer": peer,
                "source": job.source,
                "folder": str(out),
                "answer": str(answer),
                "core": core,
            }
        ),
        encoding="utf-8",
    )
    try:
        done = subprocess.run(
            [sys.executable, str(HERE / "_one_run.py"), str(request)],
            env={**os.environ, **dict.fromkeys(_ONE_THREAD, "1")},
            capture_output=True,
            text=True,
            errors="replace",
            timeout=LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"failure": f"took longer than {LIMIT_S} s"}
    if done.returncode or not answer.exists():
        return {"failure": _reason(done.returncode, done.stderr)}
    result: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return result


def _reason(code: int, stderr: str) -> str:
    """Why a process failed, in one line."""
    if code < 0:
        hint = ", probably for want of memory" if code == -9 else ""
        return f"ended by signal {-code}{hint}"
    lines = [line for line in stderr.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else f"ended with status {code}"
    if last.startswith("ModuleNotFoundError"):
        return f"not installed ({last.partition(': ')[2]})"
    return last[:200]


def _wrong(job: Job, peer: str, answer: dict[str, Any]) -> str:
    """Why the result is not that of the work; empty when it is.

    The coarse picture of the source is what all are held against, so that nobody skips a step,
    turns an axis or writes zeros.
    """
    shape = answer["shape"]
    if any(abs(n - m) > 1 for n, m in zip(shape, job.expected_zxy, strict=True)):
        return f"wrote {shape} voxels (z, x, y) instead of {list(job.expected_zxy)}"
    if not answer["finite"]:
        return "wrote values that are not finite"
    if min(answer["range"]) < -1.0001 or max(answer["range"]) > 1.0001:
        return f"wrote values from {answer['range'][0]:g} to {answer['range'][1]:g}"
    if peer == NO_PICTURE:
        return ""
    apart = difference(answer["picture"], job.picture)
    return f"wrote another picture (means differ by {apart:.2f})" if apart > _ALIKE else ""


def _warm(path: Path) -> None:
    """Bring the file into the page cache."""
    with path.open("rb") as stream:
        while stream.read(1 << 20):
            pass
