"""Sort slices into stacks by where they lie, rather than by what their UIDs say."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ctfw.errors import NotCT, UnreadableVolume
from ctfw_plugins.volumes.dicom_geometry import (
    SAME_PLACE_MM,
    extent_mm,
    in_order,
    is_axial,
    normal_of,
    step_mm,
    unevenness,
)
from ctfw_plugins.volumes.dicom_slices import MARKS, Slice

Stack = list[Slice]
Same = Callable[[Slice, Slice], bool]
_SPACING = 1e-3
_DIRECTION = 1e-3
_SERIES, _KERNEL = MARKS.index("SeriesInstanceUID"), MARKS.index("ConvolutionKernel")
_ORIGIN, _RUNS = len(MARKS), len(MARKS) + 1  # further ways to part: not tags, but geometry
_EVIDENCE = 3  # two slices are even by themselves, so they prove nothing
_SHOWN = 6


@dataclass(frozen=True)
class Chosen:
    """The stack to read, in order.

    smaller  the other usable stacks
    scouts   single images across the axial plane
    strays   single axial images of another geometry
    copies   slices that repeat another one pixel by pixel
    """

    slices: Stack
    smaller: tuple[Stack, ...]
    scouts: int
    strays: Stack
    copies: int


def choose(slices: Sequence[Slice], wish: str, same: Same) -> Chosen:
    """The only stack, or with `wish` "largest" the one with the greatest extent.

    Axial stacks come before others, then the extent counts, then the number of slices. `same`
    compares the pixels of two slices. Raises UnreadableVolume when there is no stack, or several
    and `wish` is "only"; NotCT when there are only localizers.
    """
    stacks, copies = [], 0
    for group in _by_geometry(slices):
        parts, dropped = _separate(in_order(group), same)
        stacks += parts
        copies += dropped
    usable = [stack for stack in stacks if len(stack) > 1]
    singles = [stack[0] for stack in stacks if len(stack) == 1]
    if not usable:
        raise _no_stack(singles, copies)
    usable.sort(key=lambda s: (is_axial(s[0]), round(extent_mm(s), 2), len(s)), reverse=True)
    if len(usable) > 1 and wish == "only":
        raise UnreadableVolume(
            f"{len(usable)} stacks of slices lie here: {_listed(usable)}. Give the folder of one, "
            "or set the dicom loader's `series: largest`"
        )
    strays = [part for part in singles if is_axial(part)]
    scouts = len(singles) - len(strays)
    return Chosen(usable[0], tuple(usable[1:]), scouts, strays, copies)


def _no_stack(singles: Sequence[Slice], copies: int) -> Exception:
    across = sum(not is_axial(part) for part in singles)
    if across == len(singles):
        return NotCT(f"only localizer (scout) images: {across} of them")
    many = f" ({copies} further files are copies of it)" if copies else ""
    if len(singles) - across == 1:
        return UnreadableVolume(
            f"a series of one slice{many}: there is no spacing between slices, so no volume. Give "
            "the folder of the whole series"
        )
    return UnreadableVolume(
        f"{len(singles)} CT images, and no two share size, pixel spacing, direction and frame of "
        "reference: they make no volume"
    )


def _listed(stacks: Sequence[Stack]) -> str:
    told = []
    for stack in stacks[:_SHOWN]:
        size = f"{stack[0].storage.rows} x {stack[0].storage.columns}"
        apart = "unevenly spaced" if unevenness(stack) else f"{step_mm(stack):.4g} mm apart"
        plane = "" if is_axial(stack[0]) else ", not axial"
        told.append(
            f"{len(stack)} slices of {size}, {apart}, over {extent_mm(stack):.1f} mm{plane}"
        )
    more = f"; and {len(stacks) - _SHOWN} more" if len(stacks) > _SHOWN else ""
    return "; ".join(told) + more


def _by_geometry(slices: Sequence[Slice]) -> list[Stack]:
    """Slices of the same space, size, pixel spacing and direction."""
    groups: dict[tuple, list[Stack]] = {}
    for part in slices:
        key = (part.space, part.storage.rows, part.storage.columns)
        for group in groups.setdefault(key, []):
            if _alike(group[0], part):
                group.append(part)
                break
        else:
            groups[key].append([part])
    return [group for some in groups.values() for group in some]


def _alike(one: Slice, other: Slice) -> bool:
    spacing = zip(one.spacing, other.spacing, strict=True)
    turned = zip(one.orientation, other.orientation, strict=True)
    return all(math.isclose(a, b, rel_tol=_SPACING) for a, b in spacing) and all(
        abs(a - b) <= _DIRECTION for a, b in turned
    )


def _separate(group: Stack, same: Same) -> tuple[list[Stack], int]:
    """(stacks, copies dropped) of ordered slices of one geometry.

    A group that no tag parts into even stacks is parted by series alone, or left as it is: what is
    wrong with it is told when it is read.
    """
    copies = 0
    parts = _parted(group)
    if parts is None:
        kept = _without_copies(group, same)
        group, copies = kept, len(group) - len(kept)
        parts = _parted(group)
    if parts is None:
        series = _split(group, _SERIES)
        alone = len(series) > 1 and min(map(len, series)) > 1
        parts = [p for one in series for p in _parted(one) or [one]] if alone else [group]
    return parts, copies


def _parted(group: Stack, first: int = 0) -> list[Stack] | None:
    """Stacks with even steps, from the first way to part the slices that gives only such; or None.

    Parts must lie in one another's range: neighbouring pieces with a gap are one stack with a hole.
    Only different series may also lie apart.
    """
    if not unevenness(group) and not any(_woven(group, way) for way in (_SERIES, _KERNEL)):
        return [group]
    for way in range(first, _RUNS + 1):
        parts = _split(group, way)
        least = 2 if way == _SERIES else _EVIDENCE
        if len(parts) < 2 or min(map(len, parts)) < least:
            continue
        if way != _SERIES and not _overlap(parts):
            continue
        solved: list[Stack] = []
        for part in parts:
            stacks = _parted(part, way + 1)
            if stacks is None:
                break
            solved += stacks
        else:
            return solved
    return None


def _woven(group: Stack, way: int) -> bool:
    """Whether even slices are really two stacks between each other, each even by itself."""
    parts = _split(group, way)
    return (
        len(parts) > 1
        and all(len(part) >= _EVIDENCE and not unevenness(part) for part in parts)
        and _overlap(parts)
    )


def _overlap(parts: Sequence[Stack]) -> bool:
    """Whether the ranges of any two parts meet."""
    ends = sorted((part[0].along, part[-1].along) for part in parts)
    reach = -math.inf
    for low, high in ends:
        if low <= reach + SAME_PLACE_MM:
            return True
        reach = max(reach, high)
    return False


def _split(group: Stack, way: int) -> list[Stack]:
    """The slices by equal values of one mark, by their origin in the plane, or by runs."""
    if way == _RUNS:
        return _runs(group)
    parts: dict[object, Stack] = {}
    for part in group:
        key = _origin(part) if way == _ORIGIN else part.marks[way]
        parts.setdefault(key, []).append(part)
    return list(parts.values())


def _origin(part: Slice) -> tuple[float, ...]:
    """Where the first pixel lies in the plane, to 0.1 mm."""
    normal = normal_of(part)
    return tuple(round(float(p - part.along * n), 1) for p, n in zip(part.position, normal))


def _runs(group: Stack) -> list[Stack]:
    """Runs of InstanceNumber that go through the patient in one direction."""
    runs: list[Stack] = []
    for part in sorted(group, key=lambda part: part.instance):
        run = runs[-1] if runs else []
        step = part.along - run[-1].along if run else 0.0
        direction = run[1].along - run[0].along if len(run) > 1 else step
        if abs(step) < SAME_PLACE_MM or step * direction < 0:
            runs.append([part])
        else:
            run.append(part)
    return [sorted(run, key=lambda part: part.along) for run in runs]


def _without_copies(group: Stack, same: Same) -> Stack:
    """The slices without those that lie where another one does and have the same values."""
    kept: Stack = []
    for part in group:
        here = [k for k in reversed(kept[-4:]) if part.along - k.along < SAME_PLACE_MM]
        if not any(same(k, part) for k in here):
            kept.append(part)
    return kept
