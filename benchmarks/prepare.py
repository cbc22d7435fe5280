"""How `ctfw prepare` scales: the same phantoms with one worker and with two, in turns.

`python benchmarks/prepare.py` prints the table; `--write` keeps it in results/prepare.md.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from datetime import date
from pathlib import Path
from statistics import median
from typing import Any

from _page import machine

from ctfw.engine.bench import make_pipeline
from ctfw.engine.context import Context
from ctfw.engine.ledger import Ledger
from ctfw.engine.prepare import prepare_volumes
from ctfw.plugins import load_plugins
from ctfw.recipe import resolve
from ctfw.types import Case
from ctfw.volumes.pipeline import VolumePipeline

RESULTS = Path(__file__).resolve().parent / "results" / "prepare.md"
WANTED = 1.8


def phantoms(count: int) -> tuple[list[Case], Any]:
    """Cases of the profile `phantom`, drawn once and kept in the cache; and its settings."""
    plugins = load_plugins()
    sizes = [f"data.train={count}", "data.validation=1", "data.test=1"]
    recipe = resolve("ours_heter", sizes, None, plugins)
    dataset = Context().build(recipe.data)
    dataset.prepare()
    return list(dataset.cases("train")), recipe.data.settings


def chain(settings: Any, folder: Path) -> VolumePipeline:
    """The profile's steps, with the store in `folder`."""
    plugins, context = load_plugins(), Context()
    pipeline = make_pipeline(plugins.catalog, None, list(settings.preprocess), context)
    for step in pipeline.steps:
        if hasattr(step, "folder"):
            step.folder = folder
    return pipeline


def rate(cases: list[Case], settings: Any, workers: int) -> float:
    """Volumes per second of wall time, from an empty store; the pool of workers is warm."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_volumes(
            chain(settings, folder / "warm"), cases[: 2 * workers], Ledger(), workers=workers
        )
        start = time.monotonic()
        ledger = prepare_volumes(
            chain(settings, folder / "store"), cases, Ledger(), workers=workers
        )
        took = time.monotonic() - start
        if ledger.refused or len(list((folder / "store").glob("*.npy"))) != len(cases):
            raise SystemExit(f"not every phantom was prepared: {ledger.refused}")
        shutil.rmtree(folder / "store")
    return len(cases) / took


def table(rounds: list[tuple[float, float]], count: int) -> str:
    ratios = [two / one for one, two in rounds]
    one, two = (median(values) for values in zip(*rounds, strict=True))
    verdict = "met" if median(ratios) >= WANTED else "missed"
    lines = [
        f"{count} phantoms through the steps of the profile `phantom`, into an empty store;",
        f"{len(rounds)} rounds in turns, medians.",
        "",
        "| workers | volumes per second | ratio to one worker (least, most) |",
        "|---|---|---|",
        f"| 1 | {one:.1f} | 1 |",
        f"| 2 | {two:.1f} | {median(ratios):.2f} ({min(ratios):.2f}, {max(ratios):.2f}) |",
        "",
        f"At least {WANTED} was asked for where two cores are free: {verdict}.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="phantoms")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--write", action="store_true", help="keep the table")
    options = parser.parse_args()
    cases, settings = phantoms(options.count)
    rounds = []
    for number in range(options.rounds):
        order = (1, 2) if number % 2 == 0 else (2, 1)
        found = {workers: rate(cases, settings, workers) for workers in order}
        rounds.append((found[1], found[2]))
        print(f"round {number + 1}: {found[1]:.1f} and {found[2]:.1f} volumes/s", flush=True)
    text = table(rounds, len(cases))
    print(text)
    if options.write:
        head = f"# Workers of `ctfw prepare`\n\n{machine()}, {date.today()}.\n\n"
        RESULTS.write_text(f"{head}{text}\n", encoding="utf-8")


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
