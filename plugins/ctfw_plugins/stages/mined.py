"""What the model sees of each training case, kept per epoch for samplers that mine.

A resumed training cannot compute the features of an earlier epoch again, because the weights of
that moment are gone. So they are written before the epoch's first draw, and what is drawn from is
what was written: an unbroken run and a resumed one use the same bits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ctfw import processes
from ctfw.engine.images import TokenBank
from ctfw.errors import UserError
from ctfw.progress import bar
from ctfw.runs.files import whole_file
from ctfw.seed import stream
from ctfw.types import CaseTable

WIDTH = 128
"""Wider features go through a random projection, which keeps distances to about 1 / sqrt(WIDTH)
(Johnson and Lindenstrauss 1984); 50,000 cases are then 13 MB."""

BATCH = 16


class Mined:
    """`features(epoch)` of all cases, from disk where that epoch was mined before.

    folder  of the stage; one file per epoch is kept below `mined/`

    Raises UserError for a backbone without `image_features`.
    """

    def __init__(self, cases: CaseTable, bank: TokenBank, folder: Path, seed: int) -> None:
        self._cases, self._bank, self._seed = cases, bank, seed
        self._folder = folder / "mined"
        see = getattr(bank.backbone, "image_features", None)
        if see is None:
            raise UserError(
                "the negative sampler mines with what the model sees, and this backbone does not "
                "tell it (it has no `image_features`); with `hard`, set alike: labels"
            )
        self._see: Callable[[list[Any]], np.ndarray] = see

    def features(self, epoch: int, *, past: bool = False) -> Mapping[str, np.ndarray]:
        """(D,) float32 of each case, rounded to float16.

        past  the epoch began before the checkpoint that a training goes on from

        Raises UserError where a past epoch is not on disk, or what is there is of other cases.
        """
        file = self._folder / f"epoch-{epoch:03d}.npz"
        if not processes.share(file.is_file()):
            if past:
                raise UserError(
                    f"{file} is missing: the negatives of epoch {epoch} were mined with weights "
                    "that are gone, so this training cannot be resumed exactly; start it again"
                )
            rows = self._computed(epoch)
            if processes.is_main():
                _write(file, [case.id for case in self._cases], rows)
            processes.wait()
        names, kept = _read(file)
        if names != [case.id for case in self._cases]:
            raise UserError(f"{file} is of other cases than this training's; remove the run")
        return dict(zip(names, kept.astype(np.float32), strict=True))

    def _computed(self, epoch: int) -> np.ndarray:
        """(N, D) float16: the mean visual token of each case under the present weights."""
        rows = []
        cases, backbone = list(self._cases), self._bank.backbone
        module = backbone.module()
        was_training = module.training
        module.eval()
        with bar(f"mine negatives (epoch {epoch})", len(cases)) as job:
            for start in range(0, len(cases), BATCH):
                part = cases[start : start + BATCH]
                rows.append(self._see([self._bank.case(case) for case in part]))
                job.advance(len(part))
        module.train(was_training)
        return _projected(np.concatenate(rows), self._seed).astype(np.float16)


def _projected(rows: np.ndarray, seed: int) -> np.ndarray:
    """(N, D) -> (N, min(D, WIDTH)), each on a scale that float16 can hold."""
    if rows.shape[1] > WIDTH:
        shape = (rows.shape[1], WIDTH)
        rows = rows @ stream(seed, "mined", "projection").standard_normal(shape, dtype=np.float32)
    scale = float(np.abs(rows).max())
    return rows / scale if scale > 0 else rows


def _write(file: Path, names: list[str], rows: np.ndarray) -> None:
    with whole_file(file) as temporary, temporary.open("wb") as out:
        np.savez(out, names=np.array(names), features=rows)


def _read(file: Path) -> tuple[list[str], np.ndarray]:
    try:
        with np.load(file, allow_pickle=False) as kept:
            return kept["names"].tolist(), kept["features"]
    except (OSError, ValueError, KeyError) as error:
        raise UserError(f"{file} cannot be read: {error}; remove the run and start it again") from (
            error
        )
