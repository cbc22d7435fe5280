"""Anchors with their negatives, in the order of the plan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctfw.contracts import BatchSampler, MiningSampler, NegativeSampler
from ctfw.engine.images import TokenBank, ahead
from ctfw.errors import UserError
from ctfw.seed import stream
from ctfw.types import Case, CaseTable, Negative
from ctfw_plugins.stages.marks import Conflicts
from ctfw_plugins.stages.mined import Mined
from ctfw_plugins.stages.plan import Place, TrainingPlan

EXAMPLES = 12
"""First pairs of a training that are kept as pictures for the report page."""


@dataclass(frozen=True)
class Pairs:
    """A forward pass: B anchors, what the backbone reads of each, and of each negative.

    conflicting  (T_i,) bool of each report's tokens: the negative contradicts its sentence. None
                 where the loss does not ask
    """

    step: int
    anchors: list[Case]
    images: list[Any]
    negatives: list[Any] | None
    conflicting: list[np.ndarray] | None = None


class Images:
    """What the backbone reads in one forward pass: the same object for the same case, by which
    the backbone knows that it needs to be encoded once."""

    def __init__(self, bank: TokenBank) -> None:
        self._bank = bank
        self._read: dict[str, Any] = {}

    def case(self, case: Case) -> Any:
        if case.id not in self._read:
            self._read[case.id] = self._bank.case(case)
        return self._read[case.id]

    def negative(self, anchor: Case, negative: Negative) -> Any:
        if negative.case is not None and negative.graft is None:
            return self.case(negative.case)
        return self._bank.negative(anchor, negative)


class PairSource:
    """Draws negatives in the order of the plan and loads images ahead of the loop.

    mined      gives samplers that mine what the model sees
    conflicts  gives the loss the tokens that a negative contradicts
    """

    def __init__(
        self,
        cases: CaseTable,
        bank: TokenBank,
        plan: TrainingPlan,
        sampler: NegativeSampler | None,
        threads: int = 0,
        mined: Mined | None = None,
        conflicts: Conflicts | None = None,
    ) -> None:
        self.cases, self.bank, self.plan, self.sampler = cases, bank, plan, sampler
        self._threads = threads
        self._mined, self._conflicts = mined, conflicts
        self._past = False
        self._epoch = -1
        self.examples: list[tuple[Case, Negative]] = []
        if sampler is not None:
            sampler.fit(cases)

    def __call__(self, first_step: int = 0) -> Iterator[Pairs]:
        """The forward passes of this process from optimizer step `first_step` on.

        The draws of the steps before are made and thrown away, so that the sampler's counts are
        those of an unbroken run. Those of the other processes are made too: each process then has
        the counts of all, and what a sampler remembers does not depend on their number.
        """
        for step, places in self.plan.rounds():
            self._past = step < first_step
            if not self._past:
                break
            self._draw(places)
        loads = (self._load(step, places) for step, places in self.plan.rounds(first_step))
        return ahead(loads, self._threads)

    def _begin(self, epoch: int, sampler: NegativeSampler) -> None:
        self._epoch = epoch
        if self._mined is not None and isinstance(sampler, MiningSampler):
            sampler.mine(epoch, self._mined.features(epoch, past=self._past))
        sampler.refresh(epoch, self.plan.seed)

    def _draw(self, places: list[Place]) -> list[Negative] | None:
        if self.sampler is None:
            return None
        drawn = []
        size = self.plan.training.batch_size
        for number, place in enumerate(places):
            if number % size == 0 and isinstance(self.sampler, BatchSampler):
                self.sampler.meet([self.cases[p.case] for p in places[number : number + size]])
            if place.epoch != self._epoch:
                self._begin(place.epoch, self.sampler)
            anchor = self.cases[place.case]
            rng = stream(self.plan.seed, self.plan.stage, "negative", place.epoch, anchor.id)
            drawn.append(self._checked(anchor, self.sampler, rng))
            if len(self.examples) < EXAMPLES:
                self.examples.append((anchor, drawn[-1]))
        return drawn

    def _checked(
        self, anchor: Case, sampler: NegativeSampler, rng: np.random.Generator
    ) -> Negative:
        """A draw that keeps the contract. Raises UserError, naming sampler and case."""
        who = f"negative sampler {type(sampler).__module__}.{type(sampler).__name__}"
        try:
            negative = sampler.draw(anchor, rng)
        except UserError:
            raise
        except Exception as error:
            raise UserError(
                f"{who} failed for case {anchor.id}: {type(error).__name__}: {error}"
            ) from error
        if not isinstance(negative, Negative):
            raise UserError(f"{who} returned {negative!r:.60} for case {anchor.id}, not a Negative")
        if negative.case is not None and negative.case.patient == anchor.patient:
            raise UserError(
                f"{who} drew a scan of the same patient for case {anchor.id} "
                f"({negative.case.id}): its report would be trained away"
            )
        return negative

    def _load(self, step: int, places: list[Place]) -> Any:
        """What reads the share of this process in a round."""
        share = self.plan.share
        anchors = [self.cases[place.case] for place in places[share]]
        every = self._draw(places)
        drawn = None if every is None else every[share]

        def load() -> Pairs:
            read = Images(self.bank)
            images = [read.case(anchor) for anchor in anchors]
            if drawn is None:
                return Pairs(step, anchors, images, None)
            negatives = [read.negative(a, n) for a, n in zip(anchors, drawn, strict=True)]
            if self._conflicts is None:
                return Pairs(step, anchors, images, negatives)
            wrong = [self._conflicts(a, n) for a, n in zip(anchors, drawn, strict=True)]
            return Pairs(step, anchors, images, negatives, wrong)

        return load
