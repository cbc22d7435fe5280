"""`ctfw prepare`: every volume of a recipe through its preprocessing, into the stores."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctfw.cli.options import Profile, Recipe, Set
from ctfw.errors import BadData, UserError
from ctfw.plugins import load_plugins

if TYPE_CHECKING:
    from ctfw.contracts import Dataset
    from ctfw.engine.ledger import Ledger
    from ctfw.engine.survey import Survey
    from ctfw.types import Case

SPLITS = ("train", "validation", "test")


def prepare(
    recipe: Recipe,
    overrides: Set = None,
    profile: Profile = None,
    workers: Annotated[
        int | None,
        typer.Option("--workers", metavar="N", min=1, help="Processes; default: one per core."),
    ] = None,
    cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster", metavar="ADDRESS", help="A running Dask scheduler, tcp://HOST:8786."
        ),
    ] = None,
    shard: Annotated[
        str | None,
        typer.Option("--shard", metavar="I/N", help="Do part I of N, for an array of jobs."),
    ] = None,
    splits: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="NAME", help="train, validation or test; may be repeated."),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option("--limit", metavar="N", min=1, help="At most N volumes of each split."),
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Try scans that were refused before once more.")
    ] = False,
    max_failures: Annotated[
        int | None,
        typer.Option(
            "--max-failures", metavar="N", min=0, help="Stop when more than N cannot be used."
        ),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option(
            "--log",
            metavar="FOLDER",
            help="Where manifest.jsonl and quarantine.json go; default: prepared/NAME.",
        ),
    ] = None,
) -> None:
    """Fill the stores of a recipe's preprocessing. What is done is not done again.

    A scan that cannot be used is left out with its reason, and the others go on. Run it again
    after a kill: it does what is missing. Exit code 2 when a scan was left out.
    """
    from ctfw.engine.bench import make_pipeline
    from ctfw.engine.context import Context
    from ctfw.engine.ledger import Ledger
    from ctfw.engine.prepare import prepare_volumes
    from ctfw.engine.survey import Survey
    from ctfw.errors import RecipeInvalid
    from ctfw.interruption import stoppable
    from ctfw.recipe import preflight, resolve
    from ctfw.runs.lock import only_one

    part = _shard(shard)
    plugins = load_plugins()
    resolved = resolve(recipe, overrides or (), profile, plugins)
    if problems := preflight(resolved, only="data"):
        raise RecipeInvalid(problems)
    context = Context(seed=resolved.seed, synthetic=resolved.synthetic)
    settings: Any = resolved.data.settings
    pipeline = make_pipeline(plugins.catalog, settings.loader, list(settings.preprocess), context)
    if not pipeline.has_store:
        raise UserError(
            f"{recipe}: nothing in data.preprocess keeps what is made; add "
            "{use: preprocessed-numpy}, and what should stay changeable after it"
        )
    pipeline.rehearse()
    dataset: Dataset = context.build(resolved.data)
    dataset.prepare()
    cases = _cases(dataset, splits or (), limit, part)
    folder = log or Path("prepared") / resolved.name
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"--log {folder}: a file of that name is in the way") from error
    name = "" if part is None else f"{part[0]}-of-{part[1]}"
    with only_one(folder, name=f".lock{name and '-' + name}"), stoppable():
        ledger = Ledger(folder, name)
        try:
            survey = Survey.of(pipeline, cases, ledger, every=True, again=again)
            _announce(survey, ledger, len(cases), pipeline.folders)
            prepare_volumes(
                pipeline, cases, ledger, workers=workers, cluster=cluster, survey=survey,
                max_failures=max_failures,
            )  # fmt: skip
        except KeyboardInterrupt:
            print("stopped; the same command goes on where this one ended", file=sys.stderr)
            raise
        finally:
            ledger.close()
    _summary(ledger)


def _cases(
    dataset: Dataset, splits: Sequence[str], limit: int | None, part: tuple[int, int] | None
) -> list[Case]:
    """The cases to prepare, of all splits that have any where none is named; a shard depends on
    the case's name alone."""
    found: list[Case] = []
    empty: list[UserError] = []
    for split in splits or SPLITS:
        if split not in SPLITS:
            raise UserError(f"--split {split}: there are {', '.join(SPLITS)}")
        try:
            found += list(dataset.cases(split))[:limit]
        except BadData as error:
            if splits:
                raise
            empty.append(error)
    if not found and empty:
        raise empty[0]
    if part is None:
        return found
    return [case for case in found if _number(case.id) % part[1] == part[0] - 1]


def _shard(text: str | None) -> tuple[int, int] | None:
    """(part, of how many), counted from 1. Raises UserError."""
    if text is None:
        return None
    first, _, second = text.partition("/")
    if not (first.isdecimal() and second.isdecimal() and 1 <= int(first) <= int(second)):
        raise UserError(
            f"--shard {text}: give the part and the number of parts, from 1/N to N/N, such as 3/8"
        )
    return int(first), int(second)


def _number(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big")


def _announce(survey: Survey, ledger: Ledger, total: int, folders: Sequence[Path]) -> None:
    places = ", ".join(str(folder) for folder in folders)
    count = len(survey.todo)
    told = f"{_count(total, 'volume')}, {_count(count, 'image')} to do, into {places}"
    if known := ledger.counts["refused"]:
        told += f"; {_count(known, 'scan')} refused before: --again tries them once more"
    print(told, file=sys.stderr)


def _summary(ledger: Ledger) -> None:
    """What came of it, on stdout; raises UserError when something was left out."""
    from ctfw.progress import size_of

    made = sum(row.bytes for row in ledger.rows)
    counts = ledger.counts
    print(f"made: {counts['made']}" + (f" ({size_of(made)})" if made else ""))
    print(f"done before: {counts['found']}")
    left_out = counts["refused"] + counts["failed"]
    if not left_out:
        return
    for name, reason in list(ledger.refused.items())[:5]:
        print(f"left out: {name}: {reason}")
    raise UserError(f"{_count(left_out, 'scan')} left out: {ledger.quarantine} says why")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
