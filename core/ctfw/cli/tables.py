"""A score table as a rich table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ctfw.scoring.table import ScoreTable

_STYLES = {"model": "bold", "floor": "dim", "reliance": "cyan"}


def score_table(
    table: ScoreTable,
    title: str = "",
    columns: Sequence[str] | None = None,
    interval: bool = True,
) -> Group:
    """Models in bold, floors dimmed, cells below their floor in red; notes beneath."""
    header, rows, notes = table.grid(columns, interval)
    shown = Table(title=title or None, title_justify="left", header_style="bold")
    for i, name in enumerate(header):
        shown.add_column(name, justify="right" if i else "left", no_wrap=not i)
    names = [column.name for column in table.columns]
    labels = {column.label: column.name for column in table.columns if column.name in names}
    for row, cells in zip(table.rows, rows, strict=True):
        below = [False, *(row.cell(labels[label]).below_floor for label in header[1:])]
        texts = [Text(cell, "red" if low else "") for cell, low in zip(cells, below, strict=True)]
        shown.add_row(*texts, style=_STYLES[row.kind])
    return Group(shown, *(Text(note, "dim") for note in notes))
