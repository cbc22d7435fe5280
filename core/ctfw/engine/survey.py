"""Before any volume is read: which are done, which share an image, which were refused before."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ctfw.engine.ledger import Ledger
from ctfw.errors import UserError
from ctfw.progress import size_of, track
from ctfw.types import Case
from ctfw.volumes.work import Row, stamp

if TYPE_CHECKING:
    from ctfw.volumes.pipeline import VolumePipeline

_THREADS = 8  # looking at files waits for the disk, most of all on network shares


@dataclass
class Survey:
    """What there is to do: key -> the case that stands for all with the same image.

    folders  where the stores of the chain keep things
    every    whether each store of the chain must have a volume, or the last one suffices
    """

    todo: dict[str, Case] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    every: bool = False
    _others: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        pipeline: VolumePipeline,
        cases: Sequence[Case],
        ledger: Ledger,
        *,
        every: bool = False,
        again: bool = False,
    ) -> Survey:
        """Look at every case; what is stored or refused goes into the ledger.

        again  try what was refused before once more
        """
        survey = cls(folders=pipeline.folders, every=every)

        def look(case: Case) -> tuple[str, Row | None]:
            return _look(pipeline, case, every, None if again else ledger)

        with ThreadPoolExecutor(_THREADS) as pool:
            looked = track(pool.map(look, cases), "look at scans", len(cases))
            for case, (key, row) in zip(cases, looked, strict=True):
                if row is not None:
                    ledger.add(row, new=not row.key)
                elif key in survey.todo:
                    survey._others.setdefault(key, []).append(case.id)
                else:
                    survey.todo[key] = case
        return survey

    def sharing(self, key: str) -> list[str]:
        """The other cases whose image is the same."""
        return self._others.get(key, [])

    def must_fit(self, bytes_each: float, left: int) -> None:
        """Raise UserError when the disk of the stores cannot hold `left` more volumes."""
        for folder in self.folders:
            free = _free(folder)
            if bytes_each * left > free:
                raise UserError(
                    f"{left} volumes of {size_of(bytes_each)} are still to come, and {folder} has "
                    f"{size_of(free)} free: give the stores another `folder`, store fewer slices "
                    "or a smaller dtype, or prepare a part with --limit. What is done is kept"
                )


def _look(
    pipeline: VolumePipeline, case: Case, every: bool, ledger: Ledger | None
) -> tuple[str, Row | None]:
    """(key, the row if nothing has to be done)."""
    try:
        key = pipeline.key(case.image, case)
        if pipeline.stored(case.image, case, every):
            return key, Row(case.id, key, "found")
    except UserError as error:
        return "", Row(case.id, "", "refused", str(error))
    known = ledger.known_refusal(key, stamp(case.image)) if ledger is not None else ""
    return key, Row(case.id, key, "refused", known, stamp=stamp(case.image)) if known else None


def _free(folder: Path) -> int:
    """Bytes free where `folder` is or will be."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free
