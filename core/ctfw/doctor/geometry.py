"""Whether the scans are as large and as finely sliced as a chest CT is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ctfw.doctor.finding import Finding, Rows, count, note, ok, percent, problem, warning
from ctfw.doctor.headers import Header, Refused, outliers, read_headers
from ctfw.volumes.plausible import LENGTH_MM, ROUNDING, STEP_MM, WIDTH_MM

if TYPE_CHECKING:
    from ctfw.component import Block
    from ctfw.doctor.scene import Scene

MOST_REFUSED = 0.5
_CLASSES = ((1.0, "up to 1"), (2.0, "1 to 2"), (3.0, "2 to 3"), (5.0, "3 to 5"))
_CLASS_ABOVE = "above 5"
_ENOUGH = 20
"""Scans below which none is called unusual."""

_MEASURES: tuple[tuple[str, Callable[[Header], float], str], ...] = (
    ("slices", lambda header: header.shape[0], ".0f"),
    ("distance of slices (mm)", lambda header: header.spacing_mm[0], ".2f"),
    ("pixel size (mm)", lambda header: header.spacing_mm[2], ".2f"),
    ("length, feet to head (mm)", lambda header: header.extent_mm[0], ".0f"),
    ("width (mm)", lambda header: header.extent_mm[2], ".0f"),
)
_JUDGED = ("distance of slices (mm)", "length, feet to head (mm)", "width (mm)")


def check(scene: Scene) -> Iterator[Finding]:
    """Headers of evenly spaced cases: what cannot be read, what cannot be, what is unusual."""
    if scene.pipeline is None:
        return
    headers, refused = read_headers(scene)
    if refused:
        yield _refused(refused, len(headers) + len(refused))
    scans = [header for header in headers if header.shape[0] > 1 and not header.case.views]
    if len(scans) < len(headers):
        number = count(len(headers) - len(scans), "case is a picture", "cases are pictures")
        yield note(f"{number} or a study of views: the size at the patient is not judged")
    if not scans:
        return
    whole = f" of {len(scene.cases):,}" if len(headers) + len(refused) < len(scene.cases) else ""
    values: dict[str, Any] = {name: list(map(measure, scans)) for name, measure, _ in _MEASURES}
    yield note(
        f"{len(headers) + len(refused):,}{whole} headers read",
        table=_ranges(scans),
        **values,
    )
    yield note(f"distance of slices in mm: {_classes(scans)}")
    settings: Any = scene.recipe.data.settings
    strange = list(_implausible(scans, settings.preprocess))
    yield from strange
    if not strange:
        yield ok("every length, width and distance of slices can be that of a chest CT")
    yield from _unusual(scans)


def _refused(refused: Sequence[Refused], total: int) -> Finding:
    make = problem if len(refused) > MOST_REFUSED * total else warning
    return make(
        f"{len(refused):,} of {count(total, 'scan')} cannot be used; a run leaves them out",
        [f"{each.case.id}: {each.reason}" for each in refused],
        refused=len(refused),
    )


def _ranges(scans: Sequence[Header]) -> Rows:
    rows = []
    for name, measure, form in _MEASURES:
        values = np.percentile([measure(scan) for scan in scans], [0, 5, 50, 95, 100])
        rows.append((name, *(f"{value:{form}}" for value in values)))
    return (("", "least", "5 %", "median", "95 %", "most"), *rows)


def _classes(scans: Sequence[Header]) -> str:
    """`up to 1: 34 %, 1 to 2: 60 %`, the classes that occur."""
    names = [name for _, name in _CLASSES] + [_CLASS_ABOVE]
    found = dict.fromkeys(names, 0)
    for scan in scans:
        z = scan.spacing_mm[0]
        found[next((n for top, n in _CLASSES if z <= top * ROUNDING), _CLASS_ABOVE)] += 1
    return ", ".join(f"{name}: {percent(n, len(scans))}" for name, n in found.items() if n)


def _implausible(scans: Sequence[Header], steps: Sequence[Block]) -> Iterator[Finding]:
    low, high = LENGTH_MM
    yield from _outside(
        scans, "length", lambda scan: scan.extent_mm[0], low, high,
        "is the whole chest in it, and is the distance of slices right?",
    )  # fmt: skip
    low, high = WIDTH_MM
    yield from _outside(
        scans, "width", lambda scan: max(scan.extent_mm[1:]), low, high,
        "is the pixel size right, and is it a chest?",
    )  # fmt: skip
    low, high = STEP_MM
    yield from _outside(
        scans, "distance of slices", lambda scan: scan.spacing_mm[0], low, high,
        "look at some with ctfw inspect: small findings fall between thick slices",
    )  # fmt: skip
    wanted, per_mm = _slices_wanted(steps)
    few = [scan for scan in scans if _slices_had(scan, per_mm) < wanted]
    if few:
        text = f"{count(len(few), 'scan has', 'scans have')} fewer than the {wanted} slices asked"
        names = [f"{scan.case.id} ({_slices_had(scan, per_mm):.0f})" for scan in few]
        yield warning(text, names, "lower `count` of the step `slices`")


def _outside(
    scans: Sequence[Header],
    what: str,
    measure: Callable[[Header], float],
    low: float,
    high: float,
    advice: str,
) -> Iterator[Finding]:
    found = [s for s in scans if not low / ROUNDING <= measure(s) <= high * ROUNDING]
    if found:
        text = f"{count(len(found), 'scan has', 'scans have')} a {what} outside {low:g} to {high:g}"
        names = [f"{scan.case.id} ({measure(scan):.4g} mm)" for scan in found]
        yield warning(f"{text} mm", names, advice)


def _slices_wanted(steps: Sequence[Block]) -> tuple[int, float | None]:
    """(slices that the recipe takes from a scan, distance in mm to which it resamples before)."""
    spacing: float | None = None
    for block in steps:
        settings: Any = block.settings
        if block.name == "resample":
            spacing = float(settings.spacing_mm[2])
        if block.name == "slices":
            return int(settings.count), spacing
    return 0, None


def _slices_had(scan: Header, per_mm: float | None) -> float:
    return scan.shape[0] if per_mm is None else scan.extent_mm[0] / per_mm


def _unusual(scans: Sequence[Header]) -> Iterator[Finding]:
    """What lies far from the others, though it can be."""
    for name, measure, form in _MEASURES if len(scans) >= _ENOUGH else ():
        if name not in _JUDGED:
            continue
        values = [measure(scan) for scan in scans]
        far = [
            f"{scan.case.id} ({value:{form}})"
            for scan, value, out in zip(scans, values, outliers(values), strict=True)
            if out
        ]
        if far:
            text = f"{count(len(far), 'scan lies', 'scans lie')} far from the others in {name}"
            yield Finding("note", text, tuple(far))
