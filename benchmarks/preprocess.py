"""Preprocessing side by side: ctfw and its peers on one volume, one core, one thread.

`python benchmarks/preprocess.py --volume A`; what the rows are: benchmarks/README.md.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import _page
from _peers import PEERS
from _picture import of_source
from _rounds import Job, Run, rounds
from _volumes import INTERCEPT, SLOPE, SPECS, TARGET_MM, made, packing

from ctfw.paths import cache_dir

RESULTS = Path(__file__).resolve().parent / "results"
LONGER = {"A": "A600"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables to stdout, and with --write keep them. Exit 1 if any run failed."""
    options = _options(arguments)
    peers = options.only or list(PEERS)
    everything: list[Run] = []
    for volume in options.volume or ["A"]:
        runs = _measured(volume, peers, options)
        everything += runs
        print(
            f"## Volume {volume}\n\n{_about(volume, options)}\n\n{_page.tables(volume, runs)}\n",
            flush=True,
        )
        if options.write:
            about = _about(volume, options)
            _page.record(volume, about, options.rounds, options.seed, runs).save(RESULTS)
            print(f"written: {_page.write_page(RESULTS).name}", file=sys.stderr)
    return int(any(run.failure for run in everything))


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--volume", action="append", choices=["A", "B", "tiny"], help="repeatable; default A"
    )
    parser.add_argument("--rounds", type=int, default=5, help="default 5")
    parser.add_argument("--only", nargs="+", choices=list(PEERS), help="these rows alone")
    parser.add_argument("--seed", type=int, default=0, help="of the volumes and of the order")
    parser.add_argument(
        "--data",
        type=Path,
        default=cache_dir() / "ctfw-benchmarks",
        help="where volumes are kept; needs 1 GB for A and B, and as much for one result",
    )
    parser.add_argument("--core", type=int, help="pin to this core; default: the last one")
    parser.add_argument("--write", action="store_true", help="keep the results in benchmarks/")
    return parser.parse_args(arguments)


def _measured(volume: str, peers: Sequence[str], options: argparse.Namespace) -> list[Run]:
    """All rounds of one volume; after Ctrl-C, those that were finished."""
    jobs = [_job(volume, peers, options)]
    if volume in LONGER and "ctfw" in peers:
        jobs.append(_job(LONGER[volume], ["ctfw"], options))
    total = options.rounds * sum(len(job.peers) for job in jobs)
    runs: list[Run] = []
    scratch = options.data / f"out-{os.getpid()}"
    try:
        for run in rounds(jobs, options.rounds, options.seed, scratch, _core(options.core)):
            runs.append(run)
            told = run.failure or f"{run.cpu_s:.2f} s CPU, {run.peak_mib:.0f} MiB"
            place = f"[{len(runs)}/{total}] round {run.round}, {run.volume}, {run.peer}"
            print(f"{place}: {told}", file=sys.stderr, flush=True)
    except KeyboardInterrupt:
        print("stopped: the tables hold what was finished", file=sys.stderr)
    finally:
        if scratch.exists():
            scratch.rmdir()
    return runs


def _job(volume: str, peers: Sequence[str], options: argparse.Namespace) -> Job:
    spec = SPECS[volume]
    print(f"volume {volume}: made on first use, then taken from the cache", file=sys.stderr)
    path = made(volume, options.data, options.seed)
    source = {
        **{key: value for key, value in asdict(spec).items() if key != "name"},
        "path": str(path),
        "target_mm": TARGET_MM,
        "slope": SLOPE,
        "intercept": INTERCEPT,
    }
    picture = of_source(path, spec.shape, SLOPE, INTERCEPT)
    return Job(volume, peers, source, spec.expected_zxy, picture)


def _about(volume: str, options: argparse.Namespace) -> str:
    spec = SPECS[volume]
    shape = " x ".join(map(str, spec.shape))
    spacing = " x ".join(f"{step:g}" for step in spec.spacing_mm)
    packed = packing(made(volume, options.data, options.seed), spec)
    return f"{shape} int16 at {spacing} mm, packed {packed:.2f} times by gzip level 6."


def _core(asked: int | None) -> int | None:
    """The core to pin to; None where the system cannot."""
    if not hasattr(os, "sched_getaffinity"):
        return None
    return max(os.sched_getaffinity(0)) if asked is None else asked


if __name__ == "__main__":
    sys.exit(main())
