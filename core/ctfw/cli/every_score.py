"""Every number of a score table, one per line below its signature: value, interval, floor."""

from __future__ import annotations

import math
from collections.abc import Mapping

from rich.console import Group
from rich.text import Text

from ctfw.scoring.columns import BELOW, Column, binding_floors
from ctfw.scoring.table import ScoreTable

Line = tuple[str, str, str, str, bool]
_HEADER: Line = ("score", "this model", "95 % interval", "best floor", False)


def every_score(table: ScoreTable, names: Mapping[str, str], model: str = "model") -> Group:
    """The row `model` as lines, those of one signature together.

    names  row -> what people read for it
    """
    groups: dict[str, list[Line]] = {}
    for column in table.columns:
        groups.setdefault(column.protocol, []).append(_line(table, column, names, model))
    lines = [_HEADER, *(line for group in groups.values() for line in group)]
    widths = [max(map(len, column)) for column in list(zip(*(line[:3] for line in lines)))]
    shown = [_text(_HEADER, widths, "bold")]
    for protocol, group in groups.items():
        shown.append(Text(protocol, "dim", overflow="fold"))
        shown += [_text(line, widths, "red" if line[4] else "") for line in group]
    if any(line[4] for line in lines):
        shown.append(Text(f"{BELOW} below the best floor", "dim"))
    return Group(*shown)


def _line(table: ScoreTable, column: Column, names: Mapping[str, str], model: str) -> Line:
    cell = table.row(model).cell(column.name)
    floor, whose = floor_to_beat(table, column)
    digits = 1 if abs(cell.value) >= 10 else 3
    interval = "" if math.isnan(cell.low) else f"{cell.low:.{digits}f} to {cell.high:.{digits}f}"
    best = "" if math.isnan(floor) else f"{floor:.{digits}f}  {_short(names.get(whose, whose))}"
    return f"  {column.label}", cell.text(interval=False), interval, best, cell.below_floor


def _text(line: Line, widths: list[int], style: str) -> Text:
    name, value, interval, floor, below = line
    room = "" if below else " " * (len(BELOW) + 1)  # so that digits stand below digits
    value = (value + room).rjust(widths[1] + len(BELOW) + 1)
    cells = (name.ljust(widths[0]), value, interval.rjust(widths[2]), floor)
    return Text("  ".join(cells).rstrip(), style, overflow="fold")


def _short(name: str) -> str:
    """`best constant` of `best constant report`, so that a line fits 80 characters."""
    return name.replace(" report", "").replace(" labels", "").removeprefix("labels ")


def floor_to_beat(table: ScoreTable, column: Column) -> tuple[float, str]:
    """The best of the floors that bind in a column, and its row; NaN and "" without one."""
    floors = {r.name: r.cell(column.name).value for r in table.rows if r.kind == "floor"}
    names = binding_floors(column.higher_is_better, floors)
    if not names:
        return math.nan, ""
    best = (max if column.higher_is_better else min)(names, key=floors.__getitem__)
    return floors[best], best
