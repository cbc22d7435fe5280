"""`ctfw score`: the scores of a run again, or of anyone's predictions; no model, no GPU."""

from __future__ import annotations

import csv
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from ctfw.errors import BadData, UserError
from ctfw.plugins import Plugins, load_plugins
from ctfw.runs.directory import RunDirectory
from ctfw.runs.files import read_json

if TYPE_CHECKING:
    from ctfw.scoring.assess import Assessment
    from ctfw.types import Case

METRICS = ("bleu", "rouge-l", "coverage", "accuracy")
LABELER = "ct-rate-18"
REPORT_COLUMNS = ("report", "reference", "text", "report_text", "Findings_EN")


def score(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="RUN|FILE", help="A run or stage, or predictions (jsonl, json, csv)."
        ),
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
    from ctfw.scoring.assess import as_json
    from ctfw.scoring.facts import generation_facts

    plugins = load_plugins()
    if target.is_dir():
        found, told = _run(target, plugins)
    else:
        found, told = _file(target, train, read_columns(names or []), plugins), {"synthetic": False}
    decoding = told.get("generation", {})
    facts = as_json(found) | told
    facts["generation"] = decoding | generation_facts(found.predictions)
    print_facts(facts, target.name)
    generation = facts["generation"]
    print(
        f"{generation['distinct']} distinct texts of {generation['of']}; {generation['empty']} "
        f"empty, {generation['missing']} missing, {generation['truncated']} cut at the limit"
    )
    if empty := generation["empty_references"]:
        print(f"{empty} references are empty: each counts as a report without findings")
    if out is not None:
        _write(out, found, facts)


def read_columns(texts: Sequence[str]) -> dict[str, str]:
    """Our field -> the file's name for it, of the texts of `--column`. Raises UserError."""
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
    if any(p.labels is not None or p.reference_labels is not None for p in predictions):
        print(f"labels in {path} are not used: {LABELER} reads both texts", file=sys.stderr)
    cases = read_reports(train) if train is not None else ()
    return assess(predictions, metrics, built("labeler", LABELER), cases)


def _run(folder: Path, plugins: Plugins) -> tuple[Assessment, dict[str, Any]]:
    """A run's predictions under the metrics and the labeler of its report stage, and what the run
    has told of them.

    The recipe's hash is not compared: no weights are involved, and older runs can be scored too.
    """
    from ctfw.engine.context import Context
    from ctfw.engine.judges import Judges
    from ctfw.recipe import resolve
    from ctfw.scoring.again import kept_facts, read_tokens
    from ctfw.scoring.assess import assess
    from ctfw.scoring.predictions import read_predictions

    stage = _report_stage(folder)
    run = RunDirectory.open(stage.parent.parent)
    recipe = resolve(run.path / "resolved.yaml", (), None, plugins)
    settings: Any = recipe.stages[stage.name].block.settings
    context = Context(seed=recipe.seed)
    judges = Judges.build(settings.labeler, settings.metrics, context)
    labeler, dataset = judges.labeler, context.build(recipe.data)

    def read(name: str) -> list[Any]:
        file = stage / name
        return read_predictions(file, None, None, labeler.names) if file.is_file() else []

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
    return found, kept_facts(stage) | {"synthetic": recipe.synthetic}


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
    from ctfw.scoring.facts import per_case_csv

    write_json(folder / "scores.json", facts)
    write_text(folder / "per_case.csv", per_case_csv(found))
    print(f"written: {folder / 'scores.json'}, {folder / 'per_case.csv'}", file=sys.stderr)
