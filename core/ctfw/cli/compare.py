"""`ctfw compare`: one table of runs, with what their recipes differ in."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from ctfw.cli.options import columns as aligned
from ctfw.errors import UserError
from ctfw.runs.compare import Outcome, by_seed, columns, differing, read_outcome

WIDEST = 28


def compare(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN", help="Folders of runs.")],
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown tables.")] = False,
) -> None:
    """Print the differences of recipe and of scores of several runs in one table."""
    print_comparison(runs, markdown=markdown)


def print_comparison(runs: Sequence[Path], *, markdown: bool = False) -> None:
    """The table of runs; runs that differ in the seed alone are averaged in a second one."""
    outcomes = [read_outcome(path) for path in runs]
    if not outcomes:
        raise UserError("no runs to compare")
    if any(outcome.synthetic for outcome in outcomes):
        print("SYNTHETIC data: the scores say nothing about patients", file=sys.stderr)
    settings, scores = shown_settings(outcomes), columns(outcomes)
    header = ["run", *_header(settings), *scores]
    body = [
        [f"{outcome.name}/{outcome.path.name}" + _state(outcome)]
        + [_setting(outcome.settings.get(key)) for key in settings]
        + [_score(outcome, name) for name in scores]
        for outcome in outcomes
    ]
    _print(header, body, markdown)
    groups = by_seed(outcomes)
    if any(len(group.members) > 1 for group in groups):
        print("\nmean over seeds (standard deviation)")
        own = [key for key in settings if key != "seed"]
        rows = [
            [_names(group.members), str(len(group.members))]
            + [_setting(group.settings.get(key)) for key in own]
            + [_mean(group.mean(name), len(group.members)) for name in scores]
            for group in groups
        ]
        _print(["runs", "seeds", *_header(own), *scores], rows, markdown)


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


def _header(keys: Sequence[str]) -> list[str]:
    """`tune.negatives` for `stages.tune.negatives.use`."""
    return [key.removeprefix("stages.").removesuffix(".use") for key in keys]


def _names(members: Sequence[Outcome]) -> str:
    """The name that the members share, without what a sweep adds for the seed."""
    return re.sub(r"-seed=?\d+", "", members[0].name)


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


def _print(header: list[str], rows: list[list[str]], markdown: bool) -> None:
    if markdown:
        lines = [header, ["---"] * len(header), *rows]
        print("\n".join("| " + " | ".join(line) + " |" for line in lines))
    else:
        print(aligned([header, *rows]))
