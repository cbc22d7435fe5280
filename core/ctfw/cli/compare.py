"""`ctfw compare`: what runs differ in, what came out, and whether the scores really differ."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ctfw.cli.comparison import Format, in_csv, in_latex, in_markdown, in_text, sheet
from ctfw.cli.overview import overview
from ctfw.errors import UserError
from ctfw.plugins import load_plugins
from ctfw.runs.compare import Outcome, is_stage, newest, read_outcome, report_stage

if TYPE_CHECKING:
    from ctfw.scoring.comparison import Comparison

SYNTHETIC = "SYNTHETIC data: the scores say nothing about patients"
ENDINGS: dict[str, Format] = {
    ".txt": "text", ".md": "markdown", ".tex": "latex", ".csv": "csv",
}  # fmt: skip


def compare(
    runs: Annotated[
        list[Path],
        typer.Argument(metavar="RUN|FILE", help="Runs, stages of runs, or files of predictions."),
    ],
    baseline: Annotated[
        Path | None,
        typer.Option("--baseline", metavar="RUN|FILE", help="Compare with this, not the first."),
    ] = None,
    primary: Annotated[
        list[str] | None,
        typer.Option(
            "--primary",
            metavar="SCORE",
            help="A score to test, e.g. macro-f1; may be repeated. By default macro-f1, "
            "grounded-gain and bleu-4, as far as all have them.",
        ),
    ] = None,
    alike: Annotated[
        bool,
        typer.Option("--alike", help="Score all with the metrics and the labeler of the baseline."),
    ] = False,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--column",
            metavar="FIELD=NAME",
            help="Name of a column in the files that have one of that name; may be repeated.",
        ),
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option("--references", metavar="FILE", help="References, when the files have none."),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option(
            "--format",
            help="text (default), markdown, latex or csv; the ending of --out tells too.",
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the tables to this file.")
    ] = None,
) -> None:
    """Compare runs and other systems: settings, scores, differences with intervals and p-values.

    Needs the predictions and scores alone, no model. Runs that differ in the seed alone count as
    one method; paths, devices and worker counts do not count as differences.
    """
    from ctfw.cli.compared import Request, compared
    from ctfw.cli.score_file import read_columns
    from ctfw.runs.files import write_text

    chosen = form or _form_of(out)
    plugins = load_plugins()
    paths = _once([*([baseline] if baseline else []), *runs])
    outcomes = {p: read_outcome(p, plugins.catalog) for p in paths if not p.is_file()}
    _warn(list(outcomes.values()))
    if baseline in outcomes and report_stage(baseline) is None:
        raise UserError(f"--baseline {baseline} has no predictions yet to compare with")
    request = Request(tuple(primary or ()), alike, read_columns(names or []), references)
    found = compared(paths, outcomes, request, plugins)
    text = tables(list(outcomes.values()), found, chosen, alike)
    if out is None:
        print(text)
    else:
        write_text(out, text + "\n")
        print(f"written: {out}", file=sys.stderr)


def tables(
    outcomes: Sequence[Outcome],
    found: tuple[Comparison, list[str]] | None,
    form: Format,
    alike: bool = False,
) -> str:
    """All tables in one format; CSV and LaTeX hold the comparison alone.

    alike  whether the comparison was scored anew, unlike the table of the runs

    Raises UserError where there is nothing to show: no run, or no comparison for CSV and LaTeX.
    """
    if found is None and (form in ("csv", "latex") or not outcomes):
        raise UserError(f"a table in {form} needs two systems that have predictions")
    made = [outcome.synthetic for outcome in outcomes]
    if form == "csv":
        assert found is not None
        return in_csv(found[0], any(made) if made else None)
    marked = [SYNTHETIC] if any(made) else []
    markdown = form == "markdown"
    parts: list[str] = []
    if outcomes and form != "latex":
        anew = ["these are the scores that the runs wrote; those below are made anew (--alike)"]
        parts = overview(outcomes, [*marked, *anew * (alike and found is not None)], markdown)
    if found is not None:
        comparison, notes = found
        if form == "latex":
            return in_latex(sheet(comparison, [*marked, *notes]))
        table = sheet(comparison, [*marked, *notes], "bold" if markdown else "*")
        title = f"compared with {comparison.systems[0].name}"
        parts += [f"{title}\n\n{in_markdown(table)}" if markdown else f"{title}\n{in_text(table)}"]
    return "\n\n".join(parts)


def print_comparison(runs: Sequence[Path]) -> None:
    """The table of runs; runs that differ in the seed alone are averaged in a second one."""
    catalog = load_plugins().catalog
    outcomes = [read_outcome(path, catalog) for path in runs]
    if not outcomes:
        raise UserError("no runs to compare")
    _warn(outcomes)
    marked = [SYNTHETIC] if any(outcome.synthetic for outcome in outcomes) else []
    print("\n\n".join(overview(outcomes, marked, markdown=False)))


def _form_of(out: Path | None) -> Format:
    """The format that the ending of a file means. Raises UserError for any other ending."""
    if out is None:
        return "text"
    found = ENDINGS.get(out.suffix.lower())
    if found is None:
        known = ", ".join(f"{ending} ({form})" for ending, form in ENDINGS.items())
        what = f"the ending {out.suffix}" if out.suffix else "a name without an ending"
        raise UserError(
            f"--out {out}: {what} says no format; use {known}, or say the format with --format"
        )
    return found


def _once(paths: Sequence[Path]) -> list[Path]:
    """Each run once, although a recipe's folder or its stage may stand for it as well."""
    found: dict[Path, Path] = {}
    for path in paths:
        found.setdefault(_means(path), path)
    return list(found.values())


def _means(path: Path) -> Path:
    """The file, or the stage with the predictions; the run where there is none or are several."""
    if path.is_file() or is_stage(path):
        return path.resolve()
    run = newest(path)
    stages = list(run.glob("stages/*/predictions.jsonl"))
    return (stages[0].parent if len(stages) == 1 else run).resolve()


def _warn(outcomes: Sequence[Outcome]) -> None:
    if any(outcome.synthetic for outcome in outcomes):
        print(SYNTHETIC, file=sys.stderr)
    for words in dict.fromkeys(o.changed for o in outcomes if o.changed):
        print(words, file=sys.stderr)
