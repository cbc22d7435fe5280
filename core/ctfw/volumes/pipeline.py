"""The chain from a file to what the model sees, with landings on disk."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from ctfw.component import Block, plain
from ctfw.contracts import Preprocessor, StreamingPreprocessor, StreamingStore, VolumeStore
from ctfw.errors import UnreadableVolume, UserError
from ctfw.types import Case, Volume
from ctfw.volumes.geometry import canonical, lps_affine, tell_oblique
from ctfw.volumes.identity import source_identity
from ctfw.volumes.stream import Planes, SliceStream, StartAgain

Result = TypeVar("Result")


def spec_of(block: Block) -> str:
    """Identity of a chosen component: JSON of its settings without facts of the machine."""
    return json.dumps(plain(block, local=False), sort_keys=True)


class VolumePipeline:
    """Load, turn to LPS, and run the preprocessors; start at the last store that has the volume.

    open    path -> slices as stored, e.g. a partial of `ctfw.volumes.open.open_slices`
    steps   the preprocessors in order; those that are a `VolumeStore` keep what reaches them
    specs   one string per step that changes when its settings do (`spec_of`)
    reader  the same for the loaders, when they have settings

    Slices flow through steps that can take them one by one; other steps get the whole volume.
    """

    def __init__(
        self,
        open: Callable[[Path], SliceStream],
        steps: Sequence[Preprocessor],
        specs: Sequence[str],
        reader: str = "",
    ) -> None:
        if len(steps) != len(specs):
            raise ValueError(f"{len(steps)} steps but {len(specs)} specs")
        self.open = open
        self.steps = tuple(steps)
        self.specs = tuple(specs)
        self.reader = reader

    def source(self, path: Path, case: Case | None = None) -> Volume:
        """The volume before any step: as read, in LPS. Raises UnreadableVolume or NotCT."""
        with _naming(Path(path)):
            return self.slices(path, case).collect()

    def slices(self, path: Path, case: Case | None = None) -> SliceStream:
        """The same, slice by slice; only the header has been read when this returns."""
        path = Path(path)
        with _naming(path):
            return tell_oblique(canonical(self.open(path), case))

    def __call__(self, path: Path, case: Case | None = None) -> Volume:
        """The volume after the last step. Raises a UserError that names the path, e.g. NotCT.

        The views of an X-ray study pass one by one and are stacked along z.
        """
        if case is None or not case.views:
            return self._run(Path(path), case, len(self.steps), SliceStream.collect)
        views = [self._run(view, case, len(self.steps), SliceStream.collect) for view in case.views]
        return _stacked(views, case)

    def prepare(self, path: Path, case: Case | None = None, every: bool = False) -> None:
        """Fill the stores and keep nothing in memory. Raises as a call does.

        every  also earlier stores that lack a volume which the last one has
        """
        for source in _sources(path, case):
            keys = self._keys(source, case)
            lacking = [i for i in keys if not _has(self.steps[i], keys[i])]
            if every and lacking:
                self._run(source, case, max(keys) + 1, _let_pass, min(lacking))
            elif keys and max(keys) in lacking:
                self._run(source, case, max(keys) + 1, _let_pass)

    def _run(
        self,
        path: Path,
        case: Case | None,
        end: int,
        use: Callable[[SliceStream], Result],
        below: int | None = None,
    ) -> Result:
        """`use` the slices after the first `end` steps; begin anew where a first look misled, or
        where what a store had was damaged.

        below  do not start from the store at this step, or from a later one
        """
        keys = self._keys(path, case)
        below = end if below is None else below
        with _naming(path):
            for attempt in range(len(self.steps) + 3):
                try:
                    start, slices = self._stored(keys, below)
                    if slices is None:
                        slices = self.slices(path, case).but(look_first=attempt > 0)
                    return use(self._flow(slices, case, keys, start, end))
                except StartAgain:
                    continue
        raise UnreadableVolume(f"{path}: what is read from it changes from one time to the next")

    def _flow(
        self, slices: SliceStream, case: Case | None, keys: dict[int, str], start: int, end: int
    ) -> SliceStream:
        for index in range(start, end):
            step = self.steps[index]
            if index in keys:
                slices = _land(step, keys[index], slices, case)
            elif isinstance(step, StreamingPreprocessor):
                slices = step.stream(slices, case)
            else:
                slices = SliceStream.of(step(slices.collect(), case))
        return slices

    @property
    def has_store(self) -> bool:
        """Whether the chain lands on disk anywhere."""
        return bool(_stores(self.steps))

    def key(self, path: Path, case: Case | None = None) -> str:
        """What the last store files this volume under: a hash of the source's content, of what
        the data set says about it, and of every step before. Raises UnreadableVolume if the
        source is missing."""
        found = [self._keys(source, case) for source in _sources(path, case)]
        names = [keys[max(keys)] if keys else "" for keys in found]
        return names[0] if len(names) == 1 else _hash(names)

    def identity(self, path: Path, case: Case | None = None) -> str:
        """Hash of all that the volume after the last step depends on: the source's content, what
        the data set says about it, and every step. Raises UnreadableVolume if it is missing."""
        origins = [part for source in _sources(path, case) for part in self._origin(source, case)]
        return _hash([*origins, *self.specs])

    def stored(self, path: Path, case: Case | None = None, every: bool = False) -> bool:
        """Whether the last store already holds this volume, or with `every` all of them.

        Raises UnreadableVolume if the source is missing. A store may offer `has(key) -> bool`,
        which is cheaper than reading; else `find` is asked.
        """
        for source in _sources(path, case):
            keys = self._keys(source, case)
            asked = list(keys) if every else [max(keys, default=-1)]
            if not keys or not all(_has(self.steps[i], keys[i]) for i in asked):
                return False
        return True

    def size(self, path: Path, case: Case | None = None) -> int:
        """Bytes that the entries of this volume take, of the stores that offer `size(key)`."""
        return sum(
            int(getattr(self.steps[index], "size", lambda key: 0)(key))
            for source in _sources(path, case)
            for index, key in self._keys(source, case).items()
        )

    @property
    def folders(self) -> tuple[Path, ...]:
        """Where the stores keep their entries, of those that offer `folder`."""
        found = [getattr(self.steps[index], "folder", None) for index in _stores(self.steps)]
        return tuple(Path(folder) for folder in found if folder is not None)

    def rehearse(self) -> None:
        """Raise the UserError of a step that can never work where it stands, such as hu-window
        before rescale-hu. A large chest of which no slice is read goes through the steps, as far
        as they take slices one by one."""

        def read(numbers: Sequence[int]) -> Planes:
            raise RuntimeError("nothing is read in a rehearsal")

        slices = SliceStream((400, 512, 512), lps_affine((0.7, 0.7, 1.0)), read)
        for step in self.steps:
            if isinstance(step, StreamingStore):
                slices = step.through("rehearsal", slices)
            elif isinstance(step, StreamingPreprocessor):
                try:
                    slices = step.stream(slices)
                except RuntimeError:
                    return  # it looks at the voxels, as the search for lungs does
            else:
                return

    def sweep(self) -> None:
        """Let the stores that offer `sweep()` remove what killed processes left unfinished."""
        for index in _stores(self.steps):
            getattr(self.steps[index], "sweep", lambda: None)()

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

    def _stored(self, keys: dict[int, str], end: int) -> tuple[int, SliceStream | None]:
        """(first step still to run, slices to start from), searched from the end."""
        for index in sorted(keys, reverse=True):
            if index < end:
                slices = _found(self.steps[index], keys[index])
                if slices is not None:
                    return index + 1, slices
        return 0, None

    def _keys(self, path: Path, case: Case | None) -> dict[int, str]:
        """Step index -> key of each store; the source's identity is looked up only if needed."""
        stores = _stores(self.steps)
        if not stores:
            return {}
        origin = self._origin(path, case)
        return {index: _hash([*origin, *self.specs[: index + 1]]) for index in stores}

    def _origin(self, path: Path, case: Case | None) -> list[str]:
        """What is read, what the data set says about it, and by whom it is read."""
        hints = dict(case.hints) if case is not None else {}
        return [source_identity(path), json.dumps(hints, sort_keys=True, default=str), self.reader]


def _let_pass(slices: SliceStream) -> None:
    """Let a store that ends the chain write everything; nobody asks it for a slice."""
    for _ in slices.read(()):
        pass


def _stores(steps: Sequence[Preprocessor]) -> list[int]:
    return [index for index, step in enumerate(steps) if isinstance(step, VolumeStore)]


def _sources(path: Path, case: Case | None) -> tuple[Path, ...]:
    return case.views if case is not None and case.views else (Path(path),)


def _hash(parts: Sequence[str]) -> str:
    return hashlib.sha256(json.dumps(list(parts)).encode()).hexdigest()[:32]


def _has(store: Any, key: str) -> bool:
    if hasattr(store, "has"):
        return bool(store.has(key))
    return store.find(key) is not None


def _found(store: Any, key: str) -> SliceStream | None:
    if isinstance(store, StreamingStore):
        return store.open(key)
    volume = store.find(key)
    return None if volume is None else SliceStream.of(volume)


def _land(store: Any, key: str, slices: SliceStream, case: Case | None) -> SliceStream:
    """Keep what reaches a store, and pass it on."""
    if isinstance(store, StreamingStore):
        return store.through(key, slices)
    volume = store(slices.collect(), case)
    store.keep(key, volume)
    return SliceStream.of(volume)


def _stacked(views: Sequence[Volume], case: Case) -> Volume:
    """(view, y, x). Raises UserError when the views differ in size."""
    sizes = [view.array.shape[1:] for view in views]
    if len(set(sizes)) > 1:
        told = " and ".join(f"{width} x {height}" for height, width in sizes)
        raise UserError(
            f"case {case.id}: its views have {told} pixels and cannot be stacked; put `fit` into "
            "the preprocessing"
        )
    first = views[0].but(array=np.concatenate([view.array for view in views]), positions_mm=None)
    return first.noting("views", f"{len(views)} views of one study, stacked along z")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """The path in front of a message that does not begin with it."""
    try:
        yield
    except UserError as error:
        if str(error).startswith(f"{path}: "):
            raise
        raise type(error)(f"{path}: {error}") from error
