"""A comparison as text, Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple

from ctfw.cli.comparison_rules import rules
from ctfw.cli.options import columns as aligned
from ctfw.scoring.comparison import Compared, Comparison

Format = Literal["text", "markdown", "latex", "csv"]
NONE = "–"


class Cell(NamedTuple):
    """A text of the table, and whether it is the best of its column."""

    text: str
    best: bool = False


class Sheet(NamedTuple):
    """Header, rows (name, cells), notes; a row that belongs to the one above starts with blanks."""

    header: list[str]
    rows: list[tuple[str, list[Cell]]]
    notes: list[str]


def sheet(comparison: Comparison, left_out: Sequence[str] = (), mark: str = "bold") -> Sheet:
    """Per system its values, and what it differs from the baseline by; the rules beneath.

    `mark` is how the best values will be marked, in words.
    """
    baseline = comparison.systems[0].name
    rows: list[tuple[str, list[Cell]]] = []
    for system in comparison.systems:
        title = system.name + (" (baseline)" if system.name == baseline else "")
        best = {name for name, those in comparison.best.items() if those == system.name}
        rows.append((title, _cells(comparison, system, _value, best)))
        if (seeds := max(mean.seeds for mean in system.means.values())) > 1:
            title = f"  sd of {seeds} seeds / of patients"
            rows.append((title, _cells(comparison, system, _deviations)))
        if system.contrasts:
            rows.append((f"  minus {baseline}", _cells(comparison, system, _contrast)))
            rows.append(("  p (Holm)", _cells(comparison, system, _p_values)))
    header = ["system", *(column.label for column in comparison.columns)]
    return Sheet(header, rows, [*left_out, *rules(comparison, mark)])


def in_text(table: Sheet) -> str:
    """Aligned columns; the best values have a star."""
    rows = [(name, *(c.text + " *" * c.best for c in cells)) for name, cells in table.rows]
    return "\n".join([aligned([table.header, *rows]), *(f"- {note}" for note in table.notes)])


def in_markdown(table: Sheet) -> str:
    """A Markdown table, the best values bold, the notes as a list."""
    rows = [
        [_pipe(name.strip()), *(f"**{c.text}**" if c.best else c.text for c in cells)]
        for name, cells in table.rows
    ]
    lines = [table.header, ["---", *["---:"] * (len(table.header) - 1)], *rows]
    text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return text + "\n\n" + "\n".join(f"- {_pipe(note)}" for note in table.notes)


def in_latex(table: Sheet) -> str:
    """A table for booktabs, the best values bold, the notes beneath."""
    head = " & ".join(escaped(name) for name in table.header)
    body = []
    for name, cells in table.rows:
        # "{}": a row that starts with [ or * would be read as an option of the line break above.
        inset = r"\quad " if name.startswith(" ") else "{}" * name.startswith(("[", "*"))
        texts = [rf"\textbf{{{_number(c.text)}}}" if c.best else _number(c.text) for c in cells]
        body.append(" & ".join([inset + escaped(name.strip()), *texts]) + r" \\")
    notes = [escaped(note) + r" \par" for note in table.notes]
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\begin{{tabular}}{{l{'r' * (len(table.header) - 1)}}}",
            r"\toprule",
            head + r" \\",
            r"\midrule",
            *body,
            r"\bottomrule",
            r"\end{tabular}",
            r"\par\smallskip\raggedright\footnotesize",
            *notes,
            r"\end{table}",
        ]
    )


def in_csv(comparison: Comparison) -> str:
    """One line per system and score; what is undefined is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_FIELDS)
    baseline = comparison.systems[0].name
    for system in comparison.systems:
        for column in comparison.columns:
            mean, contrast = system.means[column.name], system.contrasts.get(column.name)
            best = comparison.best.get(column.name) == system.name
            row = [system.name, column.name, column.protocol, *mean[:6], int(best)]
            tail = [baseline, *contrast[:5]] if contrast else [""] * 6
            row += [*tail, comparison.cases, comparison.patients]
            writer.writerow(["" if isinstance(x, float) and math.isnan(x) else x for x in row])
    return text.getvalue().rstrip("\n")


_FIELDS = (
    "system", "score", "protocol", "value", "low", "high", "seeds", "sd_seeds", "sd_patients",
    "best", "baseline", "difference", "difference_low", "difference_high", "p", "p_holm", "cases",
    "patients",
)  # fmt: skip


def escaped(text: str) -> str:
    """Text that LaTeX prints as it stands."""
    return re.sub(r"[\\{}$&#_%~^<>|–]", lambda match: _LATEX[match[0]], text)


_LATEX = {
    "\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "–": "--",
    **{mark: "\\" + mark for mark in "{}$&#_%"},
}  # fmt: skip


def _number(text: str) -> str:
    """A cell for LaTeX: a minus in front of a number is no hyphen."""
    return re.sub(r"(?<![\w.])([-+<])(?=\d)", r"$\1$", text.replace(NONE, "--"))


def _cells(
    comparison: Comparison,
    system: Compared,
    text: Callable[[Compared, str], str],
    best: Collection[str] = (),
) -> list[Cell]:
    return [Cell(text(system, c.name), c.name in best) for c in comparison.columns]


def _value(system: Compared, name: str) -> str:
    mean = system.means[name]
    return _spanned(mean.value, mean.low, mean.high, "")


def _deviations(system: Compared, name: str) -> str:
    mean = system.means[name]
    return f"{_three(mean.sd_seeds)} / {_three(mean.sd_patients)}"


def _contrast(system: Compared, name: str) -> str:
    contrast = system.contrasts[name]
    return _spanned(contrast.value, contrast.low, contrast.high, "+")


def _p_values(system: Compared, name: str) -> str:
    contrast = system.contrasts[name]
    return f"{_p(contrast.p)} ({_p(contrast.holm)})"


def _spanned(value: float, low: float, high: float, sign: str) -> str:
    if math.isnan(value):
        return NONE
    shown = f"{value:{sign}.3f}"
    return shown if math.isnan(low) else f"{shown} [{low:.3f}, {high:.3f}]"


def _three(value: float) -> str:
    return NONE if math.isnan(value) else f"{value:.3f}"


def _p(value: float) -> str:
    if math.isnan(value):
        return NONE
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"


def _pipe(text: str) -> str:
    return text.replace("|", r"\|")
