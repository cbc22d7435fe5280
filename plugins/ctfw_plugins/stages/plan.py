"""Which anchor is read when: a function of (seed, stage, position), the same on every machine."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ctfw.errors import BadData
from ctfw.seed import stream
from ctfw.settings import Training


@dataclass(frozen=True)
class Place:
    """One anchor's turn: its index in the split, and the epoch it falls in."""

    case: int
    epoch: int


@dataclass(frozen=True)
class TrainingPlan:
    """The order of a whole training.

    cases      number of training cases
    processes  data-parallel processes; each reads its share of every global batch
    """

    cases: int
    training: Training
    seed: int
    stage: str
    processes: int = 1
    rank: int = 0

    def __post_init__(self) -> None:
        if self.cases < 1:
            raise BadData("the training split has no cases")

    @property
    def per_step(self) -> int:
        """Anchors of one optimizer step over all processes."""
        return self.training.cases_per_step(self.processes)

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.training.steps(self.cases, self.processes)

    def epoch_of(self, step: int) -> float:
        """Passes over the split after `step` optimizer steps."""
        return step * self.per_step / self.cases

    def rounds(self, first_step: int = 0) -> Iterator[tuple[int, list[Place]]]:
        """(optimizer step, places) of each forward pass of all processes, from `first_step`.

        Places come in the order of the processes, so that what is drawn for them in turn does not
        depend on how many there are.
        """
        size = self.training.batch_size * self.processes
        for step in range(first_step, self.steps):
            for part in range(self.training.gradient_accumulation):
                start = step * self.per_step + part * size
                yield step, [self._place(start + offset) for offset in range(size)]

    @property
    def share(self) -> slice:
        """The places of this process in a round."""
        size = self.training.batch_size
        return slice(self.rank * size, (self.rank + 1) * size)

    def microbatches(self, first_step: int = 0) -> Iterator[tuple[int, list[Place]]]:
        """(optimizer step, places) of each forward pass of this process, from `first_step`."""
        for step, places in self.rounds(first_step):
            yield step, places[self.share]

    def _place(self, position: int) -> Place:
        epoch, index = divmod(position, self.cases)
        return Place(int(_order(self.cases, self.seed, self.stage, epoch)[index]), epoch)


@lru_cache(maxsize=4)
def _order(cases: int, seed: int, stage: str, epoch: int) -> np.ndarray:
    return stream(seed, stage, "order", epoch).permutation(cases)
