"""What a score table is made of: columns with a protocol, cells with an interval, rows."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import chain, count
from typing import Literal

from ctfw.scoring.floors import LABEL_FLOORS
from ctfw.types import Scores

Kind = Literal["model", "floor", "reliance", "oracle"]
BELOW = "▼"
_SILENT, _CLAIMS_ALL = LABEL_FLOORS[:2]
_WORDS = {"bleu": "BLEU", "rouge": "ROUGE", "l": "L", "f1": "F1", "crg": "CRG"}
_WORDS |= {"meteor": "METEOR", "cider": "CIDEr"}
_MILLIMETRES = re.compile(r"(?:(\d+)-)?(\d+)mm\b")


def binding_floors(higher_is_better: bool | None, floors: Mapping[str, float]) -> list[str]:
    """Of the floors of one column (name -> value), those above which a score tells something.

    A label floor that is perfect by construction does not bind: claiming every finding has a
    coverage of 1. Where reporting nothing is perfect, or has no value while claiming everything
    has one (specificity, precision, hallucination rate), saying less is always better, and no
    floor binds. A column without a direction has none.
    """
    if higher_is_better is None:
        return []
    perfect = 1.0 if higher_is_better else 0.0
    defined = {name: value for name, value in floors.items() if not math.isnan(value)}
    silent, claims_all = defined.get(_SILENT), defined.get(_CLAIMS_ALL)
    if silent == perfect or (silent is None and claims_all is not None):
        return []
    return [name for name in defined if name != _CLAIMS_ALL or claims_all != perfect]


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a metric; `higher_is_better` is None where neither direction is good.

    Raises ValueError without a protocol: such a number is not shown.
    """

    name: str
    label: str
    protocol: str
    higher_is_better: bool | None = True

    def __post_init__(self) -> None:
        if not self.protocol.strip():
            raise ValueError(f"column {self.name!r} has no protocol: such a number is not shown")

    @classmethod
    def of(cls, name: str, scores: Scores, shown: str = "") -> Column:
        """The column of one of a metric's values; `shown` is its name in the table."""
        higher = None if name in scores.without_direction else name not in scores.lower_is_better
        return cls(shown or name, label_of(shown or name), scores.protocol, higher)


def label_of(name: str) -> str:
    """What people read for a value: `bleu-4@vlm3d` is `BLEU-4 (vlm3d)`."""
    value, at, protocol = name.partition("@")
    value = _MILLIMETRES.sub(lambda m: f"{m[1]}–{m[2]}_mm" if m[1] else f"{m[2]}_mm", value)
    parts = [_WORDS.get(part, part) for part in value.split("-")]
    hyphen = "-" if parts[0] in ("BLEU", "ROUGE") else " "
    shown = hyphen.join(parts).replace("_mm", " mm")
    return f"{shown} ({protocol})" if at else shown


def column_names(rows: Mapping[str, Mapping[str, Scores]]) -> dict[tuple[str, str], str]:
    """(metric, value) -> column. The first metric with a value of that name has the plain name,
    a second one that of its protocol as well, or a number where that does not tell them apart."""
    names: dict[tuple[str, str], str] = {}
    for metrics in rows.values():
        for metric, scores in metrics.items():
            for value in scores.values:
                if (metric, value) in names:
                    continue
                marked = f"{value}@{scores.protocol.partition('|')[0]}"
                numbered = (f"{value}@{i}" for i in count(2))
                taken = set(names.values())
                free = (name for name in chain([value, marked], numbered) if name not in taken)
                names[metric, value] = next(free)
    return names


@dataclass(frozen=True, slots=True)
class Cell:
    """A value with its interval; NaN where undefined."""

    value: float
    low: float = math.nan
    high: float = math.nan
    below_floor: bool = False

    def text(self, digits: int = 3, interval: bool = True) -> str:
        """`0.412 [0.390, 0.433]`, a dash where undefined, a mark where below its floor.

        Counts, which are 10 or more, have one digit after the point at most.
        """
        if math.isnan(self.value):
            return "–"
        digits = min(digits, 1) if abs(self.value) >= 10 else digits
        shown = f"{self.value:.{digits}f}"
        if interval and not math.isnan(self.low):
            shown += f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return f"{shown} {BELOW}" if self.below_floor else shown


@dataclass(frozen=True, slots=True)
class Row:
    """One system: a model, a floor, an oracle, or a measure of visual reliance."""

    name: str
    kind: Kind
    values: Mapping[str, Cell] = field(default_factory=dict)

    def cell(self, column: str) -> Cell:
        return self.values.get(column, Cell(math.nan))
