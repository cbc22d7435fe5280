"""PNG and JPEG pictures, for X-ray views; read with Pillow, grey values to [-1, 1]."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from ctfw.errors import NotCT, UnreadableVolume
from ctfw.types import NORMALISED, Volume
from ctfw.volumes.geometry import lps_affine
from ctfw_plugins.volumes.configs import PictureConfig

_ENDINGS = (".png", ".jpg", ".jpeg")
_FORMATS = ("PNG", "JPEG")
_MOST_PIXELS = 1 << 26
_MOST_SIDE = 1 << 15
_DARKEST = 8  # a picture that uses less than 1/8 of its range was stored with fewer bits
_GREY_NOISE = 2  # of 255: what JPEG's colour transform leaves of equal channels
_ORIENTATION = 0x0112
_WINDOW_HU = (-1000.0, 1000.0, 1000.0)
_DAMAGED = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError)


class PictureLoader:
    """One view -> Volume (1, y, x), float32 in [-1, 1], black -1 and white 1, "normalised".

    A picture has no HU. Its range is laid where a window of -1000 to 1000 HU would lie, and noted
    so, which is how later steps know what black is. x is taken to grow to the patient's left, as
    radiographs are shown. Stored rotation (EXIF) is applied. The size of a pixel at the patient
    is not in a picture: 1 mm unless `spacing_mm` says otherwise.
    """

    def __init__(self, config: PictureConfig, context: Any = None) -> None:
        self.config = config

    def can_read(self, path: Path) -> bool:
        """By name: `.png`, `.jpg` or `.jpeg`."""
        return path.suffix.lower() in _ENDINGS and path.is_file()

    def load(self, path: Path) -> Volume:
        """Read one picture.

        Raises UnreadableVolume (damaged, too large, several frames, transparent) or NotCT
        (colour, black and white, one value only, or nearly all of its range unused).
        """
        try:
            with Image.open(io.BytesIO(path.read_bytes()), formats=_FORMATS) as picture:
                _check_size(picture)
                kind, turned = picture.format, picture.getexif().get(_ORIENTATION, 1) != 1
                picture.load()
                grey, notes = _grey(ImageOps.exif_transpose(picture))
        except UnidentifiedImageError as error:
            raise UnreadableVolume("not a whole PNG or JPEG picture: fetch it again") from error
        except Image.DecompressionBombError as error:
            raise UnreadableVolume(f"too large for a picture: {error}") from error
        except _DAMAGED as error:
            raise UnreadableVolume(
                f"not a whole PNG or JPEG picture ({error}): fetch it again"
            ) from error
        if turned:
            notes.append("turned as its EXIF orientation says")
        return self._volume(grey, f"{kind} of {grey.shape[1]} x {grey.shape[0]} pixels", notes)

    def _volume(self, grey: np.ndarray, what: str, notes: list[str]) -> Volume:
        bits = 8 * grey.dtype.itemsize
        white = self.config.white or (1 << bits) - 1
        highest = _check_range(grey, white, chosen=self.config.white is not None)
        array = np.minimum(grey.astype(np.float32) * np.float32(2 / white) - 1, 1)[None]
        x, y = self.config.spacing_mm or (1.0, 1.0)
        sized = "" if self.config.spacing_mm else " (unknown, so 1 mm)"
        volume = Volume(array, lps_affine((x, y, 1.0)), NORMALISED).noting(
            "load", f"{what}, {bits} bits, pixels of {x:g} x {y:g} mm{sized}", bits=bits
        )
        for note in notes:
            volume = volume.noting("load", note)
        low, high, divide_by = _WINDOW_HU
        return volume.noting(
            "grey",
            f"grey values 0 to {white} put where a window of {low:g} to {high:g} HU would lie, "
            f"black -1 and white 1; the highest is {highest}",
            low=low,
            high=high,
            divide_by=divide_by,
            white=white,
        )


def _check_size(picture: Image.Image) -> None:
    """Raise UnreadableVolume before anything is decoded."""
    width, height = picture.size
    if width * height > _MOST_PIXELS or max(width, height) > _MOST_SIDE:
        raise UnreadableVolume(
            f"{width} x {height} pixels are more than a radiograph has (at most "
            f"{_MOST_PIXELS >> 20} million pixels, {_MOST_SIDE} a side): scale it down first"
        )
    if getattr(picture, "n_frames", 1) > 1:
        raise UnreadableVolume("several frames in one picture: store the one to be read")


def _grey(picture: Image.Image) -> tuple[np.ndarray, list[str]]:
    """((y, x) uint8 or uint16, notes). Raises NotCT for colour, UnreadableVolume for alpha."""
    notes: list[str] = []
    if picture.mode == "1":
        raise NotCT("black and white only, without shades of grey: not a radiograph")
    if picture.mode == "P":
        picture = picture.convert("RGBA" if "transparency" in picture.info else "RGB")
        notes.append("palette resolved")
    if picture.mode in ("LA", "RGBA"):
        if picture.getchannel("A").getextrema() != (255, 255):
            raise UnreadableVolume(
                "some pixels are transparent, so what is seen depends on the background: save it "
                "without transparency"
            )
        picture = picture.convert("L" if picture.mode == "LA" else "RGB")
        notes.append("an alpha channel without effect was dropped")
    if picture.mode == "L":
        return np.asarray(picture), notes
    if picture.mode.startswith("I"):
        return np.asarray(picture).astype(np.uint16), notes
    if picture.mode != "RGB":
        raise NotCT(f"a picture of mode {picture.mode}, not of shades of grey")
    channels = np.asarray(picture).astype(np.int16)
    apart = int((channels.max(2) - channels.min(2)).max())
    if apart > _GREY_NOISE:
        raise NotCT(
            f"a colour picture (channels differ by up to {apart} of 255): a screenshot or a "
            "photograph, or a radiograph with coloured marks on it"
        )
    notes.append("three equal colour channels taken as grey")
    return np.asarray(picture)[:, :, 1], notes


def _check_range(grey: np.ndarray, white: int, chosen: bool) -> int:
    """The highest value. Raises NotCT where the picture shows nothing on this scale."""
    lowest, highest = int(grey.min()), int(grey.max())
    if lowest == highest:
        raise NotCT(f"every pixel is {lowest}: the picture shows nothing")
    if not chosen and highest * _DARKEST < white:
        fitting = (1 << highest.bit_length()) - 1
        raise NotCT(
            f"the highest value is {highest} of {white}, nearly black: if it was stored with "
            f"fewer bits, say what white is with the picture loader's `white` (perhaps {fitting})"
        )
    return highest
