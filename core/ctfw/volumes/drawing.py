"""Pieces of a drawn page: a figure in inches, grey ranges, pictures without frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ctfw.types import HU, NORMALISED, Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, QUIET = "#1c2733", "#5d6b78"


class Page:
    """A figure addressed in inches from the top left corner."""

    def __init__(self, width: float, height: float) -> None:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        self.figure = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasAgg(self.figure)
        self.width, self.height = width, height

    def axes(self, left: float, top: float, width: float, height: float) -> Axes:
        w, h = self.width, self.height
        return self.figure.add_axes((left / w, 1 - (top + height) / h, width / w, height / h))

    def text(self, left: float, top: float, text: str, size: float, **look: Any) -> None:
        at = left / self.width, 1 - top / self.height
        self.figure.text(*at, text, size=size, va="top", **{"color": INK} | look)


def grey_range(volume: Volume) -> tuple[float, float]:
    """Grey values shown as black and white: the model's own window where there is one."""
    if volume.intensity == NORMALISED:
        for decision in reversed(volume.provenance):
            if decision.step == "hu-window":
                values = decision.values
                low, high, by = values["low"], values["high"], values["divide_by"]
                return low / by, high / by
    if volume.intensity == HU:
        return -1000.0, 1000.0
    low, high = np.percentile(volume.array[:, ::2, ::2], (0.5, 99.5))
    return float(low), float(max(high, low + 1e-6))


def middle(array: np.ndarray, level: float) -> tuple[int, int]:
    """(row, column) through the middle of what is denser than `level`."""
    dense = array[:: max(1, len(array) // 16)] > level
    middles = []
    for axes in ((0, 2), (0, 1)):
        weight = dense.sum(axes).astype(float)
        steps = np.arange(len(weight))
        total = weight.sum()
        middles.append(int(np.dot(weight, steps) / total) if total else len(weight) // 2)
    return middles[0], middles[1]


def picture(axes: Axes) -> Axes:
    """Black behind the picture, no ticks, no frame."""
    axes.set(xticks=[], yticks=[], facecolor="black")
    axes.set_anchor("C")
    for side in axes.spines.values():
        side.set_visible(False)
    return axes


def directions(axes: Axes, letters: Sequence[str]) -> None:
    """Letters at the top, bottom, left and right edge; "" leaves one out."""
    places = ((0.5, 0.96), (0.5, 0.04), (0.03, 0.5), (0.97, 0.5))
    sides: Any = (("center", "top"), ("center", "bottom"), ("left", "center"), ("right", "center"))
    for letter, place, (across, up) in zip(letters, places, sides, strict=True):
        axes.text(
            *place, letter, transform=axes.transAxes, size=8, color="white", ha=across, va=up,
            weight="bold",
        )  # fmt: skip


def plain(axes: Axes, label: str) -> None:
    axes.set_xlabel(label, size=9, color=QUIET)
    axes.tick_params(labelsize=8, colors=QUIET)
    axes.set_yticks([])
    axes.minorticks_off()
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
