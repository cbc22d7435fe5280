"""The curves of docs/explanation/negative_losses.md, from the steps.jsonl of the study's runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from _negatives_page import FIRST, Result, by_variant, interval

INK, FAINT = "#222222", "#8a8a8a"
# Okabe and Ito's colours, which colour-blind readers can tell apart.
SHOWN = {
    "gauss": ("#e69f00", "noise (Gauss)"),
    "heter": ("#d55e00", "another patient (Heter)"),
    "hard": ("#0072b2", "alike, other diagnosis (hard)"),
    "heter-unlikelihood": ("#009e73", "Heter, unlikelihood on conflicts"),
    "heter-margin": ("#cc79a7", "Heter, margin"),
}
WINDOW = 40
"""Steps over which a curve is smoothed."""


def draw(path: Path, results: Sequence[Result], order: Sequence[str]) -> None:
    """Loss under the wrong image, share at the bound, and grounded gain, side by side."""
    mpl.use("Agg")
    import matplotlib.pyplot as plt

    rows = by_variant(results)
    style = {"font.size": 9, "text.color": INK, "axes.edgecolor": FAINT, "axes.labelcolor": INK}
    with plt.rc_context(style):
        figure, axes = plt.subplots(
            1, 3, figsize=(12, 4.2), dpi=130, width_ratios=(1, 1, 1.15), constrained_layout=True
        )
        _curves(axes[0], rows, "negative", "nats per token of the negative term")
        axes[0].set_yscale("log", subs=[2, 3, 5])
        axes[0].yaxis.set_major_formatter("{x:g}")
        axes[0].yaxis.set_minor_formatter("{x:g}")
        axes[0].set_title("Loss under the wrong image", fontsize=10)
        axes[0].axhline(3, color=FAINT, lw=0.8, ls=":")
        place: Any = ("axes fraction", "data")
        note = {"ha": "right", "va": "bottom", "color": FAINT, "fontsize": 8}
        axes[0].annotate("bound of clamp", (0.99, 3), xycoords=place, **note)
        _curves(axes[1], rows, "at_bound", "share of negatives without gradient")
        axes[1].set_ylim(-0.03, 1.03)
        axes[1].set_title("At the bound", fontsize=10)
        handles, words = axes[0].get_legend_handles_labels()
        figure.legend(
            handles, words, frameon=False, fontsize=8.5, loc="outside lower left", ncols=5
        )
        _gains(axes[2], rows, [name for name in order if name in rows])
        for axis in axes:
            axis.spines[["top", "right"]].set_visible(False)
        path.parent.mkdir(exist_ok=True)
        figure.savefig(path)
        plt.close(figure)


def _curves(axis: Any, rows: dict[str, dict[int, Result]], term: str, label: str) -> None:
    """Mean over seeds of a logged term, smoothed."""
    for name, (colour, words) in SHOWN.items():
        if name not in rows:
            continue
        series = [[line[term] for line in run.steps if term in line] for run in rows[name].values()]
        length = min(map(len, series))
        mean = np.mean([values[:length] for values in series], axis=0)
        smooth = np.convolve(mean, np.ones(WINDOW) / WINDOW, mode="valid")
        axis.plot(np.arange(len(smooth)) + WINDOW, smooth, color=colour, lw=1.6, label=words)
    axis.set(xlabel="step", ylabel=label)


def _gains(axis: Any, rows: dict[str, dict[int, Result]], names: Sequence[str]) -> None:
    """One line per variant: each seed, the mean, and the interval of the mean."""
    for place, name in enumerate(reversed(names)):
        values = [run.numbers["grounded_gain"] for run in rows[name].values()]
        colour = SHOWN.get(name, (INK, ""))[0]
        mean, half = interval(values)
        axis.plot(values, [place] * len(values), "o", color=colour, ms=4, alpha=0.45, mew=0)
        axis.errorbar(
            mean, place, xerr=None if np.isnan(half) else half, fmt="|", color=colour, ms=11, lw=1.3
        )
    if FIRST in rows:
        first = np.mean([run.numbers["grounded_gain"] for run in rows[FIRST].values()])
        axis.axvline(first, color=FAINT, lw=0.8, ls=":")
    axis.set_yticks(range(len(names)), list(reversed(names)), fontsize=8)
    axis.set_xlabel("macro-F1, own minus another patient's image")
    axis.set_title("Grounded gain: seeds, mean, t interval", fontsize=10)
