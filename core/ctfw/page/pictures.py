"""Slice sprites as data URIs, small enough for one page."""

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

PICTURE_BUDGET = 4_000_000  # bytes of pictures; base64 makes 5.3 MB of them


class Sprite(NamedTuple):
    """The slices of one volume, stacked from top to bottom in one PNG; pixels."""

    content: bytes
    width: int
    height: int


@dataclass
class Pictures:
    """The sprites of one test stage, each embedded once however many cases show it."""

    folder: Path
    found: dict[str, Sprite] = field(default_factory=dict)

    def add(self, name: str | None) -> str:
        """Key of a picture; empty when it is missing, outside the folder or no PNG."""
        if not name:
            return ""
        path = (self.folder / name).resolve()
        if not path.is_relative_to(self.folder.resolve()) or not path.is_file():
            return ""
        sprite = _sprite(path.read_bytes())
        if sprite is None:
            return ""
        key = hashlib.sha256(sprite.content).hexdigest()[:12]
        self.found[key] = sprite
        return key

    @property
    def compressed(self) -> bool:
        """Whether the sprites are too many to be embedded without loss."""
        return sum(len(sprite.content) for sprite in self.found.values()) > PICTURE_BUDGET

    def uris(self) -> dict[str, str]:
        """Key -> data URI; lossy WebP where the PNG files would make the page too large."""
        if self.compressed:
            return {key: _uri("webp", _webp(sprite)) for key, sprite in self.found.items()}
        return {key: _uri("png", sprite.content) for key, sprite in self.found.items()}

    def cut(self, key: str, slices: int, index: int) -> str:
        """Data URI of slice `index` of a sprite of `slices`; empty when the key is empty."""
        if key not in self.found:
            return ""
        from PIL import Image

        with Image.open(io.BytesIO(self.found[key].content), formats=["PNG"]) as sprite:
            height = sprite.height // slices
            box = (0, index * height, sprite.width, (index + 1) * height)
            buffer = io.BytesIO()
            sprite.crop(box).save(buffer, "PNG", optimize=True)
        return _uri("png", buffer.getvalue())


def _sprite(content: bytes) -> Sprite | None:
    """The picture when all of it can be decoded, else None."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=["PNG"]) as picture:
            picture.load()
            return Sprite(content, *picture.size)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _webp(sprite: Sprite) -> bytes:
    from PIL import Image

    buffer = io.BytesIO()
    with Image.open(io.BytesIO(sprite.content), formats=["PNG"]) as picture:
        picture.save(buffer, "WEBP", quality=82, method=4)
    return buffer.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
