"""Folders of runs that have written reports, made without a model: `ctfw compare` reads them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctfw.labels import CT_RATE_LABELS
from ctfw.plugins import load_plugins
from ctfw.runs.files import write_json, write_text
from ctfw.scoring.predictions import write_predictions
from ctfw.types import Prediction

FINDINGS = ("Emphysema", "Hiatal hernia", "Lung nodule", "Pleural effusion")
LABELER = "rules of the test"
RESOLVED = """\
ctfw: 1
name: {name}
seed: {seed}
synthetic: true
stages:
  tune:
    use: ctfw/finetune@1
    loss: {{use: ctfw/{loss}@1}}
  test:
    use: ctfw/report@1
    labeler: {{use: ctfw/ct-rate-18}}
    metrics: [{metrics}]
"""


def written(
    quality: float, seed: int = 0, cases: int = 24, first: int = 0, swapped: bool = False
) -> list[Prediction]:
    """Reports of two cases per patient; each finding is told rightly with this chance.

    The references depend on the number of the case alone.
    """
    rng = np.random.default_rng([seed, int(1000 * quality), int(swapped)])
    made = []
    for number in range(first, first + cases):
        truth = np.random.default_rng(number).random(len(FINDINGS)) < 0.45
        told = np.where(rng.random(len(FINDINGS)) < quality, truth, rng.random(len(FINDINGS)) < 0.5)
        made.append(
            Prediction(
                f"case-{number}",
                f"patient-{number // 2}",
                text_of(told),
                text_of(truth),
                vector(told),
                vector(truth),
            )
        )
    return made


def text_of(findings: np.ndarray) -> str:
    said = [
        f"{name} is seen in this examination." if on else f"There is no {name.lower()}."
        for name, on in zip(FINDINGS, findings, strict=True)
    ]
    return "The heart is of normal size. " + " ".join(said)


def vector(findings: np.ndarray) -> np.ndarray:
    on = {name for name, value in zip(FINDINGS, findings, strict=True) if value}
    return np.array([name in on for name in CT_RATE_LABELS], np.int8)


def make_run(
    root: Path,
    name: str,
    predictions: Sequence[Prediction],
    another: Sequence[Prediction] = (),
    *,
    seed: int = 0,
    loss: str = "cross-entropy",
    metrics: Sequence[str] = ("bleu", "accuracy"),
    labeler: str = LABELER,
) -> Path:
    """A finished run with one report stage; returns its folder.

    metrics  built-ins by name, or blocks in YAML
    """
    folder = root / name / f"20260101-00000{len(list(root.glob('*/*')))}-abc"
    stage = folder / "stages" / "test"
    stage.mkdir(parents=True)
    catalog = load_plugins(only="none").catalog
    blocks = [
        m if m.startswith("{") else f"{{use: {catalog.get('metric', m).qualified}}}"
        for m in metrics
    ]
    text = RESOLVED.format(name=name, seed=seed, loss=loss, metrics=", ".join(blocks))
    write_text(folder / "resolved.yaml", text)
    write_json(folder / "status.json", {"state": "finished"})
    write_predictions(stage / "predictions.jsonl", predictions)
    if another:
        write_predictions(stage / "predictions.another.jsonl", another)
    labels = [{"name": label} for label in CT_RATE_LABELS]
    table = {"columns": [], "rows": [{"kind": "model", "values": {}}]}
    write_json(stage / "scores.json", {"table": table, "labels": labels, "labeler": labeler})
    return folder


def make_file(path: Path, predictions: Sequence[Prediction], patients: bool = True) -> Path:
    """Another system's table of the same reports, without labels."""
    rows = [
        {"case": p.case, "generated": p.generated, "reference": p.reference}
        | ({"patient": p.patient} if patients else {})
        for p in predictions
    ]
    write_json(path, rows)
    return path
