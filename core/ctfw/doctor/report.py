"""The findings as text for a person, and as data for a program."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import groupby
from typing import TYPE_CHECKING, Any

from ctfw import __version__
from ctfw.doctor.finding import Finding, Rows, count

if TYPE_CHECKING:
    from rich.console import Group, RenderableType

    from ctfw.recipe import ResolvedRecipe

SHOWN, LONG = 3, 36
LEVELS = ("problem", "warning", "note", "ok")
_STYLES = {"problem": "bold red", "warning": "yellow", "note": "cyan", "ok": "green"}


def as_text(findings: Sequence[Finding]) -> Group:
    """One heading per subject, one row per finding, in the order they were found."""
    from rich.console import Group
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    parts: list[Any] = []
    for subject, members in groupby(findings, lambda found: found.subject):
        grid = Table.grid(padding=(0, 1))
        grid.add_column(width=7, no_wrap=True)
        grid.add_column()
        for found in members:
            grid.add_row(Text(found.level, _STYLES[found.level]), Group(*_lines(found)))
        parts += [Text(subject, "bold"), Padding(grid, (0, 0, 1, 2))]
    return Group(*parts)


def _lines(found: Finding) -> Iterator[RenderableType]:
    from rich.text import Text

    yield Text(found.text)
    if found.names:
        yield Text(names(found), "dim")
    if found.table:
        yield _table(found.table)
    if found.advice:
        yield Text(f"-> {found.advice}", "italic")


def names(found: Finding) -> str:
    """The first few of those concerned, and how many more there are; long ones line by line."""
    shown = list(found.names[:SHOWN])
    more = len(found.names) - SHOWN
    between = "\n" if any(len(name) > LONG for name in shown) else "; "
    return between.join([*shown, f"and {more:,} more"] if more > 0 else shown)


def _table(rows: Rows) -> RenderableType:
    from rich.table import Table
    from rich.text import Text

    shown = Table.grid(padding=(0, 2))
    for i, _ in enumerate(rows[0]):
        shown.add_column(justify="right" if i else "left", no_wrap=True)
    for number, row in enumerate(rows):
        shown.add_row(*(Text(cell, "" if number else "dim") for cell in row))
    return shown


def verdict(findings: Sequence[Finding]) -> str:
    """`1 problem (Duplicates), 2 warnings (Reports, Labels), 9 notes`."""
    parts = []
    for level in ("problem", "warning", "note"):
        subjects = [found.subject for found in findings if found.level == level]
        where = f" ({', '.join(dict.fromkeys(subjects))})" if subjects and level != "note" else ""
        parts.append(count(len(subjects), level) + where)
    return ", ".join(parts)


def as_data(recipe: ResolvedRecipe, findings: Sequence[Finding]) -> dict[str, Any]:
    """The same for a program: every name and every number."""
    return {
        "ctfw": __version__,
        "recipe": recipe.name,
        "profile": recipe.profile,
        "hash": recipe.hash,
        "synthetic": recipe.synthetic,
        "counts": {level: sum(found.level == level for found in findings) for level in LEVELS},
        "findings": [asdict(found) for found in findings],
    }
