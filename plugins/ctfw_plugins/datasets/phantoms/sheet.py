"""A contact sheet of the phantoms: `python -m ctfw_plugins.datasets.phantoms.sheet OUT.png`.

One row per label: ten evenly spaced slices of a study that has this label alone, at the pixel
size that a small model sees, with the outline of the planted mask; the first row has no finding.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from ctfw.labels import CT_RATE_LABELS
from ctfw_plugins.datasets.phantoms.writer import Recipe, Study, render


def row(recipe: Recipe, label: int | None, patient: int, *, outline: bool) -> np.ndarray:
    """(height, width, 3) uint8: ten slices of one study, window -1000..400 HU, head first."""
    labels = np.zeros(len(CT_RATE_LABELS), np.int8)
    if label is not None:
        labels[label] = 1
    canvas, hu, _ = render(recipe, Study("sheet", patient, 0), labels)
    aerated = np.flatnonzero((canvas.lung > 0.5).any((1, 2)))
    levels = np.linspace(aerated[0], aerated[-1], 12)[1:-1].round().astype(int)[::-1]
    tiles = []
    for level in levels:
        grey = np.clip((hu[level] + 1000.0) / 1400 * 255, 0, 255).astype(np.uint8)
        tile = np.repeat(grey[..., None], 3, -1)
        if outline:
            tile[_edge(canvas.mask[level] != 0)] = (255, 80, 40)
        tiles.append(tile)
    return np.concatenate(tiles, 1)


def _edge(inside: np.ndarray) -> np.ndarray:
    """Pixels outside a mask that touch it."""
    grown = inside.copy()
    grown[1:] |= inside[:-1]
    grown[:-1] |= inside[1:]
    grown[:, 1:] |= inside[:, :-1]
    grown[:, :-1] |= inside[:, 1:]
    return grown & ~inside


def sheet(recipe: Recipe, names: list[str | None], patient: int, *, outline: bool) -> np.ndarray:
    """The rows of several labels below each other; None is a study without findings."""
    rows = []
    for index, name in enumerate(names):
        label = None if name is None else CT_RATE_LABELS.index(name)
        rows.append(row(recipe, label, patient + index, outline=outline))
    width = max(part.shape[1] for part in rows)
    return np.concatenate([np.pad(p, ((0, 0), (0, width - p.shape[1]), (0, 0))) for p in rows])


def main() -> None:
    from PIL import Image

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", nargs="*", default=list(CT_RATE_LABELS))
    parser.add_argument("--patient", type=int, default=1)
    parser.add_argument("--spacing", type=float, default=3.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-outline", action="store_true")
    given = parser.parse_args()
    recipe = Recipe(given.seed, given.spacing, CT_RATE_LABELS, 3.5)
    picture = sheet(recipe, [None, *given.labels], given.patient, outline=not given.no_outline)
    Image.fromarray(picture).resize(
        (picture.shape[1] * 2, picture.shape[0] * 2), Image.Resampling.NEAREST
    ).save(given.out)


if __name__ == "__main__":
    main()
