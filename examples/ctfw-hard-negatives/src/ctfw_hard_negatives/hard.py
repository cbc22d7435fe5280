"""Sampler `hard`: another patient's scan whose labels almost agree.

A partner that differs in ten labels can be told by how sick it looks. One that differs in a
single label can only be told by that finding, which is what the report has to name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from ctfw import Case, CaseTable, Negative, UserError
from ctfw.seed import stream

from ctfw_hard_negatives.configs import HardConfig


class Hard:
    """Plans all pairs of an epoch at once, so that the cap holds in any order of drawing."""

    def __init__(self, config: HardConfig, context: Any = None) -> None:
        self.config = config
        self._plan: dict[str, int] = {}
        self._uses: Counter[str] = Counter()
        self._distances: Counter[int] = Counter()
        self._burden: list[int] = []
        self._relaxed = 0
        self._over_cap = 0

    def fit(self, cases: CaseTable) -> None:
        """Keep the pool. Raises UserError when a case has no labels."""
        unlabelled = [case.id for case in cases if case.labels is None]
        if unlabelled:
            raise UserError(
                f"hard needs the labels of every training case, and {len(unlabelled)} have none "
                f"(the first is {unlabelled[0]}); give the data set labels, or use: gauss"
            )
        self._cases = cases
        self._labels = cases.labels
        self._patients = np.array(cases.patients)

    def refresh(self, epoch: int, seed: int) -> None:
        """Plan a partner for every anchor, in an order that depends on (seed, epoch) alone."""
        rng = stream(seed, "hard", epoch)
        left = np.full(len(self._cases), self.config.max_uses)
        self._plan = {}
        for anchor in rng.permutation(len(self._cases)):
            case = self._cases[int(anchor)]
            partner = self._pick(case, left > 0, rng)
            self._over_cap += int(left[partner] <= 0)
            left[partner] -= 1
            self._plan[case.id] = partner

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        """The planned partner; a case outside the plan gets one now, without the cap."""
        index = self._plan.get(anchor.id)
        if index is None:
            index = self._pick(anchor, np.ones(len(self._cases), bool), rng)
        partner = self._cases[index]
        distance = int(self._distance(anchor)[index])
        self._uses[partner.id] += 1
        self._distances[distance] += 1
        self._relaxed += distance > self.config.max_label_distance
        self._burden.append(int(self._labels[index].sum()) - int(np.asarray(anchor.labels).sum()))
        return Negative(case=partner, note={"distance": distance})

    def summary(self) -> Mapping[str, Any]:
        """Draws, how often a rule gave way, partner use, label distances, and the burden gap:
        positive labels of the partner minus the anchor's, mean over draws."""
        return {
            "sampler": "hard",
            "draws": self._uses.total(),
            "relaxed": self._relaxed,
            "over_cap": self._over_cap,
            "partner_use": dict(self._uses.most_common()),
            "distance": {str(key): self._distances[key] for key in sorted(self._distances)},
            "burden_gap": float(np.mean(self._burden)) if self._burden else 0.0,
        }

    def _distance(self, anchor: Case) -> np.ndarray:
        """(N,) number of labels in which each case differs from the anchor."""
        return (self._labels != np.asarray(anchor.labels)).sum(1)

    def _pick(self, anchor: Case, free: np.ndarray, rng: np.random.Generator) -> int:
        """A random one of the `pool` nearest partners.

        The distance gives way before the cap, and the cap only when nobody is free; the patient
        and the conflict never do.
        """
        if anchor.labels is None:
            raise UserError(f"hard: case {anchor.id} has no labels")
        distance = self._distance(anchor)
        partners = (self._patients != anchor.patient) & (distance >= self.config.min_conflicts)
        near = distance <= self.config.max_label_distance
        for candidates in (partners & free & near, partners & free, partners):
            if candidates.any():
                return self._nearest(np.flatnonzero(candidates), distance, rng)
        raise UserError(
            f"hard: no other patient differs from {anchor.id} in {self.config.min_conflicts} or "
            "more labels; lower min_conflicts, or give the data set more patients"
        )

    def _nearest(
        self, candidates: np.ndarray, distance: np.ndarray, rng: np.random.Generator
    ) -> int:
        # A fraction below 1 breaks ties at random and never swaps two different distances.
        keys = distance[candidates] + rng.random(len(candidates))
        size = min(self.config.pool, len(candidates))
        nearest = candidates[np.argpartition(keys, size - 1)[:size]]
        return int(rng.choice(nearest))
