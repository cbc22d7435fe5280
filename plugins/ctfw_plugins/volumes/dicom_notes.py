"""What was decided about a DICOM series, in words made of geometry and counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from ctfw.types import HU, RAW, Decision
from ctfw_plugins.volumes.dicom_geometry import step_mm
from ctfw_plugins.volumes.dicom_kinds import LOCALIZER
from ctfw_plugins.volumes.dicom_pixels import Pixels, believed_padding
from ctfw_plugins.volumes.dicom_slices import MARKS, Slice
from ctfw_plugins.volumes.dicom_stacks import Chosen

_KERNEL = MARKS.index("ConvolutionKernel")


def counted(counts: Counter[str]) -> str:
    """Kinds and their numbers in words."""
    return ", ".join(f"{kind}: {count}" for kind, count in sorted(counts.items()) if count)


def said_of(slices: Sequence[Slice]) -> Iterator[Decision]:
    """What the headers of the chosen slices say."""
    step, first = step_mm(slices), slices[0].storage
    yield _noted(
        f"DICOM series of {len(slices)} slices, ordered by position, {step:.4g} mm apart",
        slices=len(slices),
        step_mm=round(step, 4),
    )
    if first.frames > 1:
        files = len({part.storage.path for part in slices})
        yield _noted(f"frames of multi-frame files: {len(slices)} of {files} files")
    yield _rescale(slices)
    for name, way in (("series UIDs", 0), ("reconstruction kernels", _KERNEL)):
        if (count := len({part.marks[way] for part in slices})) > 1:
            yield _noted(f"{count} {name} in one even stack: read as one series")
    if any(part.storage.lossy for part in slices):
        yield _noted("the pixels went through a lossy compression")
    if slices[0].padding is not None and believed_padding(slices[0]) is None:
        yield _noted("the padding value could be that of tissue, or is raw: it was not used")


def _rescale(slices: Sequence[Slice]) -> Decision:
    if slices[0].intensity == RAW:
        return _noted("no RescaleSlope and RescaleIntercept: the values are as stored")
    pairs = sorted({(part.slope, part.intercept) for part in slices})
    told = ", ".join(f"{slope:g} x P {intercept:+g}" for slope, intercept in pairs[:3])
    more = " and others" if len(pairs) > 3 else ""
    text = f"RescaleSlope and RescaleIntercept applied: {told}{more}"
    if slices[0].intensity != HU:
        text += ". RescaleType is not HU, so what the values are is left to the voxels"
    return _noted(text)


def said_of_others(chosen: Chosen, counts: Counter[str]) -> Iterator[Decision]:
    """What was left out, by kind and count."""
    out = Counter(counts)
    out[LOCALIZER] += chosen.scouts
    out["single images of another geometry"] += len(chosen.strays)
    out["copies of a slice"] += chosen.copies
    if told := counted(out):
        yield _noted(f"left out: {told}")
    if chosen.smaller:
        sizes = ", ".join(str(len(stack)) for stack in chosen.smaller[:6])
        yield _noted(
            f"the largest of {len(chosen.smaller) + 1} stacks was taken; the others have {sizes} "
            "slices"
        )


def said_of_pixels(pixels: Pixels, slices: Sequence[Slice]) -> tuple[Decision, ...]:
    """What only the pixels could tell."""
    said = []
    if padded := sum(pixels.padded.values()):
        share = 100 * padded / sum(pixels.seen.values())
        said.append(
            _noted(f"{share:.1f} % of the voxels had the padding value and were set to air")
        )
    if pixels.mended:
        said.append(
            _noted(
                f"{len(pixels.mended)} of {len(slices)} compressed slices say another sign than "
                "PixelRepresentation, which was followed"
            )
        )
    return tuple(said)


def _noted(text: str, **values: Any) -> Decision:
    return Decision("load", text, values)
