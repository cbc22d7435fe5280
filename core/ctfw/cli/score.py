"""`ctfw score`: the scores of a run again, or of anyone's predictions; no model, no GPU."""

from __future__ import annotations

import csv
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ctfw.cli.score_file import Choice, read_columns, score_file, under_protocols
from ctfw.errors import UserError
from ctfw.plugins import Plugins, load_plugins
from ctfw.runs.directory import RunDirectory
from ctfw.runs.files import read_json

if TYPE_CHECKING:
    from ctfw.scoring.assess import Assessment
    from ctfw.types import Case


def score(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|FILE", help="A run or stage, or predictions (jsonl, json, csv)."
        ),
    ],
    protocols: Annotated[
        list[str] | None,
        typer.Option(
            "--protocol", metavar="NAME", help="How texts are compared, e.g. r2gen; repeatable."
        ),
    ] = None,
    metrics: Annotated[
        list[str] | None,
        typer.Option("--metric", metavar="BLOCK", help="bleu, or '{use: bleu, n: 2}'; repeatable."),
    ] = None,
    labeler: Annotated[
        str, typer.Option("--labeler", metavar="BLOCK", help="Who reads findings (ct-rate-18).")
    ] = "",
    train: Annotated[
        Path | None,
        typer.Option("--train", metavar="FILE", help="Reports of the training split, for floors."),
    ] = None,
    references: Annotated[
        Path | None,
        typer.Option("--references", metavar="FILE", help="References, when FILE has none."),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="FIELD=NAME", help="Name of a column, e.g. case=VolumeName."
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            metavar="FOLDER",
            help="Write scores and cases here, not beside FILE.",
        ),
    ] = None,
) -> None:
    """Score predictions beside their floors, with patient-clustered intervals.

    A file needs columns for case, generated and reference; patient is optional. Every score is
    printed with its signature and written, with the values per case, to --out.
    """
    from ctfw.scoring.assess import as_json
    from ctfw.scoring.facts import generation_facts

    choice = Choice(protocols or (), metrics or (), labeler)
    plugins = load_plugins()
    if target.is_dir():
        _refuse_for_runs(train=train, references=references, column=names)
        found, told = _run(target, plugins, choice)
    else:
        columns = read_columns(names or [])
        found = score_file(target, choice, plugins, columns, train, references)
        told = {"synthetic": False}
    title = told.pop("recipe", target.name)
    facts = as_json(found) | told
    facts["generation"] = told.get("generation", {}) | generation_facts(found.predictions)
    _print(facts, title)
    if out is not None:
        _write(out, found, facts)
    elif target.is_file():
        _write_beside(target, found, facts)


def _refuse_for_runs(**given: Any) -> None:
    """Raises UserError for options that say what a run knows by itself."""
    for option, value in given.items():
        if value:
            raise UserError(f"--{option} is for a file of predictions: a run knows it by itself")


def _print(facts: dict[str, Any], title: str) -> None:
    from rich.console import Console

    from ctfw.cli.every_score import every_score
    from ctfw.cli.scores import count, print_facts, read_table, row_labels

    print_facts(facts, title)
    generation = facts["generation"]
    print(
        f"{count(generation['distinct'], 'distinct text')} of {generation['of']}; "
        f"{generation['empty']} "
        f"empty, {generation['missing']} missing, {generation['truncated']} cut at the limit"
    )
    if empty := generation["empty_references"]:
        print(f"{empty} of the references empty: each counts as a report without findings")
    print()
    plain = facts["table"]
    lines = every_score(read_table(plain, labelled=False), row_labels(plain))
    Console(width=None if sys.stdout.isatty() else 160, highlight=False).print(lines)


def _run(folder: Path, plugins: Plugins, choice: Choice) -> tuple[Assessment, dict[str, Any]]:
    """A run's predictions under the metrics and the labeler of its report stage, or those of
    `choice`, and what the run has told of them.

    The recipe's hash is not compared: no weights are involved, and older runs can be scored too.
    """
    from ctfw.engine.context import Context
    from ctfw.engine.judges import Judges
    from ctfw.recipe import resolve
    from ctfw.recipe.inline import inline_block
    from ctfw.scoring.again import kept_facts, read_tokens
    from ctfw.scoring.assess import assess
    from ctfw.scoring.predictions import read_predictions

    stage = _report_stage(folder)
    run = RunDirectory.open(stage.parent.parent)
    recipe = resolve(run.path / "resolved.yaml", (), None, plugins)
    settings: Any = recipe.stages[stage.name].block.settings
    context = Context(seed=recipe.seed)
    metrics = choice.blocks(plugins) if choice.metrics else list(settings.metrics)
    reader = (
        inline_block(choice.labeler, "labeler", plugins.catalog, "--labeler")
        if (choice.labeler)
        else settings.labeler
    )
    judges = Judges.build(reader, under_protocols(metrics, choice.protocols), context)
    labeler, dataset = judges.labeler, context.build(recipe.data)

    def read(name: str) -> list[Any]:
        file = stage / name
        return read_predictions(file, None, None, None) if file.is_file() else []

    made = read("predictions.jsonl")
    tokens = read_tokens(stage, made, labeler)
    found = assess(
        made,
        judges.metrics,
        labeler,
        _train(run, dataset),
        read("predictions.another.jsonl"),
        None if tokens is not None else _likelihoods(stage / "per_case.csv"),
        settings.resamples,
        recipe.seed,
        tokens=tokens,
        cases=dataset.cases(settings.split),
    )
    return found, kept_facts(stage) | {"recipe": recipe.name, "synthetic": recipe.synthetic}


def _report_stage(folder: Path) -> Path:
    """The stage folder that is meant by itself or by a run. Raises UserError."""
    if (folder / "predictions.jsonl").is_file() and (folder / "../../resolved.yaml").is_file():
        return folder.resolve()
    run = RunDirectory.open(folder)
    found = sorted(file.parent for file in run.path.glob("stages/*/predictions.jsonl"))
    if not found:
        raise UserError(f"{folder} has no predictions yet: its report stage has not run")
    if len(found) > 1:
        names = ", ".join(str(stage) for stage in found)
        raise UserError(f"{folder} has predictions of several stages; name one of {names}")
    return found[0].resolve()


def _train(run: RunDirectory, dataset: Any) -> list[Case]:
    """The training cases of a run: without those that it left out."""
    quarantine = run.path / "quarantine.json"
    refused = read_json(quarantine) if quarantine.is_file() else {}
    return [case for case in dataset.cases("train") if case.id not in refused]


def _likelihoods(file: Path) -> dict[str, np.ndarray]:
    """(N,) NLL of the references by image, as the run wrote them; rounded to six digits."""
    if not file.is_file():
        return {}
    with file.open(newline="", encoding="utf-8") as stream:
        rows = list(csv.DictReader(stream))
    names = [name for name in (rows[0] if rows else ()) if name.startswith("nll-")]
    return {n.removeprefix("nll-"): np.array([float(row[n]) for row in rows]) for n in names}


def _write_beside(file: Path, found: Assessment, facts: dict[str, Any]) -> None:
    """The same where nobody named a folder: what cannot be written is no error then."""
    try:
        _write(file.with_name(f"{file.stem}.scores"), found, facts)
    except UserError as error:
        print(f"not written: {error}; --out FOLDER names another place", file=sys.stderr)


def _write(folder: Path, found: Assessment, facts: dict[str, Any]) -> None:
    from ctfw.runs.files import write_json, write_text
    from ctfw.scoring.facts import per_case_csv

    write_json(folder / "scores.json", facts)
    write_text(folder / "per_case.csv", per_case_csv(found, synthetic=facts["synthetic"]))
    print(f"written: {folder / 'scores.json'}, {folder / 'per_case.csv'}", file=sys.stderr)
