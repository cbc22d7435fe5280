"""Arguments and options that several verbs share."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

Recipe = Annotated[str, typer.Argument(metavar="RECIPE", help="A file, or a shipped recipe.")]
Set = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a setting; may be repeated."),
]
Profile = Annotated[
    str | None,
    typer.Option("--profile", metavar="NAME", help="Where and at what scale: a name or a file."),
]


def columns(rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Rows as aligned text; the last column is not padded."""
    table = [tuple(row) for row in rows]
    widths = [max(map(len, column)) for column in list(zip(*table))[:-1]]
    lines = [
        indent + "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths)), row[-1]]).rstrip()
        for row in table
    ]
    return "\n".join(lines)
