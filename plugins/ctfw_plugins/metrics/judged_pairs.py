"""What the metrics that ask a model about two texts share: empty texts, other people's packages."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Sequence
from importlib import metadata
from typing import Any

import numpy as np

from ctfw.errors import MissingPackage
from ctfw.types import Prediction
from ctfw_plugins.metrics.text_input import NOTHING


def without_asking(predictions: Sequence[Prediction]) -> tuple[np.ndarray, list[int]]:
    """((N,) values, the rows to ask about, which are NaN so far).

    An empty reference is NaN, because nothing can be compared with it; an empty generated text 0.
    """
    values = np.full(len(predictions), np.nan)
    asked = []
    for row, prediction in enumerate(predictions):
        if prediction.reference.strip() and prediction.generated.strip():
            asked.append(row)
        elif prediction.reference.strip():
            values[row] = 0.0
    return values, asked


def notes_on_empty(
    metric: str, predictions: Sequence[Prediction], mean: str = "means"
) -> Iterator[str]:
    """How many texts were empty, and what that counts; `mean` as the metric has one or more."""
    if not predictions:
        yield NOTHING
    if empty := sum(not p.reference.strip() for p in predictions):
        yield f"{metric}: {empty} references are empty: NaN, left out of the {mean}"
    if blank := sum(not p.generated.strip() and bool(p.reference.strip()) for p in predictions):
        yield f"{metric}: {blank} generated texts are empty: 0"


def import_package(module: str, metric: str, needs: str, install: str) -> Any:
    """Raises MissingPackage, also where what the package needs in turn is not there."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as error:  # spaCy raises OSError for a model that is not there
        raise MissingPackage(
            f"metric '{metric}' needs the package {needs} ({error}); run: {install}"
        ) from error


def version_of(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return "unknown"
