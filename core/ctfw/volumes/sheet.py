"""Contact sheet: what the model would see of a scan, and why, on one page for the eye."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ctfw.types import HU, NORMALISED, UNKNOWN, Decision, Volume
from ctfw.volumes.drawing import INK, QUIET, Page, directions, grey_range, middle, picture, plain
from ctfw.volumes.geometry import to_lps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACCENT, _BAD = "#0b6e75", "#b3261e"
_LINE = "#ffb000"
_MOST = 20
_OVERVIEW_HU = (-1000.0, 500.0)
_LEFT, _RIGHT, _GRID_WIDE, _VIEW_WIDE, _LABEL = 0.32, 10.8, 10.15, 2.4, 0.24
_TISSUES = ((-1000, "air"), (-850, "lung"), (-100, "fat"), (45, "soft tissue"), (700, "bone"))


def contact_sheet(raw: Volume, seen: Volume | None, title: str, verdict: str, out: Path) -> Path:
    """Write a PNG, 16 inches wide and as high as needed, to `out` and return it.

    raw      the source before any step (`VolumePipeline.source`)
    seen     what the model gets; None for a file that was refused, whose own slices are shown
    title    e.g. the file's name; verdict: the HU state in a sentence, or the reason of refusal

    Slices are shown as radiologists do: anterior up, the patient's right on the viewer's left.
    """
    raw = to_lps(raw)
    source = _in_hu(raw, seen)
    shown = seen if seen is not None else _evenly(source, 10)
    refused = seen is None
    record = _record((seen or raw).provenance)
    told = textwrap.wrap(verdict, 150)
    columns, cell = _cells(shown)
    view = min(2.9, max(0.3, _VIEW_WIDE * source.extent_mm[0] / min(source.extent_mm[1:])))
    rows = -(-min(len(shown.array), _MOST) // columns)
    top = 0.95 + 0.22 * len(told) + 0.35
    middle = max(rows * (cell + _LABEL), view + _LABEL + 2.35)
    below = top + middle + 0.25
    page = Page(16, below + 0.45 + 0.255 * max(len(record), 6) + 0.2)
    page.text(_LEFT, 0.3, title, 19, weight="bold")
    page.text(_LEFT, 0.82, "\n".join(told), 11.5, color=_BAD if refused else _ACCENT)
    heights = slice_heights(raw, shown)
    _slices(page, top, columns, cell, shown, heights, refused=refused)
    if not _is_picture(raw):
        _overviews(page, top, view, source, heights, scaled=not refused)
    _histogram(page.axes(_RIGHT, top + middle - 1.85, 4.9, 1.4), source, seen)
    _facts(page, below, raw, shown, refused=refused)
    _decisions(page, below, record)
    out.parent.mkdir(parents=True, exist_ok=True)
    page.figure.savefig(out, dpi=110, format="png")
    return out


def _is_picture(volume: Volume) -> bool:
    """A view of an X-ray study: it has no other planes, and its values are no HU."""
    return volume.array.shape[0] == 1 and volume.intensity == NORMALISED


def _evenly(volume: Volume, count: int) -> Volume:
    depth = volume.array.shape[0]
    index = np.unique(((np.arange(count) + 0.5) * depth / count).astype(int))
    affine = volume.affine.copy()
    affine[:, 3] = volume.affine @ np.array([0, 0, index[0], 1.0])
    positions = (index - index[0]) * volume.spacing_mm[0]
    return volume.but(array=volume.array[index], affine=affine, positions_mm=positions)


def _in_hu(raw: Volume, seen: Volume | None) -> Volume:
    """The source on the scale that was decided for it, so that the views share one window."""
    done = [d for d in seen.provenance if d.step == "rescale-hu"] if seen is not None else []
    values = next((d.values for d in done if "slope" in d.values), None)
    if values is None:
        return raw
    array = raw.array.astype(np.float32) * values["slope"] + values["intercept"]
    return raw.but(array=np.maximum(array, -1024, out=array), intensity=HU)


def slice_heights(raw: Volume, shown: Volume) -> np.ndarray:
    """(n,) mm of each shown slice above the lowest slice of the source."""
    along = raw.affine[:3, 2] / raw.spacing_mm[0]
    start = float(np.dot(shown.affine[:3, 3] - raw.affine[:3, 3], along))
    return np.asarray(shown.slice_positions_mm) + start


def _cells(shown: Volume) -> tuple[int, float]:
    """(columns, height of a picture in inches)."""
    columns = min(5, len(shown.array))
    _, tall, wide = shown.extent_mm
    return columns, float(min(3.0, _GRID_WIDE / 5 * tall / wide))


def _slices(
    page: Page,
    top: float,
    columns: int,
    cell: float,
    shown: Volume,
    heights: np.ndarray,
    *,
    refused: bool,
) -> None:
    """The grid of slices, from feet to head in reading order."""
    count = len(shown.array)
    index = np.unique(np.linspace(0, count - 1, min(count, _MOST)).astype(int))
    low, high = grey_range(shown)
    _, mm_y, mm_x = shown.spacing_mm
    wide = _GRID_WIDE / 5
    for place, k in enumerate(index):
        row, column = divmod(place, columns)
        left, upper = _LEFT + column * wide, top + row * (cell + _LABEL) + _LABEL
        axes = picture(page.axes(left, upper, wide - 0.06, cell - 0.04))
        plane = shown.array[k].astype(np.float32)
        axes.imshow(plane, cmap="gray", vmin=low, vmax=high, aspect=mm_y / mm_x)
        if _is_picture(shown):
            continue
        axes.set_title(f"{k + 1}  ·  {heights[k]:.1f} mm", size=8.5, color=INK, pad=2.5)
        if place == 0:
            directions(axes, ("A", "P", "R", "L"))
    what = "Slices of the source, which was refused" if refused else "What the model sees"
    some = "" if len(index) == count else f", {len(index)} of its {count} slices"
    caption = f"{what}{some}: millimetres above the lowest slice of the scan, feet to head"
    caption = what if _is_picture(shown) else caption
    page.text(_LEFT, top - 0.27, caption, 10, color=QUIET)


def _overviews(
    page: Page, top: float, tall: float, source: Volume, heights: np.ndarray, *, scaled: bool
) -> None:
    """Coronal and sagittal views through the middle of the body, with a line per slice."""
    hu = source.intensity == HU or scaled
    low, high = _OVERVIEW_HU if hu else grey_range(source)
    row, column = middle(source.array, -500.0 if hu else (low + high) / 2)
    step, (up, deep, across) = source.spacing_mm[0], source.extent_mm
    views = (
        ("coronal", source.array[:, row, :], across, ("S", "I", "R", "L")),
        ("sagittal", source.array[:, :, column], deep, ("S", "I", "A", "P")),
    )
    # Lines closer than about 8 pixels would hide the view: then only their ends are drawn.
    gap = np.diff(heights).min() / up * tall * 110 if len(heights) > 1 else np.inf
    ends = ((0.0, 1.0),) if gap > 8 else ((0.0, 0.05), (0.95, 1.0))
    for n, (name, plane, wide, letters) in enumerate(views):
        axes = picture(page.axes(_RIGHT + n * 2.5, top + _LABEL, _VIEW_WIDE, tall))
        axes.imshow(
            plane.astype(np.float32),
            cmap="gray",
            vmin=low,
            vmax=high,
            origin="lower",
            extent=(0, wide, -step / 2, up - step / 2),
        )
        for height in heights:
            for start, stop in ends:
                axes.axhline(height, start, stop, color=_LINE, lw=0.8, alpha=0.85)
        directions(axes, letters if tall > 0.8 else ("", "", *letters[2:]))
        axes.set_title(name, size=8.5, color=INK, pad=2.5)
    window = f", {low:g} to {high:g} HU" if hu else ""
    page.text(_RIGHT, top - 0.27, f"The source{window}; lines mark the slices", 10, color=QUIET)


def _histogram(axes: Axes, source: Volume, seen: Volume | None) -> None:
    """Share of voxels per 20 HU (log scale), with the window of the model and tissue marks."""
    sample = source.array[:, ::3, ::3].astype(np.float32).ravel()
    if seen is None or _is_picture(source):
        axes.hist(sample, bins=120, color=QUIET)
        axes.set_yscale("log")
        plain(axes, "stored values" if seen is None else "grey values, share of pixels (log)")
        return
    edges = np.arange(-1100, 1700, 20)
    counts = np.histogram(sample, edges)[0] / max(1, sample.size)
    axes.fill_between(edges[:-1], counts, 1e-6, step="post", color=_ACCENT, alpha=0.85, lw=0)
    axes.set_yscale("log")
    axes.set(ylim=(max(1e-6, counts[counts > 0].min() / 2), 1.6), xlim=(-1100, 1680))
    window = next((d.values for d in seen.provenance if d.step == "hu-window"), None)
    if window is not None:
        axes.axvspan(window["low"], window["high"], color=_LINE, alpha=0.16, lw=0)
        for edge in (window["low"], window["high"]):
            axes.axvline(edge, color=_LINE, lw=1.3)
    for hu, name in _TISSUES:
        axes.axvline(hu, color=QUIET, lw=0.6, ls=":")
        axes.text(
            hu + 12, 0.96, name, size=7.5, color=INK, rotation=90, va="top",
            transform=axes.get_xaxis_transform(),
        )  # fmt: skip
    plain(axes, "HU of the source, share of voxels (log); shaded: the window")


def _facts(page: Page, top: float, raw: Volume, shown: Volume, *, refused: bool) -> None:
    """Geometry of the source and of what the model gets, side by side."""
    was = [d.values["was"] for d in raw.provenance if d.step == "orientation" and "was" in d.values]
    lines = [("", "source", "" if refused else "model")]
    rows = (("voxels (x, y, z)", _voxels), ("spacing, mm", _spacing), ("extent, mm", _size))
    for name, of in rows:
        lines.append((name, of(raw), "" if refused else of(shown)))
    lines.append(("orientation", f"{was[0]}, turned to LPS" if was else raw.orientation, ""))
    lines.append(("values", _values(raw), "" if refused else _values(shown)))
    page.text(_LEFT, top, "Geometry", 12.5, weight="bold")
    for n, (name, left, right) in enumerate(lines):
        y = top + 0.42 + n * 0.255
        weight = "bold" if n == 0 else "normal"
        page.text(_LEFT, y, name, 9.5, color=QUIET)
        page.text(_LEFT + 1.5, y, left, 9.5, weight=weight)
        page.text(_LEFT + 3.6, y, right, 9.5, weight=weight)


def _record(provenance: Sequence[Decision]) -> list[tuple[str, str]]:
    """(step, line) of every decision, oldest first; the step only before its first line."""
    lines: list[tuple[str, str]] = []
    for number, decision in enumerate(provenance, 1):
        for n, line in enumerate(textwrap.wrap(decision.text, 112)):
            lines.append((f"{number}  {decision.step}" if n == 0 else "", line))
    return lines


def _decisions(page: Page, top: float, record: list[tuple[str, str]]) -> None:
    page.text(6.4, top, "Every decision taken", 12.5, weight="bold")
    for n, (step, line) in enumerate(record):
        y = top + 0.42 + n * 0.255
        page.text(6.4, y, step, 9.5, color=_ACCENT, weight="bold")
        page.text(7.9, y, line, 9.5)


def _voxels(volume: Volume) -> str:
    return " x ".join(str(n) for n in volume.array.shape[::-1])


def _spacing(volume: Volume) -> str:
    return " x ".join(f"{step:.3g}" for step in volume.spacing_mm[::-1])


def _size(volume: Volume) -> str:
    return " x ".join(f"{size:.0f}" for size in volume.extent_mm[::-1])


def _values(volume: Volume) -> str:
    low, high = float(volume.array.min()), float(volume.array.max())
    state = "as stored" if volume.intensity == UNKNOWN else volume.intensity
    form = ".0f" if max(abs(low), abs(high)) >= 1000 else ".3g"
    return f"{state}, {low:{form}} to {high:{form}}"
