"""A score table as a rich table for the terminal."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ctfw.scoring.table import ScoreTable

_FEW = 6  # the system's name and five values with intervals fill 120 characters
_STYLES = {"model": "bold", "floor": "dim", "reliance": "cyan", "oracle": "dim italic"}


def score_table(
    table: ScoreTable,
    title: str = "",
    columns: Sequence[str] | None = None,
    interval: bool | None = None,
) -> Group:
    """Models in bold, floors and oracles dimmed, cells below their floor in red; notes beneath.

    Intervals are shown where the columns are few enough for a terminal, unless `interval` says.
    """
    if interval is None:
        interval = len(table.grid(columns).header) <= _FEW
    header, rows, notes = table.grid(columns, interval)
    shown = Table(title=Text(title) if title else None, title_justify="left", header_style="bold")
    shown.add_column(header[0], overflow="fold")
    for i, name in enumerate(header[1:], start=1):  # where room is short, names fold, not numbers
        width = max(map(len, [name, *(cells[i] for cells in rows)]))
        shown.add_column(name, justify="right", no_wrap=True, min_width=width)
    labels = {column.label: column.name for column in table.columns}
    for row, cells in zip(table.rows, rows, strict=True):
        below = [False, *(row.cell(labels[label]).below_floor for label in header[1:])]
        texts = [Text(cell, "red" if low else "") for cell, low in zip(cells, below, strict=True)]
        shown.add_row(*texts, style=_STYLES[row.kind])
    return Group(shown, *(Text(note, "dim") for note in notes))
