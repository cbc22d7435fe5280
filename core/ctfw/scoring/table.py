"""The score table: a model beside its floors, with intervals; JSON, Markdown and plain text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal, NamedTuple

from ctfw.scoring.floors import LABEL_FLOORS, TEXT_FLOORS
from ctfw.scoring.resample import Estimate, bootstrap, why_no_interval
from ctfw.types import Scores

Kind = Literal["model", "floor", "reliance"]
HEADLINE = (
    "bleu-1",
    "bleu-4",
    "rouge-l",
    "coverage",
    "accuracy",
    "specificity",
    "micro-f1",
    "macro-f1",
    "crg",
)
LOWER_IS_BETTER = frozenset({"hallucination-rate", "nll", "perplexity"})
WITHOUT_DIRECTION = frozenset({"positives-generated", "positives-reference"})
# A silent report is perfect in these, so that no floor tells anything.
WITHOUT_FLOOR = frozenset({"specificity", "precision", "hallucination-rate"}) | WITHOUT_DIRECTION
# "All labels positive" is perfect in these by construction; only the other floors bind there.
PERFECT_BY_CLAIMING_ALL = frozenset({"coverage", "coverage-report", "coverage-macro"})
_BELOW = "▼"


def binds(floor: str, column: str) -> bool:
    """Whether a score must be above this floor to tell anything."""
    return not (floor == "all-positive" and column in PERFECT_BY_CLAIMING_ALL)


@dataclass(frozen=True, slots=True)
class Column:
    """One value of a metric; `higher_is_better` is None where neither direction is good."""

    name: str
    label: str
    protocol: str = ""
    higher_is_better: bool | None = True


@dataclass(frozen=True, slots=True)
class Cell:
    """A value with its interval; NaN where undefined."""

    value: float
    low: float = math.nan
    high: float = math.nan
    below_floor: bool = False

    def text(self, digits: int = 3, interval: bool = True) -> str:
        """`0.412 [0.390, 0.433]`, a dash where undefined, a mark where below its floor."""
        if math.isnan(self.value):
            return "–"
        shown = f"{self.value:.{digits}f}"
        if interval and not math.isnan(self.low):
            shown += f" [{self.low:.{digits}f}, {self.high:.{digits}f}]"
        return f"{shown} {_BELOW}" if self.below_floor else shown


@dataclass(frozen=True, slots=True)
class Row:
    """One system: a model, a floor, or a measure of visual reliance."""

    name: str
    kind: Kind
    values: Mapping[str, Cell] = field(default_factory=dict)

    def cell(self, column: str) -> Cell:
        return self.values.get(column, Cell(math.nan))


class Grid(NamedTuple):
    """A table as text: header, rows of cells, and the notes beneath."""

    header: list[str]
    rows: list[list[str]]
    notes: list[str]


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """Rows by columns; `notes` say what the numbers leave out."""

    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    notes: tuple[str, ...] = ()

    def row(self, name: str) -> Row:
        """The row of that name. Raises KeyError."""
        for row in self.rows:
            if row.name == name:
                return row
        raise KeyError(name)

    def with_row(self, name: str, kind: Kind, cells: Mapping[str, Estimate | Cell]) -> ScoreTable:
        """A copy with one more row, e.g. grounded gain under the column `macro-f1`.

        A cell whose column the table lacks gets a column of its own.
        """
        made = {k: c if isinstance(c, Cell) else Cell(*c) for k, c in cells.items()}
        known = {column.name for column in self.columns}
        extra = tuple(_column(key, "") for key in made if key not in known)
        return replace(self, columns=self.columns + extra, rows=(*self.rows, Row(name, kind, made)))

    def to_json(self) -> str:
        """JSON text; an undefined number is null."""
        return json.dumps(_without_nan(asdict(self)), indent=1, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> ScoreTable:
        """The inverse of `to_json`."""
        data = json.loads(text)
        rows = tuple(
            Row(
                row["name"],
                row["kind"],
                {key: Cell(**_with_nan(cell)) for key, cell in row["values"].items()},
            )
            for row in data["rows"]
        )
        columns = tuple(Column(**column) for column in data["columns"])
        return cls(columns, rows, tuple(data["notes"]))

    def grid(self, columns: Sequence[str] | None = None, interval: bool = True) -> Grid:
        """Texts of the chosen columns, by default those of HEADLINE that have a value."""
        chosen = _chosen(self, columns)
        header = ["system", *(column.label for column in chosen)]
        rows = [
            [row.name, *(row.cell(column.name).text(interval=interval) for column in chosen)]
            for row in self.rows
        ]
        notes = list(self.notes)
        cells = [cell for row in rows for cell in row[1:]]
        if any(cell.endswith(_BELOW) for cell in cells):
            notes.append(f"{_BELOW} below the best floor")
        if any("[" in cell for cell in cells):
            notes.append("brackets: 95 % interval, patients resampled")
        protocols: dict[str, list[str]] = {}
        for column in chosen:
            if column.protocol:
                protocols.setdefault(column.protocol, []).append(column.label)
        notes += [f"{', '.join(labels)}: {name}" for name, labels in protocols.items()]
        return Grid(header, rows, notes)

    def to_markdown(self, columns: Sequence[str] | None = None, interval: bool = True) -> str:
        """A Markdown table with its notes as a list."""
        header, rows, notes = self.grid(columns, interval)
        lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
        table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return table + "".join(f"\n{'' if i else chr(10)}- {note}" for i, note in enumerate(notes))

    def to_text(self, columns: Sequence[str] | None = None, interval: bool = True) -> str:
        """Aligned columns for a file or a pipe."""
        header, rows, notes = self.grid(columns, interval)
        widths = [max(len(line[i]) for line in [header, *rows]) for i in range(len(header))]
        lines = [
            "  ".join(
                cell.rjust(width) if i else cell.ljust(width)
                for i, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in [header, *rows]
        ]
        return "\n".join([*lines, *notes])


def build_table(
    rows: Mapping[str, Mapping[str, Scores]],
    patients: Sequence[str],
    kinds: Mapping[str, Kind] | None = None,
    n: int = 2000,
    seed: int = 0,
) -> ScoreTable:
    """Row name -> metric name -> `Scores` of the same cases, as one table.

    A row whose name is a floor's is a floor unless `kinds` says otherwise. A model's cell is
    marked when it is worse than the best floor of its column; floors that have labels only do
    not bind where one of them is perfect by construction.
    """
    kinds = kinds or {}
    columns: dict[str, Column] = {}
    notes: dict[str, None] = {}
    made: list[Row] = []
    for name, metrics in rows.items():
        cells: dict[str, Cell] = {}
        for scores in metrics.values():
            notes |= dict.fromkeys(scores.notes)
            intervals = bootstrap(scores, patients, n, seed) if len(patients) else {}
            for key, value in scores.values.items():
                columns.setdefault(key, _column(key, scores.protocol))
                cells[key] = Cell(float(value), *intervals.get(key, ()))
        floor = name in TEXT_FLOORS + LABEL_FLOORS
        made.append(Row(name, kinds.get(name, "floor" if floor else "model"), cells))
    if reason := why_no_interval(patients):
        notes[f"no intervals: {reason}"] = None
    notes |= dict.fromkeys(_undefined(columns.values(), made))
    table = ScoreTable(tuple(columns.values()), tuple(made), tuple(notes))
    return replace(table, rows=tuple(_marked(row, table) for row in made))


def _undefined(columns: Iterable[Column], rows: Sequence[Row]) -> list[str]:
    """Why cells of the headline columns hold a dash."""
    systems: dict[tuple[str, ...], list[str]] = {}
    for column in columns:
        names = tuple(row.name for row in rows if math.isnan(row.cell(column.name).value))
        if names and column.name in HEADLINE:
            systems.setdefault(names, []).append(column.label)
    return [
        f"– {', '.join(labels)} undefined for {', '.join(names)}"
        + (": labels without a text" if set(names) <= set(LABEL_FLOORS) else "")
        for names, labels in systems.items()
    ]


def _marked(row: Row, table: ScoreTable) -> Row:
    """A model's row with the cells marked that a floor beats."""
    if row.kind != "model":
        return row
    cells = dict(row.values)
    for column in table.columns:
        cell = cells.get(column.name)
        if cell is None or column.name in WITHOUT_FLOOR or math.isnan(cell.value):
            continue
        sign = 1.0 if column.higher_is_better else -1.0
        floors = [
            sign * other.cell(column.name).value
            for other in table.rows
            if other.kind == "floor"
            and binds(other.name, column.name)
            and not math.isnan(other.cell(column.name).value)
        ]
        below = bool(floors) and sign * cell.value < max(floors)
        cells[column.name] = replace(cell, below_floor=below)
    return replace(row, values=cells)


def _column(name: str, protocol: str) -> Column:
    words = {"bleu": "BLEU", "rouge": "ROUGE", "l": "L", "f1": "F1", "crg": "CRG"}
    parts = [words.get(part, part) for part in name.split("-")]
    hyphen = "-" if parts[0] in ("BLEU", "ROUGE") else " "
    higher = None if name in WITHOUT_DIRECTION else name not in LOWER_IS_BETTER
    return Column(name, hyphen.join(parts), protocol, higher)


def _chosen(table: ScoreTable, columns: Sequence[str] | None) -> list[Column]:
    by_name = {column.name: column for column in table.columns}
    if columns is not None:
        return [by_name[name] for name in columns]
    headline = [by_name[name] for name in HEADLINE if name in by_name]
    return headline or list(table.columns)


def _without_nan(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(item) for item in value]
    return value


def _with_nan(cell: Mapping[str, Any]) -> dict[str, Any]:
    return {key: math.nan if value is None else value for key, value in cell.items()}
