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
from ctfw_plugins.samplers.plan import Pick, pick_anyone, plan_epoch
from ctfw_plugins.samplers.pool import LabelPool
from ctfw_plugins.samplers.slots import Slots

PROPORTION = 10 / 18
"""The method's 10 of CT-RATE's 18 labels."""


class Heter:
    """Plans an epoch's pairs at once, so that the cap holds whatever the order of drawing."""

    def __init__(self, config: HeterConfig, context: Any = None) -> None:
        self.config = config
        self._plan: list[Pick] = []
        self._uses: Counter[str] = Counter()
        self._distances: Counter[int] = Counter()
        self._relaxed = 0
        self._over_cap = 0
        self._burden_gap = 0

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
        distance = self.config.min_label_distance
        if distance is not None and distance > len(cases.label_names):
            raise BadData(
                f"heter: min_label_distance is {distance}, but the data set has only "
                f"{len(cases.label_names)} labels"
            )
        occurring = int(cases.labels.any(0).sum())
        self.min_distance = distance or max(1, round(PROPORTION * occurring))
        self._cases = cases
        self._index = {case.id: i for i, case in enumerate(cases)}
        self._pool = LabelPool(cases)
        self._everyone = Slots(self._pool, self.min_distance)
        self._plan = []

    def refresh(self, epoch: int, seed: int) -> None:
        """Plan every anchor's partner for an epoch, in an order that depends on (seed, epoch).

        One draw per case is planned. `max_uses` null means twice the fair share, that is 2.
        """
        rng = stream(seed, "heter", epoch)
        self._plan = plan_epoch(self._pool, self.min_distance, self.config.max_uses or 2, rng)

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        """The planned partner; for a case outside the plan one is drawn now, without the cap."""
        index = self._index.get(anchor.id) if self._plan else None
        pick = self._draw_now(anchor, rng) if index is None else self._plan[index]
        partner = self._cases[pick.partner]
        self._uses[partner.id] += 1
        self._distances[pick.distance] += 1
        relaxed = max(0, self.min_distance - pick.distance)
        self._relaxed += relaxed > 0
        self._over_cap += pick.over_cap
        burden = int(np.asarray(anchor.labels).sum())
        self._burden_gap += int(self._pool.burden[pick.partner]) - burden
        return Negative(case=partner, note={"distance": pick.distance, "relaxed_by": relaxed})

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
            "burden_gap": self._burden_gap / max(1, sum(uses)),
        }

    def _draw_now(self, anchor: Case, rng: np.random.Generator) -> Pick:
        if anchor.labels is None:
            raise BadData(f"heter: case {anchor.id!r} has no labels")
        labels = np.asarray(anchor.labels)
        stranger = self._pool.stranger(labels, anchor.patient)
        partner = pick_anyone(self._everyone, stranger, rng.random())
        return Pick(partner, int((labels != self._cases[partner].labels).sum()))
