"""Sampler `in-batch`: the images of a forward pass serve each other as negatives.

Each image then passes the vision tower once and is read twice, with its own report and with
another's. In-batch negatives are what contrastive training commonly uses (Oord et al. 2018, arXiv
1807.03748); here a partner is another patient's, and one whose labels conflict comes first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ctfw.errors import BadData, UserError
from ctfw.types import Case, CaseTable, Negative
from ctfw_plugins.samplers.configs import InBatchConfig
from ctfw_plugins.samplers.record import Record


class InBatch:
    """Another anchor of the same forward pass; where none is allowed, any case of the split.

    Whom an anchor meets depends on training.batch_size, which counts the anchors of a process.
    """

    least_cases = 2

    def __init__(self, config: InBatchConfig, context: Any = None) -> None:
        self.config = config
        self._record = Record("in-batch")
        self._met: Sequence[Case] = ()
        self._uses: Counter[str] = Counter()

    def fit(self, cases: CaseTable) -> None:
        """Keep the split. Raises BadData with one patient only, or where labels are missing that
        the settings ask for."""
        if len(set(cases.patients)) < 2:
            raise BadData("in-batch needs at least two patients in the training split")
        if self.config.conflict == "require" and any(case.labels is None for case in cases):
            raise BadData(
                "in-batch with conflict: require needs the labels of every training case; set "
                "conflict: prefer"
            )
        self._cases = cases

    def refresh(self, epoch: int, seed: int) -> None:
        """Nothing is planned ahead."""

    def meet(self, anchors: Sequence[Case]) -> None:
        """The anchors of the next forward pass. Raises UserError for one alone."""
        if len(anchors) < 2:
            raise UserError(
                "in-batch: an anchor that is alone in its forward pass has nobody to serve as its "
                "negative; set training.batch_size to 2 or more"
            )
        self._met = tuple(anchors)
        self._uses.clear()

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        """One of those that were met, preferably one that has not served yet."""
        partner, outside = self._partner(anchor, rng)
        self._uses[partner.id] += 1
        distance = differing(anchor, partner)
        reasons = []
        if outside:
            reasons.append("nobody in the batch may serve")
        if distance is not None and distance < self.config.min_conflicts:
            reasons.append(f"nobody conflicts in {self.config.min_conflicts} labels")
        self._record.partner(anchor, partner, distance, reasons)
        note: dict[str, float | str] = {"in batch": float(not outside)}
        if distance is not None:
            note["distance"] = distance
        return Negative(case=partner, note=note)

    def _partner(self, anchor: Case, rng: np.random.Generator) -> tuple[Case, bool]:
        """(partner, whether it is not of the batch)."""
        others = [case for case in self._met if case.patient != anchor.patient]
        fit = [case for case in others if self._conflicts(anchor, case)]
        if fit or (others and self.config.conflict == "prefer"):
            return self._least_used(fit or others, rng), False
        everyone = [case for case in self._cases if case.patient != anchor.patient]
        fit = [case for case in everyone if self._conflicts(anchor, case)]
        return (fit or everyone)[int(rng.integers(len(fit or everyone)))], True

    def _least_used(self, cases: Sequence[Case], rng: np.random.Generator) -> Case:
        least = min(self._uses[case.id] for case in cases)
        free = [case for case in cases if self._uses[case.id] == least]
        return free[int(rng.integers(len(free)))]

    def _conflicts(self, anchor: Case, other: Case) -> bool:
        distance = differing(anchor, other)
        return distance is None or distance >= self.config.min_conflicts

    def summary(self) -> Mapping[str, Any]:
        """See `Record.summary`."""
        return self._record.summary(min_conflicts=self.config.min_conflicts)


def differing(one: Case, other: Case) -> int | None:
    """Number of labels in which two cases differ; None where one has none."""
    if one.labels is None or other.labels is None:
        return None
    return int((np.asarray(one.labels) != np.asarray(other.labels)).sum())
