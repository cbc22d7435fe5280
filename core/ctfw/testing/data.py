"""Tiny data that every component of a kind must be able to handle."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ctfw.labels import CT_RATE_LABELS
from ctfw.types import Case, CaseTable, Prediction, Volume

REPORTS = (
    "Findings: Pleural effusion is observed on the right. No lung nodule. Impression: Effusion.",
    "Findings: No pleural effusion was detected. A 6 mm nodule is observed in the left lung.",
    "Findings: The heart is enlarged. Emphysema is observed. No lung nodule was detected.",
    "Findings: Heart size is normal. No pleural effusion. No lung nodule. Impression: Normal.",
)


def tiny_volume(slices: int = 12, size: int = 28, seed: int = 0) -> Volume:
    """A chest-like volume in HU: air around a body with two lungs; 3 mm voxels, LPS."""
    rng = np.random.default_rng(seed)
    _z, y, x = np.meshgrid(
        np.arange(slices), np.arange(size), np.arange(size), indexing="ij", sparse=True
    )
    centre = (size - 1) / 2
    body = ((x - centre) / (0.45 * size)) ** 2 + ((y - centre) / (0.35 * size)) ** 2 < 1
    hu = np.where(body, 40.0, -1000.0) + np.zeros((slices, 1, 1))
    for side in (-1, 1):
        lung = ((x - centre - side * 0.2 * size) / (0.13 * size)) ** 2
        hu = np.where(lung + ((y - centre) / (0.22 * size)) ** 2 < 1, -850.0, hu)
    hu = hu + rng.normal(0, 10, hu.shape)
    affine = np.diag([-3.0, -3.0, 3.0, 1.0])
    return Volume(hu.astype(np.float32), affine, "hu").noting("test", "a tiny chest")


def tiny_cases(count: int = 12, seed: int = 0) -> CaseTable:
    """Cases of `count` / 2 patients with labels in the 18 of CT-RATE; no image files behind."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, len(CT_RATE_LABELS))) < 0.3).astype(np.int8)
    labels[:1], labels[1:2] = 0, 1
    cases = tuple(
        Case(
            id=f"case-{i}",
            patient=f"patient-{i // 2}",
            image=Path(f"case-{i}.nii.gz"),
            report=REPORTS[i % len(REPORTS)],
            split="train",
            labels=labels[i],
        )
        for i in range(count)
    )
    return CaseTable(cases, CT_RATE_LABELS)


def tiny_predictions(count: int = 6, seed: int = 0) -> list[Prediction]:
    """Predictions with labels; the last one is an empty text."""
    cases = tiny_cases(count, seed)
    texts = [REPORTS[(i + 1) % len(REPORTS)] for i in range(count - 1)] + [""]
    return [
        Prediction(
            case.id,
            case.patient,
            text,
            case.report,
            labels=np.roll(np.asarray(case.labels), 1),
            reference_labels=case.labels,
        )
        for case, text in zip(cases, texts, strict=True)
    ]
