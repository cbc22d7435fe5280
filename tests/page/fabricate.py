"""A run directory that no training made: for the page's tests, and for looking at the page.

    python tests/page/fabricate.py FOLDER

The slices are drawn from ellipses and the numbers from simple curves. Every value is invented.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from fabricate_scores import make_scores, sampler_summary, tune_steps, warmup_steps
from fabricate_slices import LABELS, Patient, draw_volume, lesions, make_patient
from PIL import Image

NEGATED = {
    "Lung nodule": "No nodule is seen in either lung.",
    "Pleural effusion": "There is no pleural effusion.",
    "Consolidation": "No consolidation is seen.",
    "Cardiomegaly": "Heart size is normal.",
    "Hiatal hernia": "No hiatal hernia is seen.",
    "Arterial wall calcification": "The aortic wall is regular.",
}
PLAIN = "Trachea and both main bronchi are open."


def fabricate(
    folder: Path,
    *,
    cases: int = 24,
    slices: int = 10,
    size: int = 112,
    negatives: str = "heter",
    warmup: bool = True,
    scores: bool = True,
    state: str = "finished",
    synthetic: bool = True,
    reports: Mapping[int, str] | None = None,
) -> Path:
    """Write the directory and return it. `reports` replaces generated texts, by case number."""
    rng = np.random.default_rng(7)
    folder.mkdir(parents=True, exist_ok=True)
    stages = (["see"] if warmup else []) + ["tune", "test"]
    _top_files(folder, stages, negatives, state, synthetic)
    if warmup:
        _write_lines(folder / "stages/see/steps.jsonl", warmup_steps(rng))
    _write_lines(folder / "stages/tune/steps.jsonl", tune_steps(rng, negatives))
    if negatives:
        _write(folder / "stages/tune/negatives.json", sampler_summary(rng, negatives))
    if scores:
        _write(folder / "stages/test/scores.json", make_scores(synthetic))
        stage = folder / "stages/test"
        _write_lines(stage / "cases.jsonl", _cases(stage, rng, cases, slices, size, reports or {}))
    return folder


def _cases(
    stage: Path,
    rng: np.random.Generator,
    count: int,
    slices: int,
    size: int,
    reports: Mapping[int, str],
) -> Iterable[dict[str, Any]]:
    (stage / "cases").mkdir(parents=True, exist_ok=True)
    patients = [make_patient(rng, number, slices) for number in range(count)]
    names = [f"p{number // 2 + 1:03d}_{number % 2 + 1}" for number in range(count)]
    volumes = [draw_volume(patient, slices, size) for patient in patients]
    for number, (patient, name, volume) in enumerate(zip(patients, names, volumes)):
        _save(stage / f"cases/{name}.png", volume)
        other = (number + 3) % count
        gauss = number % 5 == 4
        negative = rng.integers(0, 255, volume.shape, np.uint8) if gauss else volumes[other]
        _save(stage / f"cases/{name}.negative.png", negative)
        yield _case(number, name, patient, slices, size, rng, reports.get(number)) | {
            "negative": {
                "kind": "gauss" if gauss else "heter",
                "role": "trained against" if number % 4 == 0 else "swapped in at test",
                "case": None if gauss else names[other],
                "image": f"cases/{name}.negative.png",
                "labels": None if gauss else list(patients[other].planted),
                "note": {} if gauss else {"distance": 9},
                "generated": None
                if number % 7 == 6
                else _report(Patient() if gauss else patients[other]),
            }
        }


def _case(
    number: int,
    name: str,
    patient: Patient,
    slices: int,
    size: int,
    rng: np.random.Generator,
    report: str | None,
) -> dict[str, Any]:
    told = {label: values for label, values in patient.planted.items() if rng.random() < 0.72}
    if rng.random() < 0.35:
        told.setdefault("Hiatal hernia", ("left", 20.0, 160.0, 200.0, 5, 7))
    left_out = rng.choice(list(LABELS))
    reference = [(PLAIN, []), *_statements(patient.planted)]
    generated = [(PLAIN, []), *(s for s in _statements(told) if s[1][0][0] != left_out)]
    stated = {label for _, findings in generated for label, positive in findings if positive}
    marked = [
        _sentence(text, found, set(patient.planted), "hallucinated") for text, found in generated
    ]
    return {
        "case": name,
        "patient": name[:4],
        "split": "train" if number % 4 == 0 else "test",
        "image": f"cases/{name}.png",
        "slices": slices,
        "positions_mm": [round(-40 - 24.5 * index, 1) for index in range(slices)],
        "size": [size, size],
        "pixel_mm": [320 / size, 320 / size],
        "lesions": lesions(patient, size),
        "reference": " ".join(text for text, _ in reference),
        "generated": report or " ".join(text for text, _ in generated),
        "reference_sentences": [
            _sentence(text, found, stated, "missed") for text, found in reference
        ],
        "generated_sentences": [{"text": report}] if report else marked,
        "labels": list(patient.planted),
        "generated_labels": sorted(stated),
    }


def _statements(planted: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, bool]]]]:
    told = []
    for label, (template, _) in LABELS.items():
        if label in planted:
            text = template.format(side=planted[label][0], size=planted[label][1])
            told.append((text, [(label, True)]))
        else:
            told.append((NEGATED[label], [(label, False)]))
    return told


def _sentence(
    text: str, findings: list[tuple[str, bool]], other: set[str], lone: str
) -> dict[str, Any]:
    """`lone` is the verdict on a finding that the `other` text does not state."""
    verdict = ""
    for label, positive in findings:
        if positive:
            verdict = "agree" if label in other else lone
        elif label in other:
            verdict = "conflict"
    return {"text": text, "findings": findings, "verdict": verdict}


def _report(patient: Patient) -> str:
    return " ".join([PLAIN, *(text for text, _ in _statements(patient.planted))])


def _top_files(
    folder: Path, stages: list[str], negatives: str, state: str, synthetic: bool
) -> None:
    blocks: dict[str, Any] = {
        "see": {"use": "ctfw/warm-up@1"},
        "tune": {"use": "ctfw/finetune@1", "loss": {"use": "bounded-contrast", "beta": 0.1}},
        "test": {"use": "ctfw/report@1", "start_from": "tune/best"},
    }
    if negatives:
        blocks["tune"]["negatives"] = {"use": f"ctfw/{negatives}@1", "min_label_distance": 10}
    recipe = {
        "ctfw": 1,
        "name": "ours-heter",
        "summary": "Qwen2.5-VL with another patient's volume as the negative",
        "seed": 0,
        "synthetic": synthetic,
        "profile": "phantom",
        "data": {"use": "ctfw/phantom@1", "patients": 400},
        "backbone": {"use": "ctfw/qwen2.5-vl@1", "tiny": True},
        "training": {"learning_rate": 2e-3, "batch_size": 4},
        "stages": {name: blocks[name] for name in stages},
    }
    (folder / "resolved.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))
    versions = {"ctfw": "0.1.0", "torch": "2.13.0", "transformers": "5.23.0", "numpy": "2.3.4"}
    _write(
        folder / "lock.json",
        {
            "versions": versions,
            "platform": "Linux x86_64, 2 cores",
            "git": {"commit": "0a706ce", "changed": False},
        },
    )
    _write(
        folder / "status.json",
        {
            "state": state,
            "stages": {name: 60.0 * place + 42 for place, name in enumerate(stages)},
            "started": "2026-11-22T09:14:03",
            "ended": "2026-11-22T09:19:31",
        },
    )


def _save(path: Path, volume: np.ndarray) -> None:
    Image.fromarray(volume.reshape(-1, volume.shape[2])).save(path, optimize=True)


def _write(path: Path, content: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def _write_lines(path: Path, records: Iterable[Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


if __name__ == "__main__":
    print(fabricate(Path(sys.argv[1])))
