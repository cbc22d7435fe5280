"""The pixels of one slice: decoded, masked to the bits that count, rescaled, padding set to air."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
from pydicom.encaps import get_frame
from pydicom.pixels import get_decoder
from pydicom.pixels.utils import get_j2k_parameters
from pydicom.uid import (
    UID,
    JPEG2000TransferSyntaxes,
    JPEGLSTransferSyntaxes,
    JPEGTransferSyntaxes,
)

from ctfw.errors import UnreadableVolume
from ctfw.types import RAW
from ctfw_plugins.volumes.arrays import rescaled
from ctfw_plugins.volumes.dicom_files import syntax_name
from ctfw_plugins.volumes.dicom_quiet import quiet
from ctfw_plugins.volumes.dicom_slices import Slice
from ctfw_plugins.volumes.dicom_storage import Storage

AIR_HU = -1024
_TISSUE_HU = -1000
_METAL_HU = 30_710
_J2K_START = b"\xff\x4f\xff\x51"
_NOT_FRAMES = (0xC4, 0xC8, 0xCC)


@dataclass
class Pixels:
    """Decodes slices and remembers what it did, by number, so that reading twice counts once.

    padded  number -> pixels set to air
    seen    number -> pixels decoded
    mended  slices whose compressed stream says another sign than the header
    """

    fill_padding: bool = True
    padded: dict[int, int] = field(default_factory=dict)
    seen: dict[int, int] = field(default_factory=dict)
    mended: set[int] = field(default_factory=set)

    def plane(self, number: int, part: Slice) -> np.ndarray:
        """(rows, columns): int16 for whole numbers that fit, else float32.

        Raises UnreadableVolume, naming the position, when the pixels cannot be decoded.
        """
        stored, mended = _stored(part)
        plane = rescaled(_masked(stored, part.storage), part.slope, part.intercept)
        self.seen[number] = plane.size
        if mended:
            self.mended.add(number)
        if self.fill_padding and (span := believed_padding(part)):
            outside = (stored >= span[0]) & (stored <= span[1])
            plane[outside] = AIR_HU
            self.padded[number] = int(np.count_nonzero(outside))
        return plane


def believed_padding(part: Slice) -> tuple[int, int] | None:
    """The padding values, unless they could be those of tissue (often a wrong 0) or of raw data.

    Neither is below -1000 HU, above the extended scale of CT, or outside the stored bits.
    """
    if part.padding is None or part.intensity == RAW:
        return None
    low, high = sorted(value * part.slope + part.intercept for value in part.padding)
    storage = part.storage
    least = -(1 << (storage.stored - 1)) if storage.signed else 0
    unstorable = part.padding[0] >= least + (1 << storage.stored) or part.padding[1] < least
    return part.padding if high < _TISSUE_HU or low > _METAL_HU or unstorable else None


def same_pixels(one: Slice, other: Slice) -> bool:
    """Whether two slices have the same values. Raises UnreadableVolume as `Pixels.plane`."""
    reader = Pixels(fill_padding=False)
    return np.array_equal(reader.plane(0, one), reader.plane(1, other))


def _stored(part: Slice) -> tuple[np.ndarray, bool]:
    """((rows, columns) as stored with all allocated bits, whether the sign was mended)."""
    storage, where = part.storage, f"the slice at {part.along:.2f} mm"
    try:
        with storage.path.open("rb") as stream, quiet():
            stream.seek(storage.offset)
            mended = _checked(stream, storage, part.frame)
            pixels, _ = _decoder(storage, where).as_array(
                stream, index=part.frame, raw=True, **_options(storage)
            )
    except UnreadableVolume:
        raise
    except OSError as error:
        raise UnreadableVolume(
            f"{where} cannot be read ({error.strerror or type(error).__name__})"
        ) from None
    except Exception as error:
        raise UnreadableVolume(
            f"the pixels of {where} cannot be decoded ({type(error).__name__}; transfer syntax: "
            f"{syntax_name(storage.syntax)}): the file is cut short or damaged. Fetch it again"
        ) from None
    if pixels.shape != (storage.rows, storage.columns):
        raise UnreadableVolume(
            f"{where} has pixels of shape {pixels.shape}, not {storage.rows} x {storage.columns}"
        )
    return pixels, mended


def _decoder(storage: Storage, where: str) -> Any:
    """pydicom's decoder. Raises UnreadableVolume that says which package it lacks."""
    name = syntax_name(storage.syntax)
    try:
        decoder = get_decoder(UID(storage.syntax))
    except NotImplementedError:
        raise UnreadableVolume(
            f"the pixels of {where} are in a transfer syntax that is not read: {name}. Convert the "
            "series to an uncompressed one first (dcmdjpeg of DCMTK, or gdcmconv)"
        ) from None
    if not decoder.is_available:
        remedy = "'ctfw[dicom-jpeg]' (under the GPL-3.0), or python-gdcm (Apache-2.0)"
        if storage.syntax in _WITHOUT_LIBJPEG:
            remedy = "'ctfw[dicom]'"
        raise UnreadableVolume(
            f"the pixels of {where} are compressed ({name}), and no decoder for that is installed: "
            f"pip install {remedy}"
        )
    return decoder


_WITHOUT_LIBJPEG = {str(uid) for uid in (*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes)}


def _options(storage: Storage) -> dict[str, Any]:
    """What the decoder must be told, as the header of the file was not given to it."""
    options: dict[str, Any] = {
        "rows": storage.rows,
        "columns": storage.columns,
        "samples_per_pixel": 1,
        "bits_allocated": storage.allocated,
        "bits_stored": storage.stored,
        "pixel_representation": int(storage.signed),
        "photometric_interpretation": storage.photometric,
        "number_of_frames": storage.frames,
        "pixel_keyword": "PixelData",
        "pixel_vr": storage.vr,
    }
    if storage.offsets:
        options["extended_offsets"] = storage.offsets
    if UID(storage.syntax) not in (*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes):
        # Padding may use the bits above BitsStored, so it is looked for before they are masked.
        options["correct_unused_bits"] = False
    return options


def _masked(stored: np.ndarray, storage: Storage) -> np.ndarray:
    """The values of the stored bits; those above them may hold anything (DICOM PS3.5 8.1.1)."""
    unused = storage.allocated - storage.stored
    if not unused or storage.syntax in _WITHOUT_LIBJPEG:
        return stored
    plain = stored.astype(stored.dtype.newbyteorder("="), copy=False)
    return np.right_shift(np.left_shift(plain, unused), unused)


def _checked(stream: BinaryIO, storage: Storage, frame: int) -> bool:
    """Compare a compressed stream with the header, before anything is allocated for it.

    Returns whether a JPEG 2000 stream says another sign than PixelRepresentation, which the decoder
    then follows. Raises UnreadableVolume when the stream has another size.
    """
    syntax = UID(storage.syntax)
    if syntax not in (*JPEG2000TransferSyntaxes, *JPEGLSTransferSyntaxes, *JPEGTransferSyntaxes):
        return False
    code = get_frame(
        stream, frame, number_of_frames=storage.frames, extended_offsets=storage.offsets
    )
    stream.seek(storage.offset)
    size = _j2k_size(code) if syntax in JPEG2000TransferSyntaxes else _jpeg_size(code)
    if size != (storage.rows, storage.columns):
        raise UnreadableVolume(
            "a compressed slice is of another size than its header says "
            f"({storage.rows} x {storage.columns}): the file is damaged"
        )
    if syntax not in JPEG2000TransferSyntaxes:
        return False
    return bool(get_j2k_parameters(code).get("is_signed", storage.signed) != storage.signed)


def _j2k_size(code: bytes) -> tuple[int, int] | None:
    """(rows, columns) of a JPEG 2000 stream: its SIZ segment (ISO/IEC 15444-1 A.5.1)."""
    start = code.find(_J2K_START, 0, 4096)
    sizes = [int.from_bytes(code[start + k : start + k + 4], "big") for k in (8, 12, 16, 20)]
    return (sizes[1] - sizes[3], sizes[0] - sizes[2]) if start >= 0 else None


def _jpeg_size(code: bytes) -> tuple[int, int] | None:
    """(rows, columns) of a JPEG or JPEG-LS stream: its frame header (ISO/IEC 10918-1 B.2.2)."""
    at = 2
    while at + 9 <= len(code) and code[at] == 0xFF:
        marker, length = code[at + 1], int.from_bytes(code[at + 2 : at + 4], "big")
        if marker == 0xFF:
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in _NOT_FRAMES) or marker == 0xF7:
            size = (code[at + 5 : at + 7], code[at + 7 : at + 9])
            return int.from_bytes(size[0], "big"), int.from_bytes(size[1], "big")
        at += 2 + length
    return None
