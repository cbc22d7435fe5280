"""Chest slices from ellipses, with lesions whose outlines are known. No anatomy."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

LABELS = {
    "Lung nodule": ("A nodule of {size:.0f} mm is seen in the {side} lung.", 41),
    "Pleural effusion": ("There is a {side} pleural effusion.", 35),
    "Consolidation": ("An area of consolidation of {size:.0f} mm lies in the {side} lung.", 29),
    "Cardiomegaly": ("The heart is enlarged.", 26),
    "Hiatal hernia": ("A hiatal hernia is present.", 12),
    "Arterial wall calcification": ("Calcified plaques are seen in the aortic wall.", 22),
}


@dataclass
class Patient:
    """What is planted: label -> (side, size in mm, centre x, y in mm, first and last slice)."""

    planted: dict[str, tuple[str, float, float, float, int, int]] = field(default_factory=dict)
    seed: int = 0


def draw_volume(patient: Patient, slices: int, size: int) -> np.ndarray:
    """(slices, size, size) uint8, window of the soft tissue and lung, top slice first."""
    rng = np.random.default_rng(patient.seed)
    y, x = np.mgrid[0:size, 0:size] * (320.0 / size)  # mm
    volume = np.empty((slices, size, size), np.uint8)
    for index in range(slices):
        volume[index] = _slice(patient, index, index / max(slices - 1, 1), x, y, rng)
    return volume


def _ellipse(x: np.ndarray, y: np.ndarray, cx: float, cy: float, a: float, b: float) -> np.ndarray:
    return ((x - cx) / a) ** 2 + ((y - cy) / b) ** 2 <= 1


def _slice(
    patient: Patient,
    index: int,
    depth: float,
    x: np.ndarray,
    y: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    grey = np.full(x.shape, 4.0)
    grey[_ellipse(x, y, 160, 165, 142, 100)] = 92  # fat and skin
    grey[_ellipse(x, y, 160, 165, 134, 92)] = 132  # wall
    wide = 30 + 26 * np.sin(np.pi * (0.22 + 0.62 * depth))
    for centre in (95, 225):
        grey[_ellipse(x, y, centre, 160, wide, 70 + 8 * depth)] = 34
        for _ in range(16):
            u, v = rng.normal(0, 0.42, 2)
            grey[_ellipse(x, y, centre + u * wide, 160 + v * 70, 1.6, 1.6 + 2 * rng.random())] = 105
    big = 1.35 if "Cardiomegaly" in patient.planted else 1.0
    if depth > 0.35:
        grey[_ellipse(x, y, 172, 140, 46 * big, 36 * big)] = 150
    grey[_ellipse(x, y, 160, 108 + 18 * depth, 24, 30)] = 140
    grey[_ellipse(x, y, 160, 118, 8, 9)] = 12 if depth < 0.5 else 140
    grey[_ellipse(x, y, 184, 205, 12, 12)] = 158  # aorta
    if "Arterial wall calcification" in patient.planted:
        grey[_ellipse(x, y, 194, 199, 3.2, 3.2)] = 250
    grey[_ellipse(x, y, 160, 222, 19, 17)] = 214  # vertebra
    grey[_ellipse(x, y, 160, 226, 7, 6)] = 128
    for angle in np.linspace(0.15, 2 * np.pi + 0.15, 13):
        turn = angle + 0.12 * index
        rx, ry = 160 + 131 * np.cos(turn), 165 + 89 * np.sin(turn)
        grey[_ellipse(x, y, rx, ry, 6, 5)] = 205
    for label, (_, extent, cx, cy, first, last) in patient.planted.items():
        if first <= index <= last and label != "Arterial wall calcification":
            grey[_lesion_mask(label, x, y, cx, cy, extent, index, first, last)] = 138
    grey += rng.normal(0, 5, grey.shape)
    return np.clip(grey, 0, 255).astype(np.uint8)


def _lesion_mask(
    label: str,
    x: np.ndarray,
    y: np.ndarray,
    cx: float,
    cy: float,
    extent: float,
    index: int,
    first: int,
    last: int,
) -> np.ndarray:
    a, b = _axes(label, extent, index, first, last)
    return _ellipse(x, y, cx, cy, a, b)


def _axes(label: str, extent: float, index: int, first: int, last: int) -> tuple[float, float]:
    """Half axes in mm on a slice; largest in the middle of the lesion."""
    middle, half = (first + last) / 2, max((last - first) / 2, 0.5)
    share = float(np.sqrt(max(1 - ((index - middle) / (half + 0.7)) ** 2, 0.05)))
    return (extent / 2 * share, extent / (5 if label == "Pleural effusion" else 2) * share)


def make_patient(rng: np.random.Generator, number: int, slices: int) -> Patient:
    patient = Patient(seed=number)
    for label, (_, support) in LABELS.items():
        if rng.random() < support / 100 + 0.12:
            side = "right" if rng.random() < 0.5 else "left"
            x = 95.0 if side == "right" else 225.0
            low = label == "Pleural effusion"
            extent = float(rng.uniform(50, 75) if low else rng.uniform(12, 34))
            first = int(rng.integers(slices // 2, max(slices - 3, slices // 2 + 1)))
            y = 217.0 if low else float(rng.uniform(120, 185))
            patient.planted[label] = (
                side,
                extent,
                x + float(rng.uniform(-12, 12)),
                y,
                first,
                min(first + 2, slices - 1),
            )
    return patient


def lesions(patient: Patient, size: int) -> list[dict[str, Any]]:
    pixel = 320 / size
    angles = np.linspace(0, 2 * np.pi, 25)[:-1]
    lesions = []
    for label, (side, extent, cx, cy, first, last) in patient.planted.items():
        if label == "Arterial wall calcification":
            cx, cy, extent = 194.0, 199.0, 10.0
        outlines = {}
        for index in range(first, last + 1):
            a, b = _axes(label, extent, index, first, last)
            points = np.stack(
                [(cx + a * np.cos(angles)) / pixel, (cy + b * np.sin(angles)) / pixel], 1
            )
            outlines[str(index)] = points.round(2).tolist()
        lesions.append(
            {"label": label, "size_mm": round(extent, 1), "side": side, "outlines": outlines}
        )
    return lesions
