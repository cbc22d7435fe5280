"""The chain from a file to what the model sees, with landings on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ctfw.component import Block, plain
from ctfw.contracts import Preprocessor, VolumeStore
from ctfw.errors import UnreadableVolume, UserError
from ctfw.types import Case, Volume
from ctfw.volumes.geometry import canonical


def spec_of(block: Block) -> str:
    """Identity of a chosen component: JSON of its settings without facts of the machine."""
    return json.dumps(plain(block, local=False), sort_keys=True)


class VolumePipeline:
    """Load, turn to LPS, and run the preprocessors; start at the last store that has the volume.

    load    path -> Volume as stored, e.g. a partial of `ctfw.volumes.open.open_volume`
    steps   the preprocessors in order; those that are a `VolumeStore` keep what reaches them
    specs   one string per step that changes when its settings do (`spec_of`)
    reader  the same for the loaders, when they have settings
    """

    def __init__(
        self,
        load: Callable[[Path], Volume],
        steps: Sequence[Preprocessor],
        specs: Sequence[str],
        reader: str = "",
    ) -> None:
        if len(steps) != len(specs):
            raise ValueError(f"{len(steps)} steps but {len(specs)} specs")
        self.load = load
        self.steps = tuple(steps)
        self.specs = tuple(specs)
        self.reader = reader

    def source(self, path: Path, case: Case | None = None) -> Volume:
        """The volume before any step: as read, in LPS. Raises UnreadableVolume or NotCT."""
        volume = self.load(Path(path))
        try:
            return canonical(volume, case)
        except UnreadableVolume as error:
            raise UnreadableVolume(f"{path}: {error}") from error

    def __call__(self, path: Path, case: Case | None = None) -> Volume:
        """The volume after the last step. Raises a UserError that names the path, e.g. NotCT."""
        path = Path(path)
        keys = self._keys(path, case)
        start, volume = self._stored(keys)
        if volume is None:
            volume = self.source(path, case)
        for index in range(start, len(self.steps)):
            step = self.steps[index]
            try:
                volume = step(volume, case)
            except UserError as error:
                raise type(error)(f"{path}: {error}") from error
            if index in keys:
                assert isinstance(step, VolumeStore)
                step.keep(keys[index], volume)
        return volume

    @property
    def has_store(self) -> bool:
        """Whether the chain lands on disk anywhere."""
        return any(isinstance(step, VolumeStore) for step in self.steps)

    def stored(self, path: Path, case: Case | None = None) -> bool:
        """Whether the last store already holds this volume. Raises UnreadableVolume if missing.

        A store may offer `has(key) -> bool`, which is cheaper than reading; else `find` is asked.
        """
        keys = self._keys(Path(path), case)
        if not keys:
            return False
        last = max(keys)
        store: Any = self.steps[last]
        if hasattr(store, "has"):
            return bool(store.has(keys[last]))
        return store.find(keys[last]) is not None

    def describe(self) -> str:
        """The chain in one line per step, as settings."""
        lines = []
        for spec in self.specs:
            try:
                settings: dict[str, Any] = dict(json.loads(spec))
            except ValueError:
                lines.append(spec)
                continue
            name = str(settings.pop("use", "")).split("/")[-1].split("@")[0]
            told = ", ".join(f"{key} {value}" for key, value in settings.items())
            lines.append(f"{name}: {told}" if told else name)
        return "\n".join(lines)

    def _stored(self, keys: dict[int, str]) -> tuple[int, Volume | None]:
        """(first step still to run, volume to start from), searched from the end."""
        for index in sorted(keys, reverse=True):
            store = self.steps[index]
            assert isinstance(store, VolumeStore)
            volume = store.find(keys[index])
            if volume is not None:
                return index + 1, volume
        return 0, None

    def _keys(self, path: Path, case: Case | None) -> dict[int, str]:
        """Step index -> key of each store; the source's identity is looked up only if needed."""
        stores = [i for i, step in enumerate(self.steps) if isinstance(step, VolumeStore)]
        if not stores:
            return {}
        hints = dict(case.hints) if case is not None else {}
        origin = [
            source_identity(path),
            json.dumps(hints, sort_keys=True, default=str),
            self.reader,
        ]
        return {
            index: hashlib.sha256(
                json.dumps([*origin, *self.specs[: index + 1]]).encode()
            ).hexdigest()[:32]
            for index in stores
        }


def source_identity(path: Path) -> str:
    """Hash of where a source lies and of the size and time of each of its files.

    Contents are not read: a CT-RATE volume takes seconds to hash. A sidecar beside an array
    (`scan.json` of `scan.npy`) belongs to the source. Raises UnreadableVolume when it is missing.
    """
    path = path.resolve()
    digest = hashlib.sha256(str(path).encode())
    files = sorted(path.iterdir()) if path.is_dir() else [path, path.with_suffix(".json")]
    if not path.exists():
        raise UnreadableVolume(f"{path}: no such file or folder")
    for file in files:
        if file.is_file():
            facts = file.stat()
            digest.update(f"|{file.name}|{facts.st_size}|{facts.st_mtime_ns}".encode())
    return digest.hexdigest()
