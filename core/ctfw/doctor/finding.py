"""What a check has to say."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

Item = TypeVar("Item")
Level = Literal["problem", "warning", "note", "ok"]
Rows = tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    level    problem: it will break the run or make its scores false; warning: look at it; note: a
             fact; ok: it was checked and nothing was found
    text     what, where and how many, in one line
    names    whom it concerns, all of them, e.g. ids of cases
    advice   what to do
    table    rows of cells, the header first
    values   the numbers behind the text, for a program that reads them
    subject  under which heading it is shown; filled in by `examine`
    """

    level: Level
    text: str
    names: tuple[str, ...] = ()
    advice: str = ""
    table: Rows = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    subject: str = ""


def problem(text: str, names: Iterable[str] = (), advice: str = "", **values: Any) -> Finding:
    """It will break the run or make its scores false."""
    return Finding("problem", text, tuple(names), advice, values=values)


def warning(text: str, names: Iterable[str] = (), advice: str = "", **values: Any) -> Finding:
    """Look at it."""
    return Finding("warning", text, tuple(names), advice, values=values)


def note(text: str, table: Rows = (), advice: str = "", **values: Any) -> Finding:
    """A fact."""
    return Finding("note", text, advice=advice, table=table, values=values)


def ok(text: str, **values: Any) -> Finding:
    """It was checked and nothing was found."""
    return Finding("ok", text, values=values)


def count(number: int, one: str, many: str = "") -> str:
    """`1 case`, `2 cases`, `1,204 studies`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def percent(part: float, whole: float = 1.0) -> str:
    """`0.4 %`, `12 %`; never `0 %` of something, nor `100 %` of less than all."""
    share = 100 * part / whole if whole else 0.0
    if 0 < share < 0.1:
        return "under 0.1 %"
    if share < 9.95:
        return f"{share:.2g} %"
    return f"{min(share, 99) if share < 100 else share:.0f} %"


def by_split(splits: Iterable[str]) -> str:
    """`train 3, test 1`, in the order in which the splits come up first."""
    return ", ".join(f"{split} {number:,}" for split, number in Counter(splits).items())


def evenly(items: Sequence[Item], number: int) -> list[Item]:
    """At most `number` items, evenly spaced, the first and the last among them; 0 means all."""
    if number <= 0 or len(items) <= number:
        return list(items)
    if number == 1:
        return [items[0]]
    return [items[i * (len(items) - 1) // (number - 1)] for i in range(number)]
