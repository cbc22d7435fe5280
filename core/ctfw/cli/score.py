"""`ctfw score`: the scores of a run again, or of anyone's predictions; no model, no GPU."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ctfw.errors import BadData, UserError
from ctfw.plugins import Plugins, load_plugins

if TYPE_CHECKING:
    from ctfw.scoring.assess import Assessment
    from ctfw.types import Case

METRICS = ("bleu", "rouge-l", "coverage", "accuracy")
LABELER = "ct-rate-18"
REPORT_COLUMNS = ("report", "reference", "text", "report_text", "Findings_EN")


def score(
    target: Annotated[
        Path, typer.Argument(metavar="RUN|FILE", help="A run, or predictions (jsonl, json, csv).")
    ],
    train: Annotated[
        Path | None,
        typer.Option("--train", metavar="FILE", help="Reports of the training split, for floors."),
    ] = None,
    names: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="FIELD=NAME", help="Name of a column, e.g. case=VolumeName."
        ),
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FOLDER", help="Write scores and cases here.")
    ] = None,
) -> None:
    """Score predictions beside their floors, with patient-clustered intervals.

    A file needs columns for case, generated and reference; patient and labels are optional.
    """
    from ctfw.cli.scores import print_facts
    from ctfw.scoring.assess import as_json, generation_facts

    plugins = load_plugins()
    if target.is_dir():
        found, synthetic = _run(target, plugins)
    else:
        found, synthetic = _file(target, train, _columns(names or []), plugins), False
    facts = as_json(found) | {
        "synthetic": synthetic,
        "generation": generation_facts(found.predictions),
    }
    print_facts(facts, target.name)
    generation = facts["generation"]
    print(
        f"{generation['distinct']} distinct texts of {generation['of']}; {generation['empty']} "
        f"empty, {generation['missing']} missing, {generation['truncated']} cut at the limit"
    )
    if out is not None:
        _write(out, found, facts)


def _columns(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [text for text, (_, equals, _) in zip(texts, pairs, strict=True) if not equals]:
        raise UserError(f"--column {wrong[0]}: write FIELD=NAME, e.g. --column case=VolumeName")
    return {field.strip(): name.strip() for field, _, name in pairs}


def _file(path: Path, train: Path | None, names: dict[str, str], plugins: Plugins) -> Assessment:
    from ctfw.component import Block
    from ctfw.engine.context import Context
    from ctfw.scoring.assess import assess
    from ctfw.scoring.predictions import read_predictions

    context = Context()

    def built(kind: str, name: str) -> Any:
        component = plugins.catalog.get(kind, name)
        return context.build(Block(component, component.config()))

    metrics = {name: built("metric", name) for name in METRICS}
    predictions = read_predictions(path, names)
    cases = read_reports(train) if train is not None else ()
    return assess(predictions, metrics, built("labeler", LABELER), cases)


def _run(folder: Path, plugins: Plugins) -> tuple[Assessment, bool]:
    """A run's predictions under the metrics and the labeler of its recipe."""
    from ctfw.engine.context import Context
    from ctfw.engine.launch import reopen
    from ctfw.scoring.assess import assess
    from ctfw.scoring.predictions import read_predictions

    run, recipe = reopen(folder, plugins)
    files = sorted(run.path.glob("stages/*/predictions.jsonl"))
    if not files:
        raise UserError(f"{folder} has no predictions yet: its report stage has not run")
    context = Context(seed=recipe.seed)
    metrics = {block.name: context.build(block) for block in recipe.metrics}
    labeler = context.build(recipe.labeler) if recipe.labeler else None
    names = labeler.names if labeler else ()
    predictions = read_predictions(files[0], None, None, names)
    swapped = files[0].with_name("predictions.another.jsonl")
    another = read_predictions(swapped, None, None, names) if swapped.is_file() else ()
    train = list(context.build(recipe.data).cases("train"))
    found = assess(predictions, metrics, labeler, train, another, seed=recipe.seed)
    return found, recipe.synthetic


def read_reports(path: Path) -> list[Case]:
    """Training reports of a CSV, JSON or JSON-lines file, for the floors. Raises BadData."""
    from ctfw.scoring.predictions import read_rows
    from ctfw.types import Case

    rows = read_rows(path)
    present = {str(key) for _, row in rows for key in row}
    column = next((name for name in REPORT_COLUMNS if name in present), None)
    if column is None:
        raise BadData(
            f"{path}: no column with reports; name it one of {', '.join(REPORT_COLUMNS)} (the file "
            f"has {', '.join(sorted(present))})"
        )
    return [
        Case(f"{path.name}:{number}", f"{number}", path, str(row.get(column) or "").strip())
        for number, row in rows
    ]


def _write(folder: Path, found: Assessment, facts: dict[str, Any]) -> None:
    from ctfw.runs.files import write_json, write_text
    from ctfw.scoring.assess import per_case_csv

    write_json(folder / "scores.json", facts)
    write_text(folder / "per_case.csv", per_case_csv(found))
    print(f"written: {folder / 'scores.json'}, {folder / 'per_case.csv'}", file=sys.stderr)
