"""What every figure is drawn on: the page's colours and fonts, and SVG that can stand anywhere.

Figures are drawn in placeholder colours that are replaced by the style sheet's variables, so one
picture serves the light page, the dark page and paper. matplotlib is imported inside the
functions: whoever imports this module does not pay for it.
"""

from __future__ import annotations

import functools
import io
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, INK, FAINT = "#01a101", "#01a102", "#01a103", "#01a104"
_VARIABLES = {
    BLUE: "var(--blue)",
    ORANGE: "var(--orange)",
    INK: "var(--muted)",
    FAINT: "var(--line)",
}
# The light colours of style.css, for pictures that leave the page.
_PAPER = {
    "var(--blue)": "#0b63a5",
    "var(--orange)": "#a34a06",
    "var(--muted)": "#51606e",
    "var(--line)": "#d5dce3",
}
_FONTS = "Arial, 'Liberation Sans', Helvetica, sans-serif"
_HEAD, _LINE = 31.0, 12.0  # units above a picture that stands alone, for title and small print
_LETTER = 4.4  # units, mean width of a letter of the small print
WIDTH = 5.0  # inches: 360 units, legible on a phone and not coarse on a laptop

_STYLE: dict[str, Any] = {
    "font.size": 9.5, "axes.titlesize": 9.5, "legend.fontsize": 8.8,
    "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.edgecolor": FAINT, "axes.spines.top": False, "axes.spines.right": False,
    "axes.grid": True, "axes.axisbelow": True, "grid.color": FAINT, "grid.linewidth": 0.6,
    "xtick.major.size": 0, "ytick.major.size": 0, "axes.unicode_minus": True,
    "figure.facecolor": "none", "axes.facecolor": "none", "svg.fonttype": "none",
    "text.parse_math": False,
}  # fmt: skip


@dataclass(frozen=True)
class Picture:
    """An SVG element with what it shows in words, for those who cannot see it."""

    svg: str
    alt: str
    title: str
    caption: str = ""


def styled(draw: Callable[..., Picture | None]) -> Callable[..., Picture | None]:
    """Texts take their style when they are made, so all of `draw` runs under the page's style."""

    @functools.wraps(draw)
    def drawn(*arguments: Any) -> Picture | None:
        from matplotlib import rc_context

        with rc_context(_STYLE):
            return draw(*arguments)

    return drawn


def canvas(
    rows: int, heights: tuple[float, ...] = (1.0,), height: float | None = None
) -> tuple[Figure, list[Axes]]:
    """A figure of `rows` plots above each other that share their x axis; `height` in inches."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height or 2.7), layout="constrained")
    axes = figure.subplots(
        rows, 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights[:rows]}
    )
    return figure, list(axes[:, 0])


def picture(figure: Figure, salt: str, title: str, alt: str, caption: str = "") -> Picture:
    """`salt` keeps the identifiers of two figures of one page apart, and equal from run to run."""
    from matplotlib import rc_context

    buffer = io.StringIO()
    with rc_context({"svg.hashsalt": salt}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return Picture(_inline(buffer.getvalue()), alt, title, caption)


def standalone(shown: Picture, note: str = "") -> str:
    """The picture as an SVG file for a paper: white ground, own colours and fonts, its title and
    caption.

    note  a line of its own in small print, e.g. that the data are synthetic
    """
    match = re.search(r'viewBox="([\d. -]+)"', shown.svg)
    left, top, width, height = map(float, match.group(1).split()) if match else (0, 0, 360, 200)
    small = [(line, "#51606e") for line in textwrap.wrap(shown.caption, int(width / _LETTER))]
    small += [(note, "#a34a06")] if note else []
    head = _HEAD + _LINE * len(small)
    box = f'x="{left:g}" y="{top - head:g}" width="{width:g}" height="{height + head:g}"'
    body = shown.svg
    for variable, colour in _PAPER.items():
        body = body.replace(variable, colour)
    lines = [
        '<?xml version="1.0" encoding="utf-8"?>',
        '<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" '
        f'width="{width:g}pt" height="{height + head:g}pt" '
        f'viewBox="{left:g} {top - head:g} {width:g} {height + head:g}" '
        f'font-family="{_FONTS}" stroke-linejoin="round" role="img">',
        f"<title>{escape(shown.title)}</title>\n<desc>{escape(shown.alt)}</desc>",
        f'<rect {box} fill="#ffffff"/>',
        _text(left + 6, top - head + 19, 12.5, "#17212b", shown.title, bold=True),
        *(
            _text(left + 6, top - head + _HEAD + _LINE * i, 8.5, colour, line)
            for i, (line, colour) in enumerate(small)
        ),
        body[body.index(">") + 1 : body.rindex("</svg>")] + "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _text(x: float, y: float, size: float, colour: str, words: str, bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (
        f'<text x="{x:g}" y="{y:g}" font-size="{size:g}"{weight} fill="{colour}">'
        f"{escape(words)}</text>"
    )


def _inline(svg: str) -> str:
    """Only the <svg> element, without what would reach outside it: style rules, ids, fonts."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>\s*", "", svg, flags=re.S)
    svg = re.sub(r"<style.*?</style>\s*", "", svg, flags=re.S)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r"font-family: [^;\"]*;? ?", "", svg)
    svg = re.sub(r'<svg([^>]*?) width="[^"]*" height="[^"]*"', r'<svg aria-hidden="true"\1', svg)
    for placeholder, variable in _VARIABLES.items():
        svg = svg.replace(placeholder, variable)
    return svg
