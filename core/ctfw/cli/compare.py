"""`ctfw compare`: what runs differ in, what came out, and whether the scores really differ."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctfw.cli.comparison import Format, in_csv, in_latex, in_markdown, in_text, sheet
from ctfw.cli.options import columns as aligned
from ctfw.errors import UserError
from ctfw.runs.compare import (
    Outcome,
    by_seed,
    columns,
    differing,
    is_stage,
    newest,
    read_outcome,
    report_stage,
)

if TYPE_CHECKING:
    from ctfw.scoring.comparison import Comparison

WIDEST = 28
_ENDINGS = {".md": "markdown", ".tex": "latex", ".csv": "csv"}


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
        typer.Option("--column", metavar="FIELD=NAME", help="Name of a column in the files."),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="text (default), markdown, latex or csv; --out tells too."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the tables to this file.")
    ] = None,
) -> None:
    """Compare runs and other systems: settings, scores, differences with intervals and p-values.

    Needs the predictions and scores alone, no model. Runs that differ in the seed alone count as
    one method.
    """
    from ctfw.cli.compared import compared
    from ctfw.runs.files import write_text

    paths = _once([*([baseline] if baseline else []), *runs])
    outcomes = {path: read_outcome(path) for path in paths if not path.is_file()}
    _warn(list(outcomes.values()))
    if baseline in outcomes and report_stage(baseline) is None:
        raise UserError(f"--baseline {baseline} has no predictions yet to compare with")
    found = compared(paths, outcomes, primary, alike, names or [])
    chosen: Any = form or _ENDINGS.get(out.suffix if out else "", "text")
    text = tables(list(outcomes.values()), found, chosen)
    if out is None:
        print(text)
    else:
        write_text(out, text + "\n")
        print(f"written: {out}", file=sys.stderr)


def tables(
    outcomes: Sequence[Outcome], found: tuple[Comparison, list[str]] | None, form: Format
) -> str:
    """All tables in one format; CSV and LaTeX hold the comparison alone.

    Raises UserError when these need a comparison and there is none.
    """
    if form in ("csv", "latex"):
        if found is None:
            raise UserError(f"a table in {form} needs two systems that have predictions")
        return in_csv(found[0]) if form == "csv" else in_latex(sheet(*found))
    parts = overview(outcomes, markdown=form == "markdown") if outcomes else []
    if found is not None:
        comparison, notes = found
        title = f"compared with {comparison.systems[0].name}"
        made = (
            in_text(sheet(comparison, notes, "*"))
            if form == "text"
            else in_markdown(sheet(comparison, notes))
        )
        parts += [f"{title}\n{made}" if form == "text" else f"{title}\n\n{made}"]
    return "\n\n".join(parts)


def print_comparison(runs: Sequence[Path]) -> None:
    """The table of runs; runs that differ in the seed alone are averaged in a second one."""
    outcomes = [read_outcome(path) for path in runs]
    if not outcomes:
        raise UserError("no runs to compare")
    _warn(outcomes)
    print("\n\n".join(overview(outcomes, markdown=False)))


def overview(outcomes: Sequence[Outcome], *, markdown: bool) -> list[str]:
    """What the runs differ in with their scores, and means over seeds where there are several."""
    settings, scores = shown_settings(outcomes), columns(outcomes)
    header = ["run", *_header(settings), *scores]
    body = [
        [f"{outcome.name}/{outcome.path.name}" + _state(outcome)]
        + [_setting(outcome.settings.get(key)) for key in settings]
        + [_score(outcome, name) for name in scores]
        for outcome in outcomes
    ]
    parts = [_table(header, body, markdown)]
    groups = by_seed(outcomes)
    if any(len(group.members) > 1 for group in groups):
        own = [key for key in settings if key != "seed"]
        rows = [
            [name_of(group.members), str(len(group.members))]
            + [_setting(group.settings.get(key)) for key in own]
            + [_mean(group.mean(name), len(group.members)) for name in scores]
            for group in groups
        ]
        table = _table(["runs", "seeds", *_header(own), *scores], rows, markdown)
        gap = "\n\n" if markdown else "\n"
        parts.append(f"mean over seeds (standard deviation){gap}{table}")
    return parts


def shown_settings(outcomes: Sequence[Outcome]) -> list[str]:
    """Settings that differ; of a block whose `use` differs, the `use` stands for the rest."""
    keys = differing(outcomes)
    swapped = [key.removesuffix("use") for key in keys if key.endswith(".use")]
    return [
        key
        for key in keys
        if key.endswith(".use")
        or not (f"{key}.use" in keys or any(key.startswith(prefix) for prefix in swapped))
    ]


def name_of(members: Sequence[Outcome]) -> str:
    """The name that the members share, without what a sweep adds for the seed."""
    return re.sub(r"-seed=?\d+", "", members[0].name)


def _once(paths: Sequence[Path]) -> list[Path]:
    """Each run once, although a recipe's folder may stand for it as well."""
    found: dict[Path, Path] = {}
    for path in paths:
        plain = path.is_file() or is_stage(path)
        found.setdefault((path if plain else newest(path)).resolve(), path)
    return list(found.values())


def _warn(outcomes: Sequence[Outcome]) -> None:
    if any(outcome.synthetic for outcome in outcomes):
        print("SYNTHETIC data: the scores say nothing about patients", file=sys.stderr)


def _header(keys: Sequence[str]) -> list[str]:
    """`tune.negatives` for `stages.tune.negatives.use`."""
    return [key.removeprefix("stages.").removesuffix(".use") for key in keys]


def _state(outcome: Outcome) -> str:
    return "" if outcome.state == "finished" else f" ({outcome.state or 'unknown'})"


def _setting(value: Any) -> str:
    text = "none" if value is None else str(value)
    text = text.removeprefix("ctfw/").removesuffix("@1")
    return text if len(text) <= WIDEST else text[: WIDEST - 1] + "…"


def _score(outcome: Outcome, name: str) -> str:
    value, low, high = outcome.scores.get(name, (None, None, None))
    if value is None:
        return "–"
    span = f" [{low:.2f}, {high:.2f}]" if low is not None and high is not None else ""
    return f"{value:.3f}{span}"


def _mean(pair: tuple[float, float] | None, seeds: int) -> str:
    if pair is None:
        return "–"
    return f"{pair[0]:.3f} ({pair[1]:.3f})" if seeds > 1 else f"{pair[0]:.3f}"


def _table(header: list[str], rows: list[list[str]], markdown: bool) -> str:
    if not markdown:
        return aligned([header, *rows])
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
