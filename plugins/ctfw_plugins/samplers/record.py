"""What a sampler has drawn so far: the numbers that are logged and shown in the report page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ctfw.types import Case


class Record:
    """Counts over all draws; burdens are numbers of positive labels."""

    def __init__(self, sampler: str) -> None:
        self.sampler = sampler
        self._draws = 0
        self._relaxed = self._over_cap = 0
        self._uses: Counter[str] = Counter()
        self._distances: Counter[int] = Counter()
        self._gaps: Counter[int] = Counter()
        self._reasons: Counter[str] = Counter()
        self._unknown = 0

    def alone(self) -> None:
        """A draw that is made of the anchor itself: no partner, no gap."""
        self._draws += 1

    def partner(
        self,
        anchor: Case,
        partner: Case,
        distance: int | None,
        reasons: Sequence[str] = (),
        over_cap: bool = False,
    ) -> None:
        """A draw of another case.

        distance  number of labels in which the two differ; None: not known, without labels
        reasons   in words, each rule that had to give way
        over_cap  whether the partner had served as often as it may
        """
        self._draws += 1
        self._uses[partner.id] += 1
        if distance is not None:
            self._distances[distance] += 1
            self._gaps[_burden(partner) - _burden(anchor)] += 1
        else:
            self._unknown += 1
        self._relaxed += bool(reasons)
        self._over_cap += over_cap
        self._reasons.update(reasons)

    def summary(self, **more: Any) -> dict[str, Any]:
        """`draws`, `relaxed` (draws in which a rule gave way) with `relaxed_because`, `over_cap`,
        `partner_use` (case -> draws), `share_of_top_tenth` (draws that the busiest tenth of the
        partners took), `distance` (labels that differ -> draws), `burden_gaps` (partner's burden
        minus anchor's -> draws) and their mean, `burden_gap`."""
        uses = sorted(self._uses.values(), reverse=True)
        total = max(1, sum(uses))
        known = max(1, self._gaps.total())
        if self._unknown:
            more["without_labels"] = self._unknown
        gaps = {str(gap): self._gaps[gap] for gap in sorted(self._gaps)}
        return {
            "sampler": self.sampler,
            "draws": self._draws,
            "relaxed": self._relaxed,
            "relaxed_because": dict(self._reasons.most_common()),
            "over_cap": self._over_cap,
            "partner_use": dict(self._uses.most_common()),
            "share_of_top_tenth": sum(uses[: -(-len(uses) // 10)]) / total,
            "distance": {str(key): self._distances[key] for key in sorted(self._distances)},
            "burden_gaps": gaps,
            "burden_gap": sum(gap * count for gap, count in self._gaps.items()) / known
            if self._gaps
            else None,
            **more,
        }


def _burden(case: Case) -> int:
    return 0 if case.labels is None else int(np.sum(case.labels))
