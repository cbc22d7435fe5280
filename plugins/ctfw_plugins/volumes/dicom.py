"""A folder with a CT series, or one multi-frame file.

Nothing that names a patient leaves this module: messages and provenance are built from geometry
and counts, and texts of foreign exceptions and warnings, which may quote header values, are not
passed on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ctfw.errors import NotCT, UnreadableVolume
from ctfw.types import Volume
from ctfw.volumes.stream import Planes, SliceStream
from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.dicom_enhanced import frames_of
from ctfw_plugins.volumes.dicom_files import Header, files_below, holds_dicom, read_header
from ctfw_plugins.volumes.dicom_geometry import stack_affine
from ctfw_plugins.volumes.dicom_kinds import LOCALIZER, UNPLACED, is_cut, left_out
from ctfw_plugins.volumes.dicom_notes import counted, said_of, said_of_others, said_of_pixels
from ctfw_plugins.volumes.dicom_pixels import Pixels, same_pixels
from ctfw_plugins.volumes.dicom_quiet import quiet
from ctfw_plugins.volumes.dicom_slices import Slice, slice_of
from ctfw_plugins.volumes.dicom_stacks import choose
from ctfw_plugins.volumes.dicom_storage import storage_of

_OTHERS = "files that are not DICOM"


@dataclass
class _Found:
    """What lies in the folder: slices, and the number of everything else by kind."""

    slices: list[Slice] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    unplaced: set[str] = field(default_factory=set)


class DicomLoader:
    """A folder or multi-frame file -> slices in HU, where the tags give a rescale to HU.

    The slices are found by their geometry in the folder and its subfolders, ordered by position
    along their normal, and rescaled each with its own slope and intercept. Refused by name: several
    stacks (unless `series: largest`), holes, uneven steps, duplicates, gantry tilt, one slice,
    damaged files. The rules are listed in docs/how-to/read_dicom.md.
    """

    def __init__(self, config: DicomConfig, context: Any = None) -> None:
        self.config = config

    def can_read(self, path: Path) -> bool:
        """A DICOM file, or a folder with one among the first files in it and below."""
        return holds_dicom(path)

    def load(self, path: Path) -> Volume:
        """The whole series. Raises as `stream`."""
        return self.stream(path).collect()

    def stream(self, path: Path) -> SliceStream:
        """Read the headers; each slice is decoded when it is asked for.

        Raises UnreadableVolume (nothing usable, several stacks, geometry, damage) or NotCT (other
        modalities only); while slices are read, UnreadableVolume for pixels that cannot be decoded.
        """
        found = _gathered(path)
        if not found.slices:
            raise _nothing_left(found.left_out)
        chosen = choose(found.slices, self.config.series, same_pixels)
        slices = chosen.slices
        _must_fit_together(slices, found.unplaced, {part.series for part in chosen.strays})
        affine = stack_affine(slices)
        pixels = Pixels(self.config.fill_padding)

        def read(numbers: Sequence[int]) -> Planes:
            for number in numbers:
                yield number, pixels.plane(number, slices[number])

        shape = (len(slices), slices[0].storage.rows, slices[0].storage.columns)
        stream = SliceStream(shape, affine, read, slices[0].intensity, random=True)
        notes = [*said_of(slices), *said_of_others(chosen, found.left_out)]
        return stream.closing(lambda: tuple(notes)).closing(lambda: said_of_pixels(pixels, slices))


def _gathered(path: Path) -> _Found:
    """Read the headers of a file, or of every file in a folder and below."""
    found, nameless = _Found(), 0
    try:
        for file in [path] if path.is_file() else files_below(path):
            header = read_header(file)
            if header is None:
                nameless += file.suffix.lower() == ".dcm"
                found.left_out[_OTHERS] += 1
            else:
                _sort_safely(header, found)
    except OSError as error:
        raise UnreadableVolume(
            f"the folder cannot be read ({error.strerror or type(error).__name__})"
        ) from None
    if nameless:
        raise UnreadableVolume(
            f"{nameless} of the files named .dcm hold no DICOM header that can be read: they are "
            "damaged, cut short or something else. Fetch them again or remove them"
        )
    return found


def _sort_safely(header: Header, found: _Found) -> None:
    """`_sort`, with whatever pydicom raises put into words that quote nothing."""
    try:
        with quiet():
            _sort(header, found)
    except UnreadableVolume:
        raise
    except Exception as error:
        raise UnreadableVolume(
            f"a DICOM file has tags that cannot be read ({type(error).__name__}): it is damaged. "
            "Fetch it again"
        ) from None


def _sort(header: Header, found: _Found) -> None:
    """Put the frames of one file to the slices, or count why not."""
    if is_cut(header.dataset.get, header.keyword):
        raise UnreadableVolume(
            "a file has a DICOM header that ends too early, before its class or its pixels: it is "
            "cut short or damaged. Fetch it again"
        )
    if kind := left_out(header.dataset.get, header.keyword):
        found.left_out[kind] += 1
        return
    storage = storage_of(header)
    for frame, get in frames_of(header):
        kind = left_out(get, header.keyword)
        part = None if kind else slice_of(storage, get, frame)
        if part is not None:
            found.slices.append(part)
            continue
        found.left_out[kind or UNPLACED] += 1
        if not kind:
            found.unplaced.add(str(get("SeriesInstanceUID") or ""))


def _nothing_left(counts: Counter[str]) -> Exception:
    """Why there is no slice, by kind and count."""
    told = counted(counts)
    if not told:
        return UnreadableVolume("this folder and those in it are empty: no DICOM file is there")
    if set(counts) == {LOCALIZER}:
        return NotCT(f"only localizer (scout) images: {counts[LOCALIZER]} of them")
    damaged = UNPLACED in counts or set(counts) == {_OTHERS}
    kind = UnreadableVolume if damaged else NotCT
    return kind(f"no slice of a CT volume is there, only: {told}")


def _must_fit_together(slices: Sequence[Slice], unplaced: set[str], strays: set[str]) -> None:
    """Raise UnreadableVolume when slices differ in rescale, or an image of the series is left out.

    unplaced, strays  series of images without a place, and of single ones of another geometry: a
    damaged slice would otherwise be missing in silence
    """
    if len({part.intensity for part in slices}) > 1:
        raise UnreadableVolume(
            "the slices of the series differ in a rescale: some have RescaleSlope and "
            "RescaleIntercept to HU and some have not"
        )
    series = {part.series for part in slices}
    if unplaced & series:
        raise UnreadableVolume(
            "images of the same series have no usable PixelSpacing, ImagePositionPatient or "
            "ImageOrientationPatient, so their place is unknown: fetch the series again"
        )
    if strays & series:
        raise UnreadableVolume(
            "a single image of the same series has another size, pixel spacing, direction or frame "
            "of reference than the others: it is damaged, or does not belong here. Fetch the "
            "series again, or remove the image"
        )
