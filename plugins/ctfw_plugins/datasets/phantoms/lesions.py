"""Planting the findings of a study, in an order in which none hides another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from ctfw.labels import CT_RATE_LABELS
from ctfw_plugins.datasets.phantoms import chest_lesions, diffuse_lesions, lung_lesions
from ctfw_plugins.datasets.phantoms.body import Body
from ctfw_plugins.datasets.phantoms.canvas import Canvas

Painter = Callable[[Canvas, Body, int, np.random.Generator], None]

# Effusions come first, because they take lung away; then what lies in the remaining lung, from
# diffuse to focal; calcium and metal stay on top.
PAINTERS: dict[str, Painter] = {
    "Cardiomegaly": chest_lesions.mark_heart,
    "Pericardial effusion": chest_lesions.pericardial_effusion,
    "Pleural effusion": lung_lesions.pleural_effusion,
    "Mosaic attenuation pattern": diffuse_lesions.mosaic_attenuation,
    "Interlobular septal thickening": diffuse_lesions.septal_thickening,
    "Lung opacity": lung_lesions.lung_opacity,
    "Emphysema": diffuse_lesions.emphysema,
    "Consolidation": lung_lesions.consolidation,
    "Pulmonary fibrotic sequela": lung_lesions.fibrotic_sequela,
    "Atelectasis": lung_lesions.atelectasis,
    "Peribronchial thickening": diffuse_lesions.peribronchial_thickening,
    "Bronchiectasis": diffuse_lesions.bronchiectasis,
    "Lung nodule": lung_lesions.lung_nodule,
    "Lymphadenopathy": chest_lesions.lymphadenopathy,
    "Hiatal hernia": chest_lesions.hiatal_hernia,
    "Arterial wall calcification": chest_lesions.arterial_calcification,
    "Coronary artery wall calcification": chest_lesions.coronary_calcification,
    "Medical material": chest_lesions.medical_material,
}

# Findings that stay from one study of a patient to the next are placed by the patient's own
# random numbers; the others by the study's.
CHRONIC = frozenset(
    {
        "Medical material",
        "Arterial wall calcification",
        "Cardiomegaly",
        "Coronary artery wall calcification",
        "Hiatal hernia",
        "Emphysema",
        "Lung nodule",
        "Pulmonary fibrotic sequela",
        "Bronchiectasis",
    }
)


def with_cardiomegaly(body: Body) -> Body:
    """The same patient with a heart about 1.35 times as wide: cardiothoracic ratio above 0.5."""
    x, y, z = body.heart_mm
    cx, cy, cz = body.heart
    return replace(
        body, heart_mm=(1.38 * x, 1.25 * y, 1.15 * z), heart=(cx + 0.12 * x, cy + 0.08 * y, cz)
    )


def plant_all(
    canvas: Canvas,
    body: Body,
    labels: np.ndarray,
    rng_of: Callable[[int], np.random.Generator],
) -> None:
    """Plant every positive label; `rng_of(label)` gives the random numbers of each."""
    for name, painter in PAINTERS.items():
        label = CT_RATE_LABELS.index(name)
        if labels[label]:
            painter(canvas, body, label, rng_of(label))
