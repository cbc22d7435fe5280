"""A comparison as text, Markdown, LaTeX or CSV."""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Collection, Sequence
from typing import Literal, NamedTuple

from ctfw.cli.comparison_rules import rules
from ctfw.cli.layout import blocks, digits_of, listed, markdown_table
from ctfw.cli.options import columns as aligned
from ctfw.scoring.cells import guarded
from ctfw.scoring.comparison import Compared, Comparison

Format = Literal["text", "markdown", "latex", "csv"]
NONE = "–"
BASELINE = " (baseline)"


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
        title = system.name + (BASELINE if system.name == baseline else "")
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
    rows = [table.header, *([name, *_starred(cells)] for name, cells in table.rows)]
    return "\n\n".join(map(aligned, blocks(rows))) + "\n" + listed(table.notes, markdown=False)


def _starred(cells: Sequence[Cell]) -> list[str]:
    return [cell.text + " *" * cell.best for cell in cells]


def in_markdown(table: Sheet) -> str:
    """A Markdown table, the best values bold, the notes as a list.

    A row that belongs to the one above starts with blanks that Markdown keeps.
    """
    rows = [
        [_INSET * name.startswith(" ") + name.strip(), *(_bold(cell) for cell in cells)]
        for name, cells in table.rows
    ]
    text = markdown_table([table.header, *rows], right=True)
    return text + "\n\n" + listed(table.notes, markdown=True)


_INSET = "&nbsp;&nbsp;"


def _bold(cell: Cell) -> str:
    return f"**{cell.text}**" if cell.best else cell.text


def in_latex(table: Sheet) -> str:
    """A table for booktabs, the best values bold, the notes beneath.

    Signatures can be broken between their parts, so that they fit into a column of text.
    """
    head = " & ".join(escaped(name) for name in table.header)
    body = []
    for name, cells in table.rows:
        # "{}": a row that starts with [ or * would be read as an option of the line break above.
        inset = r"\quad " if name.startswith(" ") else "{}" * name.startswith(("[", "*"))
        texts = [rf"\textbf{{{_number(c.text)}}}" if c.best else _number(c.text) for c in cells]
        body.append(" & ".join([inset + escaped(name.strip()), *texts]) + r" \\")
    notes = [
        escaped(note).replace(r"\textbar{}", r"\textbar{}\allowbreak{}") + r" \par"
        for note in table.notes
    ]
    baseline = table.rows[0][0].removesuffix(BASELINE)
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{Scores, and differences to {escaped(baseline)}.}}",
            r"\label{tab:ctfw-compare}",
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


def in_csv(comparison: Comparison, synthetic: bool | None = None) -> str:
    """One line per system and score; what is undefined is empty.

    synthetic  whether the reports are of synthetic scans; None where nobody knows
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_FIELDS)
    baseline = guarded(comparison.systems[0].name)
    for system in comparison.systems:
        for column in comparison.columns:
            mean, contrast = system.means[column.name], system.contrasts.get(column.name)
            best = comparison.best.get(column.name) == system.name
            row = [guarded(system.name), column.name, column.protocol, *mean[:6], int(best)]
            tail = [baseline, *contrast[:5]] if contrast else [""] * 6
            row += [*tail, comparison.cases, comparison.patients]
            row.append("" if synthetic is None else int(synthetic))
            writer.writerow(["" if isinstance(x, float) and math.isnan(x) else x for x in row])
    return text.getvalue().rstrip("\n")


_FIELDS = (
    "system", "score", "protocol", "value", "low", "high", "seeds", "sd_seeds", "sd_patients",
    "best", "baseline", "difference", "difference_low", "difference_high", "p", "p_holm", "cases",
    "patients", "synthetic",
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
    return f"{_deviation(mean.sd_seeds)} / {_deviation(mean.sd_patients)}"


def _contrast(system: Compared, name: str) -> str:
    contrast = system.contrasts[name]
    return _spanned(contrast.value, contrast.low, contrast.high, "+")


def _p_values(system: Compared, name: str) -> str:
    contrast = system.contrasts[name]
    return f"{_p(contrast.p)} ({_p(contrast.holm)})"


def _spanned(value: float, low: float, high: float, sign: str) -> str:
    if math.isnan(value):
        return NONE
    digits = digits_of(low, high)
    shown = f"{value:{sign}.{digits}f}"
    return shown if math.isnan(low) else f"{shown} [{low:.{digits}f}, {high:.{digits}f}]"


def _deviation(value: float) -> str:
    return NONE if math.isnan(value) else f"{value:.{digits_of(0, 2 * value, significant=1)}f}"


def _p(value: float) -> str:
    if math.isnan(value):
        return NONE
    return f"{value:.4f}" if value >= 0.0001 else "<0.0001"
