"""Tables and notes that fit into a line, and numbers with as many digits as they need."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence

WIDTH = 140
"""Characters of a line; a wider table goes on below with its first column again."""
MOST = 5


def digits_of(low: float, high: float, least: int = 3, significant: int = 2) -> int:
    """Decimals that show half of an interval with that many significant digits, `least` to 5."""
    half = (high - low) / 2
    if not (math.isfinite(half) and half > 0):
        return least
    return min(max(significant - 1 - math.floor(math.log10(half)), least), MOST)


def listed(notes: Sequence[str], markdown: bool) -> str:
    """Notes as a list; in plain text no line is longer than a table may be."""
    if markdown:
        return "\n".join("- " + piped(note) for note in notes)
    return "\n".join(
        textwrap.fill(
            f"- {note}",
            WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for note in notes
    )


def blocks(rows: Sequence[Sequence[str]], gap: int = 2) -> list[list[list[str]]]:
    """A table cut between its columns so that no line is wider than WIDTH.

    The first column stands in each part again. A single column may still be wider.
    """
    first, *others = [list(column) for column in zip(*rows, strict=True)]
    start = max(map(len, first))
    found: list[list[list[str]]] = [[first]]
    used = start
    for column in others:
        wide = gap + max(map(len, column))
        if used + wide > WIDTH and len(found[-1]) > 1:
            found.append([first])
            used = start
        found[-1].append(column)
        used += wide
    return [[list(row) for row in zip(*part, strict=True)] for part in found]


def markdown_table(rows: Sequence[Sequence[str]], right: bool = False) -> str:
    """The first row is the header; `right` aligns all columns but the first to the right."""
    head, *body = rows
    rule = ["---", *["---:" if right else "---"] * (len(head) - 1)]
    lines = [[piped(cell) for cell in head], rule, *([piped(c) for c in row] for row in body)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def piped(text: str) -> str:
    """Text that ends no cell of a Markdown table."""
    return text.replace("|", r"\|")
