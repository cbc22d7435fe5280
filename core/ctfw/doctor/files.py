"""Whether the files are there, and what the data set has left out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ctfw.doctor.finding import Finding, by_split, count, ok, percent, problem, warning
from ctfw.doctor.scene import in_threads, sources

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene
    from ctfw.types import Case

MOST_MISSING = 0.5
"""A run ends when more than this share of the scans cannot be used."""
FEW_LEFT_OUT = 0.01


def check(scene: Scene) -> Iterator[Finding]:
    """Files that are missing or empty, and cases that the data set does not use."""
    cases = scene.cases
    states = list(in_threads(_state, cases, "look for files"))
    found = list(_bad_files(cases, states))
    yield from found or [ok(f"the files of all {count(len(cases), 'case')} are there")]
    left_out = getattr(scene.dataset, "left_out", None)
    if isinstance(left_out, Mapping):
        for reason, ids in left_out.items():
            if ids:
                yield _left_out(reason, tuple(map(str, ids)), len(cases))


def _bad_files(cases: list[Case], states: list[str]) -> Iterator[Finding]:
    for state, advice in (
        ("missing", "fetch them, or take their rows out of the tables"),
        ("empty", "the files have no content: fetch them again"),
        ("unreadable", "check the permissions of the files"),
    ):
        bad = [case for case, each in zip(cases, states, strict=True) if each == state]
        if not bad:
            continue
        make = problem if len(bad) > MOST_MISSING * len(cases) else warning
        text = (
            f"{count(len(bad), 'case has', 'cases have')} a file that is {state} "
            f"({by_split(case.split for case in bad)}); a run leaves them out"
        )
        yield make(text, [case.id for case in bad], advice, **{state: len(bad)})


def _left_out(reason: str, ids: tuple[str, ...], used: int) -> Finding:
    share = len(ids) / (len(ids) + used)
    text = f"the data set leaves out {count(len(ids), 'case')} {reason} ({percent(share)})"
    values = {"reason": reason, "left_out": len(ids)}
    if share < FEW_LEFT_OUT:
        return Finding("note", text, ids, values=values)
    return Finding("warning", text, ids, "make sure that this is meant", values=values)


def _state(case: Case) -> str:
    """The worst state of a case's files: missing, unreadable, empty, or an empty text."""
    found = {_state_of(path) for path in sources(case)}
    return next((s for s in ("missing", "unreadable", "empty") if s in found), "")


def _state_of(path: Path) -> str:
    try:
        if path.is_dir():
            with os.scandir(path) as entries:
                return "" if next(entries, None) is not None else "empty"
        return "" if path.stat().st_size else "empty"
    except FileNotFoundError:
        return "missing"
    except OSError:
        return "unreadable"
