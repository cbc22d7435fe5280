"""Printing a scores.json: the table with its floors, then what the numbers mean."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from ctfw.runs.files import read_json
from ctfw.scoring.table import Column, Row, ScoreTable

COLUMNS = ("bleu-1", "bleu-4", "rouge-l", "coverage", "accuracy", "macro-f1")


def print_scores(file: Path) -> None:
    """The table and the visual reliance of one report stage, to stdout."""
    print_facts(read_json(file), file.parent.name)


def print_facts(facts: dict[str, Any], title: str) -> None:
    """The same from the content of a scores.json."""
    from rich.console import Console

    from ctfw.cli.tables import score_table

    table = read_table(facts["table"])
    known = {column.name for column in table.columns}
    shown = [name for name in COLUMNS if name in known] or [c.name for c in table.columns[:6]]
    marked = "SYNTHETIC data, " if facts.get("synthetic") else ""
    counts = f"{count(facts['cases'], 'case')} of {count(facts['patients'], 'patient')}"
    heading = f"{title}: {marked}{counts}"
    width = None if sys.stdout.isatty() else 140
    console = Console(width=width, highlight=False)
    console.print(score_table(table, heading, shown, interval=False))
    for line in reliance_lines(facts):
        print(line)


def count(number: int, noun: str) -> str:
    """`1 case`, `2 cases`."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def reliance_lines(facts: dict[str, Any]) -> list[str]:
    """Grounded gain and likelihood reliance in words."""
    reliance = facts.get("reliance") or {}
    lines = []
    if gain := reliance.get("grounded_gain"):
        lines.append(f"grounded gain (macro-F1, own minus another patient's image): {words(gain)}")
    for name, value in (reliance.get("likelihood") or {}).items():
        other = {"another": "another patient's image"}.get(name, f"{name} image")
        lines.append(f"likelihood reliance (NLL per token, {other} minus own): {words(value)}")
    return lines


def words(estimate: dict[str, float | None]) -> str:
    """`0.213 [0.150, 0.281], above 0`: the verdict only where the interval excludes 0."""
    value, low, high = (estimate[key] for key in ("value", "low", "high"))
    if value is None:
        return "undefined"
    if low is None or high is None:
        return f"{value:.3f} (no interval)"
    verdict = "above 0" if low > 0 else "below 0" if high < 0 else "not shown to differ from 0"
    return f"{value:.3f} [{low:.3f}, {high:.3f}], {verdict}"


def read_table(plain: dict[str, Any], *, labelled: bool = True) -> ScoreTable:
    """The table of a scores.json; `labelled`: its rows under the names that people read."""
    known = {field.name for field in fields(Row)}
    rows = [{key: row[key] for key in row if key in known} for row in plain["rows"]]
    if labelled:
        for row, name in zip(rows, row_labels(plain).values(), strict=True):
            row["name"] = name
    columns = [{f.name: c[f.name] for f in fields(Column)} for c in plain["columns"]]
    return ScoreTable.from_json(
        json.dumps({"columns": columns, "rows": rows, "notes": plain["notes"]})
    )


def row_labels(plain: dict[str, Any]) -> dict[str, str]:
    """Row -> what people read for it, of the table of a scores.json."""
    return {row["name"]: row.get("label", row["name"]) for row in plain["rows"]}
