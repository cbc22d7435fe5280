"""A folder with one plain CT series.

Nothing that names a patient leaves this module: messages and provenance are built from geometry
and counts, and texts of foreign exceptions and warnings, which may quote header values, are not
passed on.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pydicom

from ctfw.errors import NotCT, UnreadableVolume
from ctfw.types import HU, RAW, Volume
from ctfw_plugins.volumes.arrays import rescaled
from ctfw_plugins.volumes.configs import DicomConfig
from ctfw_plugins.volumes.series import Slice, one_series, stack_affine

_MAGIC = b"DICM"
_AIR_HU = -1024


class DicomLoader:
    """A folder -> Volume in HU (where the tags give a rescale).

    Slices are ordered by their position along the normal, each is rescaled with its own slope and
    intercept, and the spacing between slices comes from the positions, never from SliceThickness.
    Refused by name: holes, uneven steps, duplicates, several series, gantry tilt, one slice,
    multi-frame files, other modalities.
    """

    def __init__(self, config: DicomConfig, context: Any = None) -> None:
        self.config = config

    def can_read(self, path: Path) -> bool:
        """A folder with a DICOM file among its first files, or one such file."""
        try:
            files = [path] if path.is_file() else [f for f in sorted(path.iterdir()) if f.is_file()]
            return any(_looks_dicom(file) for file in files[:64])
        except OSError:
            return False

    def load(self, path: Path) -> Volume:
        """Read the series. Raises UnreadableVolume or NotCT."""
        if path.is_file():
            files, others = [path], 0
        else:
            present = [f for f in sorted(path.iterdir()) if f.is_file() and f.name != "DICOMDIR"]
            files = [file for file in present if _looks_dicom(file)]
            others = len(present) - len(files)
        if not files:
            raise UnreadableVolume("no DICOM file lies directly in this folder")
        with _quiet():
            slices, scouts = one_series([_header(file) for file in files])
            affine, slices = stack_affine(slices)
            array, padded = self._voxels(slices)
        return _noted(
            Volume(array, affine, intensity=_state(slices)), slices, padded, scouts, others
        )

    def _voxels(self, slices: Sequence[Slice]) -> tuple[np.ndarray, int]:
        """((z, y, x) rescaled, voxels that were padding), one file in memory at a time."""
        planes, padded = [], 0
        for part in slices:
            stored = _pixels(part)
            plane = rescaled(stored, part.slope, part.intercept)
            if self.config.fill_padding and part.padding is not None:
                outside = stored == part.padding
                # A padding value inside the range of tissue (often 0) is a wrong tag: kept.
                if part.padding * part.slope + part.intercept < -1000:
                    plane[outside] = _AIR_HU
                    padded += int(np.count_nonzero(outside))
            planes.append(plane)
        return np.stack(planes), padded


def _state(slices: Sequence[Slice]) -> str:
    """HU when every slice has a rescale in HU; raw when none has one."""
    return HU if slices[0].has_rescale else RAW


def _noted(
    volume: Volume, slices: Sequence[Slice], padded: int, scouts: int, others: int
) -> Volume:
    z = volume.spacing_mm[0]
    volume = volume.noting(
        "load",
        f"DICOM series of {len(slices)} slices, ordered by position, {z:g} mm apart",
        slices=len(slices),
        step_mm=round(z, 4),
    )
    if slices[0].has_rescale:
        pairs = sorted({(part.slope, part.intercept) for part in slices})
        told = ", ".join(f"{slope:g} x P {intercept:+g}" for slope, intercept in pairs[:3])
        more = " and others" if len(pairs) > 3 else ""
        volume = volume.noting("load", f"RescaleSlope and RescaleIntercept applied: {told}{more}")
    if padded:
        share = 100 * padded / volume.array.size
        volume = volume.noting(
            "load", f"{share:.1f} % of the voxels had the padding value and were set to air"
        )
    if scouts:
        volume = volume.noting("load", f"{scouts} localizer images were left out")
    if others:
        volume = volume.noting("load", f"{others} files that are not DICOM were left out")
    return volume


def _header(file: Path) -> Slice:
    try:
        dataset = pydicom.dcmread(file, stop_before_pixels=True)
        return Slice.of(file, dataset)
    except (UnreadableVolume, NotCT):
        raise
    except Exception as error:
        raise UnreadableVolume(
            f"a file of the series is not readable DICOM ({type(error).__name__}): it may be cut "
            "short, or have been written without its file meta header"
        ) from None


def _pixels(part: Slice) -> np.ndarray:
    """(rows, columns) stored values of one slice. Raises UnreadableVolume, naming the position."""
    try:
        dataset = pydicom.dcmread(part.path)
        pixels = np.asarray(dataset.pixel_array)
    except Exception as error:
        raise UnreadableVolume(
            f"the pixels of the slice at {part.along:.2f} mm cannot be decoded "
            f"({type(error).__name__}; transfer syntax: {part.syntax}). The file is cut short, or "
            "its compression needs a decoder: pip install pylibjpeg pylibjpeg-libjpeg "
            "pylibjpeg-openjpeg"
        ) from None
    if pixels.shape != (part.rows, part.columns):
        raise UnreadableVolume(
            f"the slice at {part.along:.2f} mm has pixels of shape {pixels.shape}, not "
            f"{part.rows} x {part.columns}"
        )
    return pixels


def _looks_dicom(file: Path) -> bool:
    if file.suffix.lower() == ".dcm":
        return True
    with file.open("rb") as stream:
        return stream.read(132)[128:] == _MAGIC


@contextmanager
def _quiet() -> Iterator[None]:
    """pydicom's warnings quote header values; they must not reach a log."""
    import logging

    logger = logging.getLogger("pydicom")
    before, logger.disabled = logger.disabled, True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.disabled = before
