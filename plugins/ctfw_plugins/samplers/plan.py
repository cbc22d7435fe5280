"""The partners of all anchors for an epoch, under a cap on how often one may serve.

Anchors take their turn one after the other, and each gets one of the partners that qualify and
are free at its turn, with equal chances. Most turns are settled by proposals: of cases drawn
uniformly from a set that holds all who qualify, the first that does and is free is uniform among
those. Proposals are made for many anchors at once. Where all of an anchor's proposals fail, the
partners that remain are counted; this is slower, and uniform too.

A sampler may rank the proposals, and then an anchor gets the best that is free: the partner is the
hardest of a random few, not of all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ctfw.errors import BadData
from ctfw_plugins.samplers.codes import distances
from ctfw_plugins.samplers.pool import Anchor, LabelPool
from ctfw_plugins.samplers.slots import Slots

PROPOSALS = (16, 128)
"""Made for an anchor at first, and once more where none of the first ones qualifies. To count
those who are left takes the time of some 500 proposals."""

TURNS = 1024
"""Anchors whose proposals are made together. More save little, and then more of the proposed
partners are no longer free when the turn comes."""

Rank = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(K,) anchors and (K,) proposed partners -> (K,) scores; the highest is taken first."""


class Pick(NamedTuple):
    """A partner's place in the pool, and the labels in which it differs from the anchor.

    over_cap    it had served often enough
    unmatched   its burden is outside the rule's window
    """

    partner: int
    distance: int
    over_cap: bool = False
    unmatched: bool = False


@dataclass(frozen=True)
class Rules:
    """Who qualifies.

    wanted      labels in which a partner should differ; lowered where nobody who is free does
    cap         how often a partner may serve; passed where nobody who is free differs in any label
    burden_gap  how many more or fewer positive labels it may have; given up where nobody in the
                window is free and differs. None: any number
    proposals   see PROPOSALS
    """

    wanted: int
    cap: int
    burden_gap: int | None = None
    proposals: tuple[int, ...] | None = None

    def levels(self, pool: LabelPool) -> list[Slots]:
        """Whom an anchor looks among: free ones in the window, free ones, anyone."""
        window = [Slots(pool, self.wanted, self.burden_gap)] if self.burden_gap is not None else []
        return [*window, Slots(pool, self.wanted), Slots(pool, self.wanted)]


def pick_anyone(levels: list[Slots], anchor: Anchor, chance: float) -> tuple[int, int]:
    """(partner, level) of the first level that has one. Raises BadData when none does."""
    for level, slots in enumerate(levels):
        partner = slots.pick(anchor, chance)
        if partner is not None:
            return partner, level
    raise BadData("no other patient differs in any label, so no report conflicts")


def plan_epoch(
    pool: LabelPool, rules: Rules, rng: np.random.Generator, rank: Rank | None = None
) -> list[Pick]:
    """One pick for each case of the pool, in the pool's order. Raises BadData where no other
    patient differs from a case."""
    turns = Turns(pool, rules, rank)
    order = rng.permutation(len(pool))
    for first in range(0, len(order), TURNS):
        turns.settle(order[first : first + TURNS], rng)
    apart = distances(pool.packed, pool.packed[turns.partner])
    last = len(turns.levels) - 1
    return [
        Pick(partner, distance, level == last, rules.burden_gap is not None and level > 0)
        for partner, distance, level in zip(turns.partner, apart.tolist(), turns.level, strict=True)
    ]


class Turns:
    """A plan in the making."""

    def __init__(self, pool: LabelPool, rules: Rules, rank: Rank | None = None) -> None:
        self._pool, self._rank = pool, rank
        self._counts = rules.proposals or PROPOSALS
        # New ones for each plan: what `Slots` learn on the way decides how many proposals are made.
        self.levels = rules.levels(pool)
        self._free = self.levels[:-1]
        self._left = [rules.cap] * len(pool)
        self.partner, self.level = [0] * len(pool), [0] * len(pool)

    def settle(self, anchors: np.ndarray, rng: np.random.Generator) -> None:
        """Give the anchors, in their order, a partner each."""
        for slots in self._free:
            slots.tidy()
        last = len(self._free)
        levels = np.zeros(len(anchors), np.intp)
        for level, slots in enumerate(self._free):
            levels[(levels == level) & slots.spent(anchors)] = level + 1
        proposed, ends = self._propose(anchors, levels, rng)
        chances = rng.random(len(anchors)).tolist()
        start = 0
        rows = zip(anchors.tolist(), ends, chances, levels.tolist(), strict=True)
        for anchor, end, chance, level in rows:
            for partner in proposed[start:end]:
                if level == last or self._left[partner] > 0:
                    break
            else:
                partner, found = self._search(anchor, chance, level)
                level = found
            start = end
            self.partner[anchor], self.level[anchor] = partner, level
            self._left[partner] -= 1
            if self._left[partner] == 0:
                for slots in self._free:
                    slots.close(partner)

    def _propose(
        self, anchors: np.ndarray, levels: np.ndarray, rng: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        """Proposals for one anchor after another, and where each anchor's end, each from its
        level. An anchor whose first few all fail gets more."""
        counts = np.zeros(len(anchors), np.intp)
        found = []
        for count in self._counts:
            for level, slots in enumerate(self.levels):
                rows = np.flatnonzero((levels == level) & (counts == 0))
                if len(rows):
                    at, cases = slots.propose(anchors[rows], count, rng)
                    found.append((rows[at], cases))
            counts = np.bincount(np.concatenate([rows for rows, _ in found]), minlength=len(counts))
        rows, cases = (np.concatenate(column) for column in zip(*found, strict=True))
        if self._rank is None:
            order = rows.argsort(kind="stable")
        else:
            order = np.lexsort((-self._rank(anchors[rows], cases), rows))
        return cases[order].tolist(), counts.cumsum().tolist()

    def _search(self, case: int, chance: float, level: int) -> tuple[int, int]:
        """A partner for a case whose proposals have all failed, and the level it is from."""
        partner, found = pick_anyone(self.levels[level:], self._pool.anchor(case), chance)
        return partner, level + found
