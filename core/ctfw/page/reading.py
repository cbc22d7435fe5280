"""Run directory -> `Run`, whatever state it is in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import ValidationError

from ctfw.page.records import CaseRecord, Loose, Negatives, ReportStage, Run, ScoreFile, TrainLog

Record = TypeVar("Record", bound=Loose)


def read_run(folder: Path) -> Run:
    """Everything the page shows. Never raises for a missing or damaged file: see `Run.notes`."""
    notes: list[str] = []
    recipe_text, resolved = _resolved(folder / "resolved.yaml", notes)
    lock = _mapping(folder / "lock.json", notes)
    status = _mapping(folder / "status.json", notes)
    training: list[TrainLog] = []
    tests: list[ReportStage] = []
    for name in _stage_names(folder, resolved, status):
        stage = folder / "stages" / name
        if not stage.is_dir():
            notes.append(f"Stage '{name}' of the recipe has left no files: it did not run.")
            continue
        if (stage / "steps.jsonl").is_file():
            training.append(_train_log(stage, notes))
        if (stage / "scores.json").is_file() or (stage / "cases.jsonl").is_file():
            tests.append(_report_stage(stage, notes))
    if not any(test.scores for test in tests):
        notes.append("No scores: no stage of this run has finished a test.")
    return Run(
        folder, resolved, recipe_text, lock, status, tuple(training), tuple(tests), tuple(notes)
    )


def _stage_names(folder: Path, *sources: Mapping[str, Any]) -> list[str]:
    """Stages in the order of the recipe, then of the status, then what else lies on disk."""
    names: dict[str, None] = {}
    for source in sources:
        stages = source.get("stages")
        if isinstance(stages, Mapping):
            names |= dict.fromkeys(str(name) for name in stages)
    if (folder / "stages").is_dir():
        names |= dict.fromkeys(sorted(p.name for p in (folder / "stages").iterdir() if p.is_dir()))
    return [name for name in names if Path(name).name == name and name not in ("", ".", "..")]


def _resolved(path: Path, notes: list[str]) -> tuple[str, Mapping[str, Any]]:
    """Text and content of the resolved recipe."""
    text = _text(path, notes)
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError:
        notes.append(f"{path.name} is not valid YAML; it is shown as it stands.")
        return text, {}
    return text, content if isinstance(content, Mapping) else {}


def _text(path: Path, notes: list[str]) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        notes.append(f"{path.name} is missing.")
        return ""


def _parse(text: str) -> Any:
    """JSON with NaN and infinities read as null. Raises ValueError."""
    return json.loads(text, parse_constant=lambda _: None)


def _mapping(path: Path, notes: list[str]) -> Mapping[str, Any]:
    text = _text(path, notes)
    if not text:
        return {}
    try:
        content = _parse(text)
    except ValueError:
        content = None
    if isinstance(content, Mapping):
        return content
    notes.append(f"{path.name} cannot be read as a JSON mapping.")
    return {}


def _record(model: type[Record], path: Path, notes: list[str]) -> Record | None:
    """The record in a JSON file; None and a note when it cannot be read."""
    if not path.is_file():
        return None
    place = f"{path.parent.name}/{path.name}"
    try:
        return model.model_validate(_parse(path.read_text(encoding="utf-8", errors="replace")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "top level"
        notes.append(f"{place} does not fit: {where}: {first['msg']}.")
    except (OSError, ValueError):
        notes.append(f"{place} cannot be read as JSON.")
    return None


def _lines(path: Path, notes: list[str]) -> list[Mapping[str, Any]]:
    """Objects of a JSON-lines file; a line cut short by a kill is counted, not fatal."""
    if not path.is_file():
        return []
    records, broken = [], 0
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        if not line.strip():
            continue
        try:
            record = _parse(line)
        except ValueError:
            record = None
        if isinstance(record, Mapping):
            records.append(record)
        else:
            broken += 1
    if broken:
        notes.append(f"{path.parent.name}/{path.name}: {broken} unreadable line(s) left out.")
    return records


def _train_log(stage: Path, notes: list[str]) -> TrainLog:
    """A killed and resumed stage may log a step twice: the later line counts."""
    steps: dict[float, Mapping[str, Any]] = {}
    validations: dict[float, Mapping[str, Any]] = {}
    for record in _lines(stage / "steps.jsonl", notes):
        step = record.get("step")
        if not isinstance(step, (int, float)):
            continue
        if isinstance(record.get("validation"), Mapping):
            validations[step] = {"step": step, **record["validation"]}
        else:
            steps[step] = record
    return TrainLog(
        stage.name,
        tuple(steps[step] for step in sorted(steps)),
        tuple(validations[step] for step in sorted(validations)),
        _record(Negatives, stage / "negatives.json", notes),
    )


def _report_stage(stage: Path, notes: list[str]) -> ReportStage:
    cases, unfit = [], 0
    for record in _lines(stage / "cases.jsonl", notes):
        try:
            cases.append(CaseRecord.model_validate(record))
        except ValidationError:
            unfit += 1
    if unfit:
        notes.append(f"{stage.name}/cases.jsonl: {unfit} case(s) do not fit and are left out.")
    scores = _record(ScoreFile, stage / "scores.json", notes)
    return ReportStage(stage.name, stage, scores, tuple(cases))
