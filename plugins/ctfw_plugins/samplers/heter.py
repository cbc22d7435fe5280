"""Sampler `heter`: another patient's scan whose labels conflict (Ours-Heter).

Only 7 % of CT-RATE pairs differ in 10 of 18 labels. The furthest partner is always a very sick
one, and a few of those would fill most negative slots: the negative could then be told by "how
sick" alone, a new shortcut. So partners are drawn uniformly among all that qualify and each may
serve a limited number of times per epoch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np

from ctfw.errors import BadData
from ctfw.seed import stream
from ctfw.types import Case, CaseTable, Negative
from ctfw_plugins.samplers.configs import HeterConfig

PROPORTION = 10 / 18
"""The method's 10 of CT-RATE's 18 labels."""


class Heter:
    """Plans an epoch's pairs at once, so that the cap holds whatever the order of drawing."""

    def __init__(self, config: HeterConfig, context: Any = None) -> None:
        self.config = config
        self._plan: dict[str, tuple[int, int]] = {}
        self._uses: Counter[str] = Counter()
        self._distances: Counter[int] = Counter()
        self._relaxed = 0
        self._over_cap = 0
        self._burden: list[float] = []

    def fit(self, cases: CaseTable) -> None:
        """Keep the pool. Raises BadData without labels, with fewer labels than asked for, or
        with one patient only."""
        if any(case.labels is None for case in cases):
            raise BadData(
                "heter needs the labels of every training case to tell which scans conflict; this "
                "data set has none for some. Give it labels, or use: gauss"
            )
        if len(set(cases.patients)) < 2:
            raise BadData("heter needs at least two patients in the training split")
        self._cases = cases
        self._labels = cases.labels
        occurring = int(self._labels.any(0).sum())
        distance = self.config.min_label_distance
        if distance is not None and distance > len(cases.label_names):
            raise BadData(
                f"heter: min_label_distance is {distance}, but the data set has only "
                f"{len(cases.label_names)} labels"
            )
        self.min_distance = distance or max(1, round(PROPORTION * occurring))
        _, self._patient = np.unique(cases.patients, return_inverse=True)

    def refresh(self, epoch: int, seed: int) -> None:
        """Plan every anchor's partner for an epoch, in an order that depends on (seed, epoch).

        One draw per case is planned. `max_uses` null means twice the fair share, that is 2.
        """
        rng = stream(seed, "heter", epoch)
        cap = self.config.max_uses or 2
        left = np.full(len(self._cases), cap)
        self._plan = {}
        for anchor in rng.permutation(len(self._cases)):
            partner, relaxed = self._pick(int(anchor), left > 0, rng)
            if left[partner] <= 0:
                self._over_cap += 1
            left[partner] -= 1
            self._plan[self._cases[int(anchor)].id] = (partner, relaxed)

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        """The planned partner; for a case outside the plan one is drawn now, without the cap."""
        planned = self._plan.get(anchor.id)
        if planned is None:
            planned = self._pick_for(anchor, rng)
        partner_index, relaxed = planned
        partner = self._cases[partner_index]
        distance = self._distance(anchor, partner_index)
        self._note(anchor, partner, distance, relaxed)
        return Negative(case=partner, note={"distance": distance, "relaxed_by": relaxed})

    def summary(self) -> Mapping[str, Any]:
        """Draws, relaxations, partner use, label distances and burden gap (partner's positive
        labels minus the anchor's, mean over draws)."""
        uses = sorted(self._uses.values(), reverse=True)
        top = uses[: max(1, len(self._cases) // 10)] if uses else []
        return {
            "sampler": "heter",
            "min_label_distance": self.min_distance,
            "draws": sum(uses),
            "relaxed": self._relaxed,
            "over_cap": self._over_cap,
            "partner_use": dict(self._uses.most_common()),
            "share_of_top_tenth": sum(top) / max(1, sum(uses)),
            "distance": {str(key): self._distances[key] for key in sorted(self._distances)},
            "burden_gap": float(np.mean(self._burden)) if self._burden else 0.0,
        }

    def _pick(self, anchor: int, free: np.ndarray, rng: np.random.Generator) -> tuple[int, int]:
        """(partner, steps of relaxation): uniform among the free cases of other patients that
        differ enough; the distance is lowered one label at a time until there is one."""
        distance = (self._labels != self._labels[anchor]).sum(1)
        other = self._patient != self._patient[anchor]
        return self._choose(distance, other, free, rng)

    def _pick_for(self, anchor: Case, rng: np.random.Generator) -> tuple[int, int]:
        if anchor.labels is None:
            raise BadData(f"heter: case {anchor.id!r} has no labels")
        distance = (self._labels != np.asarray(anchor.labels)).sum(1)
        other = np.array([case.patient != anchor.patient for case in self._cases])
        return self._choose(distance, other, np.ones(len(other), bool), rng)

    def _choose(
        self, distance: np.ndarray, other: np.ndarray, free: np.ndarray, rng: np.random.Generator
    ) -> tuple[int, int]:
        wanted = self.min_distance
        for candidates in (other & free, other):  # only when nobody is free may a cap be passed
            if not candidates.any():
                continue
            reach = min(wanted, int(distance[candidates].max()))
            if reach < 1:
                continue
            qualified = np.flatnonzero(candidates & (distance >= reach))
            return int(rng.choice(qualified)), wanted - reach
        raise BadData("heter: no other patient differs in any label, so no report conflicts")

    def _distance(self, anchor: Case, partner: int) -> int:
        return int((np.asarray(anchor.labels) != self._labels[partner]).sum())

    def _note(self, anchor: Case, partner: Case, distance: int, relaxed: int) -> None:
        self._uses[partner.id] += 1
        self._distances[distance] += 1
        self._relaxed += relaxed > 0
        burden = [int(np.asarray(case.labels).sum()) for case in (partner, anchor)]
        self._burden.append(float(burden[0] - burden[1]))
