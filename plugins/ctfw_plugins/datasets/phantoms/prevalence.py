"""Which findings a study has: frequencies and co-occurrence like CT-RATE's.

Each label is positive when a standard normal variable falls below a threshold that gives its
frequency (a Gaussian copula). The variables share four causes, so that findings come together as
they do in patients: age, heart failure, infection, and disease of the airways.
"""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from ctfw.labels import CT_RATE_LABELS

# label -> (share of studies, weights of age, heart, infection, airways, persistence). The shares
# are rounded from the public label tables. Persistence is the part of the rest that one study of
# a patient has in common with the next: high for what does not go away.
_FACTS: dict[str, tuple[float, float, float, float, float, float]] = {
    "Medical material": (0.10, 0.35, 0.35, 0.0, 0.0, 0.97),
    "Arterial wall calcification": (0.28, 0.80, 0.10, 0.0, 0.0, 0.95),
    "Cardiomegaly": (0.11, 0.35, 0.60, 0.0, 0.0, 0.90),
    "Pericardial effusion": (0.07, 0.10, 0.50, 0.15, 0.0, 0.20),
    "Coronary artery wall calcification": (0.25, 0.80, 0.15, 0.0, 0.0, 0.95),
    "Hiatal hernia": (0.15, 0.40, 0.0, 0.0, 0.0, 0.95),
    "Lymphadenopathy": (0.25, 0.10, 0.15, 0.35, 0.05, 0.50),
    "Emphysema": (0.20, 0.35, 0.0, 0.0, 0.35, 0.95),
    "Atelectasis": (0.26, 0.20, 0.40, 0.15, 0.05, 0.40),
    "Lung nodule": (0.45, 0.10, 0.0, 0.05, 0.10, 0.80),
    "Lung opacity": (0.37, 0.05, 0.20, 0.70, 0.0, 0.20),
    "Pulmonary fibrotic sequela": (0.27, 0.30, 0.0, 0.0, 0.35, 0.90),
    "Pleural effusion": (0.12, 0.15, 0.65, 0.30, 0.0, 0.30),
    "Mosaic attenuation pattern": (0.08, 0.0, 0.20, 0.0, 0.45, 0.50),
    "Peribronchial thickening": (0.11, 0.05, 0.15, 0.20, 0.60, 0.60),
    "Consolidation": (0.18, 0.05, 0.15, 0.70, 0.0, 0.15),
    "Bronchiectasis": (0.11, 0.10, 0.0, 0.05, 0.65, 0.95),
    "Interlobular septal thickening": (0.08, 0.05, 0.50, 0.35, 0.10, 0.30),
}

SHARES = np.array([_FACTS[name][0] for name in CT_RATE_LABELS])
_WEIGHTS = np.array([_FACTS[name][1:5] for name in CT_RATE_LABELS])
_PERSISTENCE = np.array([_FACTS[name][5] for name in CT_RATE_LABELS])


def shares_for(planted: np.ndarray, positives: float) -> np.ndarray:
    """(18,) probability of each label so that a study has `positives` of them on average.

    planted: (18,) bool, the labels that may be positive; the others get 0. The odds of all
    planted labels are raised by one factor. With few labels the mean stops at half of them,
    because a label that is always there says nothing.
    """
    target = min(positives, 0.5 * int(planted.sum()))
    odds = SHARES / (1 - SHARES)
    low, high = 1e-4, 1e4
    for _ in range(60):
        factor = float(np.sqrt(low * high))
        raised = factor * odds / (1 + factor * odds)
        low, high = (factor, high) if raised[planted].sum() < target else (low, factor)
    return np.where(planted, raised, 0.0)


def draw_labels(
    shares: np.ndarray, patient: np.random.Generator, study: np.random.Generator
) -> np.ndarray:
    """(18,) int8 of 0 and 1 for one study; the patient's generator is the same in each study."""
    causes = patient.standard_normal(4)
    lasting, passing = patient.standard_normal(18), study.standard_normal(18)
    rest = np.sqrt(_PERSISTENCE) * lasting + np.sqrt(1 - _PERSISTENCE) * passing
    score = _WEIGHTS @ causes + np.sqrt(1 - (_WEIGHTS**2).sum(1)) * rest
    normal = NormalDist()
    least = [normal.inv_cdf(1 - share) if share > 0 else np.inf for share in shares]
    return (score > np.array(least)).astype(np.int8)
