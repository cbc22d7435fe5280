"""Multi-frame CT: the tags of each frame (DICOM PS3.3 C.7.6.16, multi-frame functional groups).

A classic file is a file of one frame whose tags lie at the top.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ctfw.errors import UnreadableVolume
from ctfw_plugins.volumes.dicom_files import Header
from ctfw_plugins.volumes.dicom_kinds import Get

# keyword -> (sequence of the functional group that holds it, its name there)
_PLACES: dict[str, tuple[str, str]] = {
    "ImagePositionPatient": ("PlanePositionSequence", "ImagePositionPatient"),
    "ImageOrientationPatient": ("PlaneOrientationSequence", "ImageOrientationPatient"),
    "PixelSpacing": ("PixelMeasuresSequence", "PixelSpacing"),
    "SliceThickness": ("PixelMeasuresSequence", "SliceThickness"),
    "RescaleSlope": ("PixelValueTransformationSequence", "RescaleSlope"),
    "RescaleIntercept": ("PixelValueTransformationSequence", "RescaleIntercept"),
    "RescaleType": ("PixelValueTransformationSequence", "RescaleType"),
    "StackID": ("FrameContentSequence", "StackID"),
    "TemporalPositionIndex": ("FrameContentSequence", "TemporalPositionIndex"),
    "FrameAcquisitionNumber": ("FrameContentSequence", "FrameAcquisitionNumber"),
    "ConvolutionKernel": ("CTReconstructionSequence", "ConvolutionKernel"),
    "KVP": ("CTXRayDetailsSequence", "KVP"),
    "ImageType": ("CTImageFrameTypeSequence", "FrameType"),
    "PixelPresentation": ("CTImageFrameTypeSequence", "PixelPresentation"),
}


def frames_of(header: Header) -> Iterator[tuple[int, Get]]:
    """(frame, tag by keyword) for each frame of a file, in the order of the file.

    Raises UnreadableVolume when a file of several frames does not say where each lies.
    """
    dataset = header.dataset
    count = int(dataset.get("NumberOfFrames") or 1)
    each = dataset.get("PerFrameFunctionalGroupsSequence")
    shared = dataset.get("SharedFunctionalGroupsSequence")
    if each is None and count == 1 and not shared:
        yield 0, dataset.get
        return
    if each is None or len(each) != count:
        known = "none" if each is None else len(each)
        raise UnreadableVolume(
            f"a multi-frame file of {count} frames has places for {known} of them: write it as "
            "single slices or as enhanced CT first"
        )
    common = shared[0] if shared else {}
    for frame, own in enumerate(each):
        yield frame, _finder((own, common), dataset)


def _finder(groups: tuple[Any, ...], dataset: Any) -> Get:
    """Look in the frame's own groups, then in the shared ones, then at the top."""

    def get(name: str) -> Any:
        if name in _PLACES:
            sequence, inner = _PLACES[name]
            for group in groups:
                items = group.get(sequence)
                if items and items[0].get(inner) is not None:
                    return items[0].get(inner)
        return dataset.get(name)

    return get
