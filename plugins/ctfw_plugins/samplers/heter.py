"""Sampler `heter`: another patient's scan whose labels conflict (Ours-Heter).

Only 7 % of CT-RATE pairs differ in 10 of 18 labels. The furthest partner is always a very sick
one, and a few of those would fill most negative slots: the negative could then be told by "how
sick" alone, a new shortcut. So partners are drawn uniformly among all that qualify and each may
serve a limited number of times per epoch; `match_burden` asks for a partner who is as ill as the
anchor, with other findings.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ctfw.errors import BadData
from ctfw.seed import stream
from ctfw.types import Case, CaseTable, Negative
from ctfw_plugins.samplers.configs import HeterConfig
from ctfw_plugins.samplers.partners import Partners, check_labels
from ctfw_plugins.samplers.plan import Rules

PROPORTION = 10 / 18
"""The method's 10 of CT-RATE's 18 labels."""


class Heter:
    """Another patient in whom as many labels differ as the recipe asks for.

    name  who speaks in messages and in the summary
    """

    def __init__(self, config: HeterConfig, context: Any = None, name: str = "heter") -> None:
        self.config, self.name = config, name

    def fit(self, cases: CaseTable) -> None:
        """Keep the pool. Raises BadData without labels, with fewer labels than asked for, or
        with one patient only."""
        check_labels(self.name, cases)
        distance = self.config.min_label_distance
        if distance is not None and distance > len(cases.label_names):
            raise BadData(
                f"{self.name}: min_label_distance is {distance}, but the data set has only "
                f"{len(cases.label_names)} labels"
            )
        self.min_distance = distance or _in_proportion(cases)
        cap = self.config.max_uses or 2
        rules = Rules(self.min_distance, cap, self.config.match_burden)
        self._partners = Partners(self.name, cases, rules)

    def refresh(self, epoch: int, seed: int) -> None:
        """Plan every anchor's partner for an epoch, in an order that depends on (seed, epoch).

        One draw per case is planned. `max_uses` null means twice the fair share, that is 2.
        """
        self._partners.plan(stream(seed, self.name, epoch))

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        """The planned partner; for a case outside the plan one is drawn now, without the cap."""
        partner, pick = self._partners.draw(anchor, rng)
        relaxed = max(0, self.min_distance - pick.distance)
        return Negative(case=partner, note={"distance": pick.distance, "relaxed_by": relaxed})

    def summary(self) -> Mapping[str, Any]:
        """See `Record.summary`."""
        return self._partners.summary(min_label_distance=self.min_distance)


def _in_proportion(cases: CaseTable) -> int:
    """The method's share of the labels that occur in the split."""
    return max(1, round(PROPORTION * int(cases.labels.any(0).sum())))
