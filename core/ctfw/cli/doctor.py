"""`ctfw doctor`: what is wrong with a recipe and its data before GPU hours are spent."""

from __future__ import annotations

import shutil
import sys
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from ctfw.cli.options import Profile, Recipe, Set
from ctfw.cli.run import Nproc, Runs
from ctfw.plugins import load_plugins

WIDEST = 110


def doctor(
    recipe: Recipe,
    overrides: Set = None,
    profile: Profile = None,
    scans: Annotated[
        int,
        typer.Option(
            "--scans", metavar="N", min=0, help="Headers read per split, evenly spaced; 0: all."
        ),
    ] = 2000,
    json: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write the findings as data too.")
    ] = None,
    runs: Runs = Path("runs"),
    nproc: Nproc = 1,
) -> None:
    """Look for what would break a run or make its scores false, before it starts.

    Checks files, splits, duplicates, reports, labels, geometry, lengths, steps, memory, disk and
    packages. Exit code 2 when there is a problem.
    """
    from ctfw.doctor.examine import examine
    from ctfw.doctor.report import as_data, as_text, verdict
    from ctfw.progress import duration
    from ctfw.recipe import resolve
    from ctfw.runs.files import write_json

    start = time.monotonic()
    plugins = load_plugins()
    resolved = resolve(recipe, overrides or (), profile, plugins)
    scale = f", profile {resolved.profile}" if resolved.profile else ""
    print(f"{resolved.name}{scale}, {resolved.short_hash}", file=sys.stderr)
    if resolved.synthetic:
        print("SYNTHETIC data", file=sys.stderr)
    findings = examine(resolved, plugins, scans=scans, runs=runs, processes=nproc)
    if json is not None:
        write_json(json, as_data(resolved, findings))
    _print(as_text(findings))
    print(f"{verdict(findings)} ({duration(time.monotonic() - start)})")
    if any(found.level == "problem" for found in findings):
        raise typer.Exit(2)


def _print(findings: Any) -> None:
    """To stdout; without the padding of a terminal where it goes to a file or a pipe."""
    from rich.console import Console

    width = min(WIDEST, shutil.get_terminal_size((WIDEST, 24)).columns)
    console = Console(width=width, highlight=False)
    if console.is_terminal:
        console.print(findings)
        return
    with console.capture() as kept:
        console.print(findings)
    print("\n".join(line.rstrip() for line in kept.get().splitlines()))
