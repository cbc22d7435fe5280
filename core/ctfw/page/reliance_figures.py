"""The figure of visual reliance: how much likelier the report is with its own image."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ctfw.page.canvas import BLUE, INK, ORANGE, Picture, canvas, picture, styled
from ctfw.page.records import Estimate, TokenGroup
from ctfw.scoring.likelihood import IMAGES, OWN

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SHOWN = {
    "positive": ("stating a finding", ORANGE, "D", 0.24),
    "all": ("all tokens", BLUE, "o", 0.0),
    "negative": ("only denying", INK, "s", -0.24),
}


@styled
def image_dots(groups: Mapping[str, TokenGroup]) -> Picture | None:
    """Per image that replaces the own one, by how much the NLL of the reference rises, with 95 %
    intervals: over all tokens, and over the sentences that state and that only deny findings."""
    drawn = {name: groups[name] for name in _SHOWN if name in groups}
    images = [
        name
        for name in IMAGES
        if name != OWN and any(_more(group, name) for group in drawn.values())
    ]
    if not images:
        return None
    figure, (axis,) = canvas(1, height=1.15 + 0.42 * len(images))
    axis.axvline(0, color=INK, lw=1.0, ls=":")
    for name, group in drawn.items():
        label, colour, marker, shift = _SHOWN[name]
        for place, image in enumerate(reversed(images)):
            estimate = _more(group, image)
            if estimate is not None:
                _dot(axis, place + (shift if len(drawn) > 1 else 0), estimate, colour, marker)
        face = colour if marker == "o" else "none"
        axis.plot([], [], marker, ms=5, mfc=face, mec=colour, color=colour, label=label)
    axis.set_yticks(range(len(images)), [IMAGES[name] for name in reversed(images)])
    axis.set(ylim=(-0.6, len(images) - 0.4), xlabel="nats per token more than with the own image")
    axis.grid(axis="y", lw=0)
    axis.margins(x=0.12)
    axis.legend(
        loc="lower center", bbox_to_anchor=(0.3, 1.0), ncols=3, frameon=False, handletextpad=0.2,
        columnspacing=1.2,
    )  # fmt: skip
    return picture(
        figure,
        "images",
        "NLL of the reference report under other images",
        _alt(drawn, images),
        _own(drawn),
    )


def _dot(axis: Axes, place: float, estimate: Estimate, colour: str, marker: str) -> None:
    value = estimate.value or 0.0
    if estimate.low is not None and estimate.high is not None:
        axis.plot([estimate.low, estimate.high], [place, place], color=colour, lw=1.6, alpha=0.7)
    face = colour if marker == "o" else "#ffffff00"
    axis.plot(value, place, marker, ms=5, mfc=face, mec=colour, mew=1.4)
    # Right of the interval and of 0: neither on its mark nor on the line of no change.
    right = max(value if estimate.high is None else estimate.high, 0.0)
    axis.annotate(
        f"{value:z.2f}".replace("-", "−"), (right, place), (7, 0), textcoords="offset points",
        va="center", fontsize=7.6, color=colour,
    )  # fmt: skip


def _more(group: TokenGroup, image: str) -> Estimate | None:
    found = group.images.get(image)
    more = found.more if found is not None else None
    return more if more is not None and more.value is not None else None


def _own(groups: Mapping[str, TokenGroup]) -> str:
    """The level that the rises start from, in words."""
    told = []
    for name, group in groups.items():
        own = group.images.get(OWN)
        if own is not None and own.nll is not None and own.nll.value is not None:
            told.append(f"{_SHOWN[name][0]} {own.nll.value:z.2f}")
    return f"With the own image, nats per token: {', '.join(told)}." if told else ""


def _alt(groups: Mapping[str, TokenGroup], images: list[str]) -> str:
    words = []
    for image in images:
        values = [
            f"{_SHOWN[name][0]} {more.value:z.2f}"
            for name, group in groups.items()
            if (more := _more(group, image)) is not None and more.value is not None
        ]
        words.append(f"{IMAGES[image]}: {', '.join(values)}")
    return f"Nats per token more than with the own image. {'; '.join(words)}."
