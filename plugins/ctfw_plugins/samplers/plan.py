"""The partners of all anchors for an epoch, under a cap on how often one may serve.

Anchors take their turn one after the other, and each gets one of the partners that qualify and
are free at its turn, with equal chances. Most turns are settled by proposals: of cases drawn
uniformly from a set that holds all who qualify, the first that does and is free is uniform among
those. Proposals are made for many anchors at once. Where all of an anchor's proposals fail, the
partners that remain are counted; this is slower, and uniform too.
"""

from __future__ import annotations

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


class Pick(NamedTuple):
    """A partner's place in the pool, the labels in which it differs from the anchor, and whether
    it had served often enough."""

    partner: int
    distance: int
    over_cap: bool = False


def pick_anyone(everyone: Slots, anchor: Anchor, chance: float) -> int:
    """`Slots.pick` where nobody is closed. Raises BadData when no other patient differs."""
    partner = everyone.pick(anchor, chance)
    if partner is None:
        raise BadData("heter: no other patient differs in any label, so no report conflicts")
    return partner


def plan_epoch(pool: LabelPool, wanted: int, cap: int, rng: np.random.Generator) -> list[Pick]:
    """One pick for each case of the pool, in the pool's order.

    wanted  labels in which a partner should differ; lowered where nobody who is free does
    cap     how often a partner may serve; passed where nobody who is free differs in any label
    """
    turns = Turns(pool, wanted, cap)
    order = rng.permutation(len(pool))
    for first in range(0, len(order), TURNS):
        turns.settle(order[first : first + TURNS], rng)
    apart = distances(pool.packed, pool.packed[turns.partner])
    columns = zip(turns.partner, apart.tolist(), turns.over_cap, strict=True)
    return [Pick(*column) for column in columns]


class Turns:
    """A plan in the making."""

    def __init__(self, pool: LabelPool, wanted: int, cap: int) -> None:
        self._pool = pool
        # New ones for each plan: what `Slots` learn on the way decides how many proposals are made.
        self._everyone, self._free = Slots(pool, wanted), Slots(pool, wanted)
        self._left = [cap] * len(pool)
        self.partner, self.over_cap = [0] * len(pool), [False] * len(pool)

    def settle(self, anchors: np.ndarray, rng: np.random.Generator) -> None:
        """Give the anchors, in their order, a partner each."""
        self._free.tidy()
        spent = self._free.spent(anchors)
        proposed, ends = self._propose(anchors, spent, rng)
        chances = rng.random(len(anchors)).tolist()
        start = 0
        rows = zip(anchors.tolist(), ends, chances, spent.tolist(), strict=True)
        for anchor, end, chance, over_cap in rows:
            self.over_cap[anchor] = over_cap
            for partner in proposed[start:end]:
                if over_cap or self._left[partner] > 0:
                    break
            else:
                partner = self._search(anchor, chance)
            start = end
            self.partner[anchor] = partner
            self._left[partner] -= 1
            if self._left[partner] == 0:
                self._free.close(partner)

    def _propose(
        self, anchors: np.ndarray, spent: np.ndarray, rng: np.random.Generator
    ) -> tuple[list[int], list[int]]:
        """Proposals for one anchor after another, and where each anchor's end: of free partners,
        or of anyone where all are spent. An anchor whose first few all fail gets more."""
        counts = np.zeros(len(anchors), np.intp)
        found = []
        for count in PROPOSALS:
            for slots, group in ((self._free, ~spent), (self._everyone, spent)):
                rows = np.flatnonzero(group & (counts == 0))
                if len(rows):
                    at, cases = slots.propose(anchors[rows], count, rng)
                    found.append((rows[at], cases))
            counts = np.bincount(np.concatenate([rows for rows, _ in found]), minlength=len(counts))
        rows, cases = (np.concatenate(column) for column in zip(*found, strict=True))
        return cases[rows.argsort(kind="stable")].tolist(), counts.cumsum().tolist()

    def _search(self, case: int, chance: float) -> int:
        """A partner for a case whose proposals have all failed."""
        anchor = self._pool.anchor(case)
        partner = self._free.pick(anchor, chance)
        if partner is None:
            partner = pick_anyone(self._everyone, anchor, chance)
            self.over_cap[case] = True
        return partner
