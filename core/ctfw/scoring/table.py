"""The score table: a model beside its floors, with intervals; JSON, Markdown and plain text."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from ctfw.scoring.columns import BELOW, Cell, Column, Kind, Row, binding_floors, column_names
from ctfw.scoring.floors import LABEL_FLOORS, TEXT_FLOORS
from ctfw.scoring.intervals import Estimate, percentile, undefined
from ctfw.scoring.resample import has_parts, resample, why_no_interval
from ctfw.scoring.row_labels import row_label
from ctfw.types import Scores

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

        Raises KeyError for a column that the table lacks: it would have no protocol.
        """
        if unknown := set(cells) - {column.name for column in self.columns}:
            raise KeyError(sorted(unknown)[0])
        made = {k: c if isinstance(c, Cell) else Cell(*c) for k, c in cells.items()}
        return replace(self, rows=(*self.rows, Row(name, kind, made)))

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
        rows = []
        for row in self.rows:
            shown = [row.cell(column.name) for column in chosen]
            mark = f" {BELOW}" if any(cell.below_floor for cell in shown) else ""
            rows.append([row.name + mark, *(cell.text(interval=interval) for cell in shown)])
        notes = list(self.notes)
        cells = [cell for row in rows for cell in row[1:]]
        if any(cell.endswith(BELOW) for cell in cells):
            notes.append(f"{BELOW} below the best floor")
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
    marked when it is worse than the best floor of its column that binds (`binding_floors`). Two
    metrics with a value of the same name get a column each: `bleu-4` and `bleu-4@vlm3d`.
    """
    kinds = kinds or {}
    names = column_names(rows)
    given = [scores for metrics in rows.values() for scores in metrics.values()]
    draws = _draws(given, patients, n, seed)
    columns: dict[str, Column] = {}
    made: list[Row] = []
    lost: dict[str, int] = {}
    for row, metrics in rows.items():
        kind = kinds.get(row, "floor" if row in TEXT_FLOORS + LABEL_FLOORS else "model")
        cells: dict[str, Cell] = {}
        for metric, scores in metrics.items():
            drawn = draws.get(id(scores), {})
            for value, number in scores.values.items():
                key = names[metric, value]
                columns.setdefault(key, Column.of(value, scores, key))
                ends = percentile(drawn[value]) if value in drawn else ()
                cells[key] = Cell(float(number), *ends)
                if kind == "model" and value in drawn and not math.isnan(number):
                    lost[key] = max(lost.get(key, 0), undefined(drawn[value]))
        made.append(Row(row, kind, cells))
    notes = _notes(rows)
    notes += [
        f"{names[metric, value]}: no interval, this metric gives no numbers per case"
        for metric, scores in next(iter(rows.values()), {}).items()
        for value in scores.values
        if not has_parts(scores)
    ]
    reason = why_no_interval(patients)
    notes += [f"no intervals: {reason}"] if reason else _lost(columns, lost, n)
    notes += _undefined(columns.values(), made)
    table = ScoreTable(tuple(columns.values()), tuple(made), tuple(dict.fromkeys(notes)))
    return replace(table, rows=tuple(_marked(row, table) for row in made))


def _notes(rows: Mapping[str, Mapping[str, Scores]]) -> list[str]:
    """What the metrics say, each thing once; what they say of a later row alone, with its name."""
    said: list[str] = []
    for number, (row, metrics) in enumerate(rows.items()):
        new = [note for scores in metrics.values() for note in scores.notes if note not in said]
        said += dict.fromkeys(f"{row_label(row)}: {note}" if number else note for note in new)
    return said


def _draws(
    given: Sequence[Scores], patients: Sequence[str], n: int, seed: int
) -> dict[int, dict[str, np.ndarray]]:
    """Draws of each of the scores that can be resampled, by its identity."""
    able = [scores for scores in given if has_parts(scores)]
    drawn = resample(able, patients, n, seed) if able and patients else []
    return {id(scores): draws for scores, draws in zip(able, drawn)}


def _lost(columns: Mapping[str, Column], lost: Mapping[str, int], n: int) -> list[str]:
    """In how many resamples a model's score is undefined: its interval leaves them out."""
    return [
        f"{columns[key].label}: undefined in {number} of {n} resamples, which its interval leaves "
        "out"
        for key, number in lost.items()
        if number
    ]


def _undefined(columns: Iterable[Column], rows: Sequence[Row]) -> list[str]:
    """Why cells of the headline columns hold a dash."""
    systems: dict[tuple[str, ...], list[str]] = {}
    for column in columns:
        names = tuple(row.name for row in rows if math.isnan(row.cell(column.name).value))
        if names and column.name in HEADLINE:
            systems.setdefault(names, []).append(column.label)
    return [
        f"– {', '.join(labels)} undefined for {', '.join(map(row_label, names))}"
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
        if cell is None or math.isnan(cell.value):
            continue
        floors = {r.name: r.cell(column.name).value for r in table.rows if r.kind == "floor"}
        sign = 1.0 if column.higher_is_better else -1.0
        binding = [sign * floors[n] for n in binding_floors(column.higher_is_better, floors)]
        below = bool(binding) and sign * cell.value < max(binding)
        cells[column.name] = replace(cell, below_floor=below)
    return replace(row, values=cells)


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
