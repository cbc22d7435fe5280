"""Which DICOM objects are no slice of a CT volume, and how a message calls them.

A message never repeats what a header says: every text below is from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Get = Callable[[str], Any]
NOT_CT = "objects of another kind than CT"
LOCALIZER = "localizers (scouts)"
UNPLACED = (
    "CT images without a usable place (PixelSpacing, ImagePositionPatient, "
    "ImageOrientationPatient at right angles)"
)
_MODALITIES: Mapping[str, str] = {
    "CR": "radiographs (CR)",
    "DOC": "documents (DOC)",
    "DX": "radiographs (DX)",
    "KO": "key object notes (KO)",
    "MG": "mammograms (MG)",
    "MR": "MR images",
    "NM": "nuclear medicine images (NM)",
    "OT": "screenshots and other captures (OT)",
    "PR": "presentation states (PR)",
    "PT": "PET images (PT)",
    "REG": "registrations (REG)",
    "RTDOSE": "radiotherapy doses (RTDOSE)",
    "RTIMAGE": "radiotherapy images (RTIMAGE)",
    "RTPLAN": "radiotherapy plans (RTPLAN)",
    "RTSTRUCT": "radiotherapy contours (RTSTRUCT)",
    "SC": "screenshots and other captures (SC)",
    "SEG": "segmentations (SEG)",
    "SR": "structured reports such as dose reports (SR)",
    "US": "ultrasound images (US)",
    "XA": "angiograms (XA)",
}
_DIRECTORY = "1.2.840.10008.1.3.10"
_CAPTURES = "1.2.840.10008.5.1.4.1.1.7"
_CT_CLASSES = tuple(f"1.2.840.10008.5.1.4.1.1.2{more}" for more in ("", ".1", ".2"))
_SHOTS = {"SCREEN SAVE", "SCREENSHOT", "CSA REPORT", "DOSE REPORT", "DOSE_INFO"}
_COLOURED = {"COLOR", "MIXED", "TRUE_COLOR"}
# Defined terms of Rescale Type (DICOM PS3.3 C.11.1.1.2) that stand for another quantity than HU.
_OTHER_QUANTITIES = {"OD", "MGML", "Z_EFF", "ED", "EDW", "PCT"}


def is_cut(get: Get, keyword: str) -> bool:
    """Whether the header ends too early: without its class, or before the pixels of a CT image."""
    if not get("SOPClassUID"):
        return True
    if str(get("SOPClassUID")) not in _CT_CLASSES:
        return False
    return not keyword or get("Modality") is None or get("Rows") is None or get("Columns") is None


def left_out(get: Get, keyword: str) -> str:
    """Why this object is no slice of a CT volume, as the name of its kind; "" when it may be one.

    get      tag by keyword, or None
    keyword  name of its pixel element, "" when it has none
    """
    kind = _other_object(get)
    if kind:
        return kind
    if not keyword or not get("Rows") or not get("Columns"):
        return "objects without an image"
    if keyword != "PixelData":
        return "images in floating point"
    grey = _word(get, "PhotometricInterpretation") in ("", "MONOCHROME1", "MONOCHROME2")
    if not grey or get("SamplesPerPixel") not in (None, 1):
        return "colour pictures"
    types = {str(item).strip().upper() for item in _listed(get("ImageType"))}
    if "LOCALIZER" in types:
        return LOCALIZER
    if types & _SHOTS:
        return "screenshots and dose sheets"
    if _word(get, "PixelPresentation") in _COLOURED or "PERFUSION" in types:
        return "coloured or perfusion maps computed from a CT"
    if _word(get, "RescaleType") in _OTHER_QUANTITIES:
        return "maps of another quantity than HU"
    return ""


def _other_object(get: Get) -> str:
    """The kind of an object that is no CT by its modality and class."""
    modality, sop = _word(get, "Modality"), str(get("SOPClassUID") or "")
    if sop == _DIRECTORY:
        return "directories (DICOMDIR)"
    if sop == _CAPTURES or sop.startswith(f"{_CAPTURES}."):
        return "screenshots and other captures (SC)"
    if modality == "CT":
        return ""
    return _MODALITIES.get(modality, NOT_CT)


def _word(get: Get, name: str) -> str:
    return str(get(name) or "").strip().upper()


def _listed(value: Any) -> list[Any]:
    return [value] if isinstance(value, str) else list(value or [])
