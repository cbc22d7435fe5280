"""The figures of a run: losses, validation, negatives, and label by label.

All are inline SVG that follows the page, see `ctfw.page.canvas`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ctfw.page.canvas import BLUE, FAINT, INK, ORANGE, Picture, canvas, picture, styled
from ctfw.page.records import LabelScore, Negatives, TrainLog
from ctfw.page.validation import is_curve, others, reliance, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

_POINTS = 140  # a curve is averaged in bins down to this many points


@styled
def loss_curves(log: TrainLog) -> Picture | None:
    """Loss per step: positive and negative with the bound, and the share of steps at the bound."""
    positive = series(log.steps, "positive") or series(log.steps, "loss")
    if not positive:
        return None
    negative, share = series(log.steps, "negative"), series(log.steps, "at_bound")
    figure, axes = canvas(2 if share else 1, heights=(2.6, 1.0), height=3.3 if share else None)
    _curve(axes[0], positive, BLUE, "positive (own image)" if negative else "training")
    validation = series(log.validations, "positive")
    if validation:
        axes[0].plot(*zip(*validation), "o", ms=3.6, color=INK, label="validation, own image")
    if negative:
        _curve(axes[0], negative, ORANGE, "negative (image of the pair)", marker="s")
    bounds = [value for _, value in series(log.steps, "bound")]
    if bounds:
        axes[0].axhline(
            bounds[-1], color=INK, lw=1.2, ls=(0, (5, 3)), label=f"bound {bounds[-1]:g}"
        )
    _scale(axes[0], [positive, negative, validation])
    axes[0].set_ylabel("nats per token" if negative else "loss")
    axes[0].legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, frameon=False)
    if share:
        points = _binned(share)
        x, y = zip(*points)
        axes[1].fill_between(x, y, color=ORANGE, alpha=0.35, lw=0)
        axes[1].plot(x, y, "o-" if len(points) == 1 else "-", color=ORANGE, lw=1.2, ms=3.4)
        axes[1].set(ylim=(0, 1.02), yticks=[0, 0.5, 1], yticklabels=["0", "50 %", "100 %"])
        axes[1].set_ylabel("at bound")
    axes[-1].set_xlabel("optimizer step")
    _whole(axes[-1].xaxis)
    alt = f"Training loss from {positive[0][1]:.3g} to {positive[-1][1]:.3g}"
    if negative:
        alt += f"; negative loss from {negative[0][1]:.3g} to {negative[-1][1]:.3g}"
    return picture(figure, f"loss-{log.name}", f"Loss ({log.name})", alt + ".")


@styled
def reliance_curve(log: TrainLog) -> Picture | None:
    """Validation: NLL with another patient's image minus NLL with the own image, per token."""
    gaps = reliance(log)
    if not is_curve(gaps):
        return None
    figure, (axis,) = canvas(1)
    axis.axhline(0, color=INK, lw=1.0, ls=":")
    x, y = zip(*gaps)
    axis.fill_between(x, y, color=BLUE, alpha=0.18, lw=0)
    axis.plot(x, y, "o-", color=BLUE, lw=1.8, ms=3.6)
    axis.set(xlabel="optimizer step", ylabel="nats per token")
    _whole(axis.xaxis)
    return picture(
        figure,
        f"reliance-{log.name}",
        f"Likelihood reliance on validation cases ({log.name})",
        f"Reliance from {gaps[0][1]:.3g} at step {gaps[0][0]:g} to {gaps[-1][1]:.3g} at step "
        f"{gaps[-1][0]:g}.",
        "Loss with another patient's image minus loss with the own one. At 0 the image makes no "
        "difference.",
    )


@styled
def validation_curve(log: TrainLog) -> Picture | None:
    """Every other number of the validation lines, e.g. the mean AUC of a warm-up."""
    found = others(log)
    if not is_curve(*found.values()):
        return None
    figure, (axis,) = canvas(1)
    styles = [(BLUE, "o-"), (ORANGE, "s--"), (INK, "^:")]
    for (name, points), (colour, style) in zip(list(found.items())[:3], styles):
        axis.plot(*zip(*points), style, color=colour, lw=1.8, ms=3.6, label=name)
    axis.legend(loc="best", frameon=False)
    axis.set_xlabel("optimizer step")
    _whole(axis.xaxis)
    words = [f"{name} ends at {points[-1][1]:.3g}" for name, points in found.items()]
    return picture(figure, f"validation-{log.name}", f"Validation ({log.name})", "; ".join(words))


@styled
def label_dumbbells(labels: Sequence[LabelScore], own: str, title: str) -> Picture | None:
    """One line per label: `own` (filled circle) against `own`_another (hollow diamond)."""
    rows = [label for label in labels if getattr(label, own) is not None]
    if not rows:
        return None
    rows.sort(key=lambda label: (label.support or 0, label.name))
    figure, (axis,) = canvas(1, height=0.9 + 0.235 * len(rows))
    for place, label in enumerate(rows):
        value, other = getattr(label, own), getattr(label, f"{own}_another")
        if other is not None:
            axis.plot([other, value], [place, place], color=FAINT, lw=2.6, solid_capstyle="butt")
            axis.plot(other, place, "D", ms=5, mfc="none", mec=ORANGE, mew=1.5)
        axis.plot(value, place, "o", ms=6.2, color=BLUE)
    names = [row.name if row.support is None else f"{row.name} ({row.support})" for row in rows]
    axis.set_yticks(range(len(rows)), names)
    axis.set(xlim=(-0.03, 1.03), ylim=(-0.7, len(rows) - 0.3))
    axis.grid(axis="y", lw=0)
    axis.plot([], [], "o", ms=6.2, color=BLUE, label="own image")
    axis.plot([], [], "D", ms=5, mfc="none", mec=ORANGE, mew=1.5, label="another patient's image")
    axis.legend(
        loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=2, frameon=False, handletextpad=0.2
    )
    words = [f"{row.name} {getattr(row, own):.2f}" for row in reversed(rows)]
    return picture(figure, f"labels-{own}", title, f"{title}, own image: {', '.join(words)}.")


@styled
def partner_use(negatives: Negatives, stage: str) -> Picture | None:
    """How often each case served as a negative: a few hubs would teach the hubs, not the image."""
    counts = sorted(negatives.partner_use.values())
    if not counts:
        return None
    width = max(1, -(-counts[-1] // 24))
    bins: dict[int, int] = {}
    for count in counts:
        bins[count // width * width] = bins.get(count // width * width, 0) + 1
    figure, (axis,) = canvas(1, height=2.1)
    axis.bar(
        [start + (width - 1) / 2 for start in bins], list(bins.values()), 0.86 * width, color=BLUE
    )
    axis.set(xlabel="times used as a negative", ylabel="cases")
    _whole(axis.xaxis)
    _whole(axis.yaxis)
    alt = f"{len(counts)} cases served as negatives, between {counts[0]} and {counts[-1]} times."
    return picture(figure, f"partners-{stage}", "Use of partners", alt)


@styled
def distances(negatives: Negatives, stage: str) -> Picture | None:
    """In how many labels a negative differs from its anchor."""
    bars = sorted(
        (int(key), n) for key, n in negatives.distance.items() if key.lstrip("-").isdigit()
    )
    if not bars:
        return None
    figure, (axis,) = canvas(1, height=2.1)
    axis.bar([distance for distance, _ in bars], [count for _, count in bars], 0.86, color=BLUE)
    axis.set(xlabel="labels that differ from the anchor's", ylabel="draws")
    axis.set_xticks([distance for distance, _ in bars])
    _whole(axis.yaxis)
    alt = "; ".join(f"{count} draws at distance {distance}" for distance, count in bars)
    return picture(figure, f"distances-{stage}", "Label distance", alt)


@styled
def burden_gaps(negatives: Negatives, stage: str) -> Picture | None:
    """How much more or less ill a negative is than its anchor: far from 0, "how ill" tells it."""
    bars = sorted(
        (int(key), n) for key, n in negatives.burden_gaps.items() if key.lstrip("-").isdigit()
    )
    if not bars:
        return None
    figure, (axis,) = canvas(1, height=2.1)
    axis.bar([gap for gap, _ in bars], [count for _, count in bars], 0.86, color=BLUE)
    axis.axvline(0, color=FAINT, lw=1)
    axis.set(xlabel="findings of the negative minus the anchor's", ylabel="draws")
    _whole(axis.xaxis)
    _whole(axis.yaxis)
    alt = "; ".join(f"{count} draws with a gap of {gap}" for gap, count in bars)
    return picture(figure, f"burden-{stage}", "Burden gap", alt)


def _binned(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Means over equal runs of steps, so that a long log stays a small picture."""
    size = -(-len(points) // _POINTS)
    runs = [points[start : start + size] for start in range(0, len(points), size)]
    return [(sum(x for x, _ in run) / len(run), sum(y for _, y in run) / len(run)) for run in runs]


def _curve(
    axis: Axes, points: list[tuple[float, float]], colour: str, label: str, marker: str = ""
) -> None:
    """Markers tell two curves apart without their colours; a lone point needs one to show."""
    alone = len(points) == 1
    x, y = zip(*_binned(points))
    axis.plot(
        x,
        y,
        marker=marker or "o" * alone,
        color=colour,
        lw=1.7,
        ms=3.4,
        markevery=None if alone else 0.12,  # a share of the curve's length, which is 0 for a point
        label=label,
    )


def _whole(axis: Axis) -> None:
    """Ticks at whole numbers only: there is no step 3.85 and no case used half a time."""
    from matplotlib.ticker import MaxNLocator

    axis.set_major_locator(MaxNLocator(nbins=8, integer=True, min_n_ticks=1))
    axis.set_major_formatter(lambda value, _: f"{value:.0f}")


def _scale(axis: Axes, series: Sequence[list[tuple[float, float]]]) -> None:
    """A logarithmic axis where one term is so much larger that the other would be a flat line."""
    from matplotlib.ticker import LogLocator

    values = [value for points in series for _, value in points]
    ends = [points[-1][1] for points in series if points]
    if min(values) > 0 and max(values) > 25 * max(min(ends), 1e-12):
        axis.set_yscale("log")
        axis.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        axis.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axis.minorticks_off()
    else:
        axis.set_ylim(bottom=min(0.0, *values))
