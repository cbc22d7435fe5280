"""The figure of docs/explanation/antialiasing.md."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from antialias import DIAMETERS_MM, SPACINGS, TARGET_MM, Mode, nodule, resampled, weights

_NOISE_HU = 150.0
_WINDOW = (-1100.0, 150.0)
_HALF_MM = 7.0
_COLOURS = {"none": "#d55e00", "auto": "#0072b2"}
_INK, _FAINT = "#222222", "#888888"
_ROWS: tuple[tuple[str, str], ...] = (
    ("source", "source\n0.35 x 0.35 x 0.8 mm"),
    ("none", "antialias: none\n0.75 x 0.75 x 1.5 mm"),
    ("auto", "antialias: auto\n0.75 x 0.75 x 1.5 mm"),
)


def draw(path: Path) -> None:
    """Write the picture: nodules in noise from volume B, and the noise gain along one axis."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    style = {"font.size": 9, "font.family": "sans-serif", "text.color": _INK}
    with plt.rc_context(style):
        figure = plt.figure(figsize=(11, 4.9), dpi=130)
        grid = figure.add_gridspec(
            3, 4, left=0.155, right=0.605, top=0.88, bottom=0.04, wspace=0.04, hspace=0.04
        )
        _pictures(figure, grid)
        curves = figure.add_gridspec(
            2, 1, left=0.69, right=0.94, top=0.83, bottom=0.11, hspace=0.62
        )
        _curve(figure.add_subplot(curves[0]), "B", 0, "Volume B, along x: 0.35 to 0.75 mm")
        _curve(figure.add_subplot(curves[1]), "A", 2, "Volume A, along z: 1 to 1.5 mm")
        figure.text(
            0.38, 0.955, f"Nodules in white noise of {_NOISE_HU:.0f} HU", ha="center", fontsize=10
        )
        figure.text(
            0.815, 0.955, "Noise left along one axis (1: all of it)", ha="center", fontsize=10
        )
        figure.savefig(path)
        plt.close(figure)


def _pictures(figure: Any, grid: Any) -> None:
    for column, diameter in enumerate(DIAMETERS_MM):
        rng = np.random.default_rng(column)
        array = nodule(SPACINGS["B"], diameter, np.array([0.2, -0.3, 0.1]))
        array = (array + rng.normal(0, _NOISE_HU, array.shape)).astype(np.float32)
        for row, (mode, label) in enumerate(_ROWS):
            axes = figure.add_subplot(grid[row, column])
            _picture(axes, array, mode)
            if row == 0:
                axes.set_title(f"{diameter} mm", fontsize=9, pad=4)
            if column == 0:
                axes.set_ylabel(label, rotation=0, ha="right", va="center", labelpad=8)
    axes.plot([-6, -1], [6.1, 6.1], color="white", lw=1.5, solid_capstyle="butt")
    axes.text(-3.5, 5.7, "5 mm", color="white", ha="center", va="bottom", fontsize=7)


def _picture(axes: Any, array: np.ndarray, mode: str) -> None:
    """The axial slice through the nodule, each voxel as a square of its own size."""
    step = SPACINGS["B"][0] if mode == "source" else TARGET_MM[0]
    if mode != "source":
        chosen: Mode = "none" if mode == "none" else "auto"
        array = resampled(array, SPACINGS["B"], chosen, TARGET_MM)
    half = array.shape[2] * step / 2
    axes.imshow(
        array[array.shape[0] // 2],
        cmap="gray",
        vmin=_WINDOW[0],
        vmax=_WINDOW[1],
        extent=(-half, half, half, -half),
        interpolation="nearest",
    )
    axes.set(xlim=(-_HALF_MM, _HALF_MM), ylim=(_HALF_MM, -_HALF_MM), xticks=[], yticks=[])
    axes.spines[:].set_visible(False)


def _curve(axes: Any, volume: str, axis: int, title: str) -> None:
    spacing, target = SPACINGS[volume][axis], TARGET_MM[axis]
    size = round(60 / spacing) + 1
    for mode in ("none", "auto"):
        gain = np.sqrt((weights(spacing, target, mode, size) ** 2).sum(1))
        position = np.arange(len(gain)) * target
        shown = position <= 30
        axes.plot(position[shown], gain[shown], "o-", color=_COLOURS[mode], ms=2.5, lw=1)
        last = np.flatnonzero(shown)[-1]
        axes.text(
            position[last] + 1,
            gain[shown].mean(),
            mode,
            color=_COLOURS[mode],
            va="center",
            fontsize=9,
        )
    axes.set_title(title, fontsize=9, loc="left", pad=4)
    axes.set(xlim=(0, 30), ylim=(0, 1.05), xlabel="position, mm", yticks=[0, 0.5, 1])
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(_FAINT)
    axes.tick_params(colors=_FAINT, labelcolor=_INK)
