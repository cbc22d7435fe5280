"""Visual tokens of a frozen tower on disk, under a hash of all that they depend on.

Below `CTFW_CACHE` there is one folder per tower (its weights, their type, what the backbone does
before it), and in it one file per volume and preprocessing. A folder may be deleted at any time:
what is missing is computed again. Training, evaluation and later stages share it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import zlib
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from ctfw.paths import cache_dir

if TYPE_CHECKING:
    import torch

RESERVE = 5 << 30
"""Bytes that stay free on the disk: below that nothing more is kept."""
_FORMAT = "1"
_DAY_S = 86400


@runtime_checkable
class CachingBackbone(Protocol):
    """A backbone whose visual tokens can be kept on disk. Optional.

    Without it the tokens of a frozen tower are computed once per process.
    """

    def features_key(self) -> str | None:
        """Changes with all that `encode` and `see` depend on besides the volume: the tower's
        weights and their type, settings. None where that cannot be told now."""

    def pack(self, image: Any) -> Mapping[str, torch.Tensor]:
        """Tensors on the host that say all about an image that was `see`n."""

    def unpack(self, tensors: Mapping[str, torch.Tensor]) -> Any:
        """The inverse of `pack`. Raises KeyError or ValueError for what `pack` did not make."""


class FeatureStore:
    """The entries of one tower.

    begin  whether the folder may be made; without it entries are added only to one that is there,
           so that evaluating a tower that was trained leaves nothing behind
    `adds` says whether entries are written.
    """

    def __init__(
        self, backbone: CachingBackbone, tower: str, root: Path | None = None, *, begin: bool
    ) -> None:
        self._backbone = backbone
        self.folder = (root or cache_dir() / "features") / hash_of([_FORMAT, tower])
        self.adds = begin or self.folder.is_dir()
        self._sweep()

    @classmethod
    def of(cls, backbone: Any, *, begin: bool) -> FeatureStore | None:
        """The store of a backbone's tower, or None where it has nothing to name it by."""
        tower = backbone.features_key() if isinstance(backbone, CachingBackbone) else None
        return None if tower is None else cls(backbone, tower, begin=begin)

    def get(self, volume: str) -> Any | None:
        """The image of a volume's key as `see` gave it; None when absent, cut short or altered."""
        from safetensors import SafetensorError, safe_open

        path = self._path(volume)
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                told = (file.metadata() or {}).get("crc32")
            if told == _checksum(tensors):
                return self._backbone.unpack(tensors)
        except (OSError, SafetensorError, KeyError, ValueError):
            pass  # whatever is wrong with it, it can be made again
        with suppress(OSError):
            path.unlink()
        return None

    def put(self, volume: str, image: Any) -> None:
        """Keep an image. Where the disk is full or refuses, nothing more is kept: `adds`."""
        if not self.adds:
            return
        from safetensors import SafetensorError
        from safetensors.torch import save_file

        path = self._path(volume)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.{id(image)}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if shutil.disk_usage(self.folder).free < RESERVE:
                self.adds = False
                return
            tensors = {k: v.contiguous() for k, v in self._backbone.pack(image).items()}
            save_file(tensors, temporary, metadata={"crc32": _checksum(tensors)})
            os.replace(temporary, path)
        except (OSError, SafetensorError):
            self.adds = False
        finally:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)

    def _path(self, volume: str) -> Path:
        return self.folder / f"{volume}.safetensors"

    def _sweep(self) -> None:
        """Remove what killed writers left: nobody writes one entry for a day."""
        for left in self.folder.glob(".*.tmp"):
            with suppress(OSError):
                if time.time() - left.stat().st_mtime > _DAY_S:
                    left.unlink()


def hash_of(parts: list[str]) -> str:
    """32 hexadecimal digits that no other list of texts has."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()[:32]


def weights_hash(module: torch.nn.Module) -> str | None:
    """Hash of names, types, shapes and values of all weights; None where some are not here.

    ZeRO-3 leaves each process a part of every weight, and what is hashed would not be the weights.
    """
    import torch

    digest = hashlib.sha256()
    for name, tensor in sorted(module.state_dict(keep_vars=True).items()):
        if hasattr(tensor, "ds_id") or tensor.is_meta:
            return None
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        flat = tensor.detach().cpu().contiguous().view(-1).view(torch.uint8)
        digest.update(flat.numpy().data)
    return digest.hexdigest()


def _checksum(tensors: Mapping[str, torch.Tensor]) -> str:
    """Of names, types, shapes and values; accidents are meant, not attacks."""
    import torch

    found = 0
    for name in sorted(tensors):
        tensor = tensors[name]
        found = zlib.crc32(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode(), found)
        found = zlib.crc32(tensor.view(-1).view(torch.uint8).numpy().data, found)
    return f"{found:08x}"
