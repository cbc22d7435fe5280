"""Cases to what the backbone reads, computed once and kept within a budget of memory."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from threading import Lock
from typing import TYPE_CHECKING, Any, TypeVar

from ctfw.engine.features import FeatureStore
from ctfw.engine.ledger import Ledger
from ctfw.engine.prepare import prepare_volumes
from ctfw.errors import UserError
from ctfw.progress import bar
from ctfw.types import Case, Negative, Volume

if TYPE_CHECKING:
    from ctfw.contracts import Backbone
    from ctfw.volumes.pipeline import VolumePipeline

T = TypeVar("T")
MEMORY = 2 << 30
TOKEN_MEMORY = 4 << 30


class ImageBank:
    """Preprocessed volumes by case, from memory, from the stores of the pipeline, or from files.

    memory_bytes  budget of the volumes kept in memory, least recently used leaves first
    """

    def __init__(self, pipeline: VolumePipeline, memory_bytes: int = MEMORY) -> None:
        self.pipeline = pipeline
        self._budget = memory_bytes
        self._kept: OrderedDict[str, Volume] = OrderedDict()
        self._bytes = 0
        self._lock = Lock()

    def volume(self, case: Case) -> Volume:
        """The preprocessed volume of a case. Errors name the case and its file."""
        with self._lock:
            if case.id in self._kept:
                self._kept.move_to_end(case.id)
                return self._kept[case.id]
        try:
            volume = self.pipeline(case.image, case)
        except UserError as error:
            raise type(error)(f"case {case.id}: {error}") from error
        self._keep(case.id, volume)
        return volume

    def negative(self, anchor: Case, negative: Negative) -> Volume:
        """The volume of a negative: another case's, or a function of the anchor's."""
        if negative.case is not None and negative.graft is None:
            return self.volume(negative.case)
        source = self.volume(anchor)
        if negative.case is not None and negative.graft is not None:
            made = negative.graft(source, self.volume(negative.case))
        else:
            assert negative.transform is not None
            made = negative.transform(source)
        if not isinstance(made, Volume) or made.array.shape != source.array.shape:
            shape = getattr(getattr(made, "array", None), "shape", type(made).__name__)
            raise UserError(
                f"the negative of case {anchor.id} should have the anchor's shape "
                f"{source.array.shape} and has {shape}: the sampler's transform is at fault"
            )
        return made

    def prepare(self, cases: Sequence[Case], workers: int | None = None) -> dict[str, str]:
        """Run the chain for every case in worker processes, so that its stores are filled.

        Returns case id -> why its scan cannot be used; the others go on. Without a store in the
        chain there is nothing to fill, and nothing is done.
        """
        if not self.pipeline.has_store:
            return {}
        return prepare_volumes(self.pipeline, cases, Ledger(), workers=workers).refused

    def _keep(self, key: str, volume: Volume) -> None:
        with self._lock:
            if key in self._kept:
                return
            self._kept[key] = volume
            self._bytes += volume.array.nbytes
            while self._bytes > self._budget and len(self._kept) > 1:
                _, gone = self._kept.popitem(last=False)
                self._bytes -= gone.array.nbytes


class TokenBank:
    """What the backbone reads of each case; visual tokens when the tower is frozen.

    Tokens of a frozen tower are computed once: they are kept on the host up to `memory_bytes`,
    and on disk where the backbone can name what they depend on (`FeatureStore`).

    begin  whether this may be the first to keep tokens of this tower on disk
    """

    def __init__(
        self,
        images: ImageBank,
        backbone: Backbone,
        *,
        frozen: bool,
        memory_bytes: int = TOKEN_MEMORY,
        begin: bool = False,
    ) -> None:
        self.images, self.backbone, self.frozen = images, backbone, frozen
        self._budget = memory_bytes
        self._begin = begin
        self._bytes = 0
        self._tokens: dict[str, Any] = {}

    @cached_property
    def store(self) -> FeatureStore | None:
        """Where tokens are kept on disk; the weights are hashed at the first use."""
        return FeatureStore.of(self.backbone, begin=self._begin) if self.frozen else None

    def case(self, case: Case) -> Any:
        """What the backbone reads for a case: visual tokens when the tower is frozen."""
        if not self.frozen:
            return self.backbone.encode(self.images.volume(case))
        if case.id in self._tokens:
            return self._tokens[case.id]
        key = self._key(case)
        found = self._found(key)
        if found is None:
            found = self.volume(self.images.volume(case))
            self._store(key, found)
        return self._keep(case, found)

    def negative(self, anchor: Case, negative: Negative) -> Any:
        """The same for a negative."""
        if negative.case is not None and negative.graft is None:
            return self.case(negative.case)
        return self.volume(self.images.negative(anchor, negative))

    def volume(self, volume: Volume) -> Any:
        """The same for a volume that belongs to no case, such as noise."""
        encoded = self.backbone.encode(volume)
        return self.backbone.see([encoded])[0] if self.frozen else encoded

    def fill(self, cases: Sequence[Case], title: str, batch: int = 16) -> None:
        """Compute tokens of many cases at once; nothing when the tower trains.

        They go to memory as far as they fit, and to disk. Processes that fill side by side begin
        at different parts, and find on disk what another has done.
        """
        todo = [case for case in cases if case.id not in self._tokens] if self.frozen else []
        if not todo:
            return
        parts = [todo[start : start + batch] for start in range(0, len(todo), batch)]
        rank, world = (int(os.environ.get(n, d)) for n, d in (("RANK", "0"), ("WORLD_SIZE", "1")))
        first = len(parts) * rank // max(1, world)
        with bar(title, len(todo)) as job:
            for part in parts[first:] + parts[:first]:
                if self._bytes >= self._budget and not self._adds:
                    return
                self._fill(part)
                job.advance(len(part))

    def _fill(self, cases: Sequence[Case]) -> None:
        """A part is computed as a whole or not at all, so that the last bits of a token do not
        depend on what a killed process had done."""
        keys = [self._key(case) for case in cases]
        found = [self._found(key) for key in keys]
        if any(each is None for each in found):
            encoded = [self.backbone.encode(self.images.volume(case)) for case in cases]
            found = self.backbone.see(encoded)
            for key, seen in zip(keys, found, strict=True):
                self._store(key, seen)
        for case, seen in zip(cases, found, strict=True):
            self._keep(case, seen)

    @property
    def _adds(self) -> bool:
        return self.store is not None and self.store.adds

    def _key(self, case: Case) -> str | None:
        """What a case is kept under on disk. Raises UnreadableVolume, naming the case."""
        if self.store is None:
            return None
        try:
            return self.images.pipeline.identity(case.image, case)
        except UserError as error:
            raise type(error)(f"case {case.id}: {error}") from error

    def _found(self, key: str | None) -> Any | None:
        return None if self.store is None or key is None else self.store.get(key)

    def _store(self, key: str | None, seen: Any) -> None:
        if self.store is not None and key is not None:
            self.store.put(key, seen)

    def _keep(self, case: Case, seen: Any) -> Any:
        size = int(getattr(seen, "nbytes", 0))
        if self._bytes + size <= self._budget:
            self._tokens[case.id] = seen
            self._bytes += size
        return seen


def ahead(thunks: Iterable[Callable[[], T]], threads: int, depth: int = 4) -> Iterator[T]:
    """Results in order, with up to `depth` computed in advance by `threads` threads.

    Reading and resampling release the interpreter lock for most of their time.
    """
    if threads <= 0:
        for thunk in thunks:
            yield thunk()
        return
    with ThreadPoolExecutor(threads) as pool:
        waiting: list[Any] = []
        for thunk in thunks:
            waiting.append(pool.submit(thunk))
            if len(waiting) > depth:
                yield waiting.pop(0).result()
        for future in waiting:
            yield future.result()
