"""Sampler `hard`: another patient's scan whose labels almost agree.

A partner that differs in ten labels can be told by how sick it looks. One that differs in a
single label can only be told by that finding, which is what the report has to name.

A training split has tens of thousands of cases, but a few thousand different label vectors.
Anchors are compared with those, here called codes, and not with each case.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from ctfw import Case, CaseTable, Negative, UserError
from ctfw.seed import stream

from ctfw_hard_negatives.configs import HardConfig

BITS = np.array([octet.bit_count() for octet in range(256)], np.uint8)


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
        packed = np.packbits(cases.labels, axis=1)
        codes, code = np.unique(packed, axis=0, return_inverse=True)
        self._codes, self._code = np.ascontiguousarray(codes.T), code.ravel()
        self._members = groups(self._code)
        names, self._patient = np.unique(cases.patients, return_inverse=True)
        self._numbers = {name: number for number, name in enumerate(names.tolist())}
        self._cases_of = groups(self._patient)
        self._everyone = np.ones(len(cases), bool)
        self._sizes = np.bincount(self._code)

    def refresh(self, epoch: int, seed: int) -> None:
        """Plan a partner for every anchor, in an order that depends on (seed, epoch) alone."""
        rng = stream(seed, "hard", epoch)
        left = np.full(len(self._cases), self.config.max_uses)
        free, counts = self._everyone.copy(), self._sizes.copy()
        self._plan = {}
        for anchor in rng.permutation(len(self._cases)):
            case = self._cases[int(anchor)]
            partner = self._pick(case, free, counts, rng)
            self._over_cap += int(left[partner] <= 0)
            left[partner] -= 1
            if left[partner] == 0:
                free[partner] = False
                counts[self._code[partner]] -= 1
            self._plan[case.id] = partner

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        """The planned partner; a case outside the plan gets one now, without the cap."""
        index = self._plan.get(anchor.id)
        if index is None:
            index = self._pick(anchor, self._everyone, self._sizes, rng)
        partner = self._cases[index]
        distance = int((np.asarray(partner.labels) != np.asarray(anchor.labels)).sum())
        self._uses[partner.id] += 1
        self._distances[distance] += 1
        self._relaxed += distance > self.config.max_label_distance
        burdens = [int(np.asarray(case.labels).sum()) for case in (partner, anchor)]
        self._burden.append(burdens[0] - burdens[1])
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

    def _pick(
        self, anchor: Case, free: np.ndarray, counts: np.ndarray, rng: np.random.Generator
    ) -> int:
        """A random one of the `pool` nearest partners.

        The distance gives way before the cap, and the cap only when nobody is free; the patient
        and the conflict never do.

        free    (N,) cases that may still serve
        counts  (codes,) how many of each code may
        """
        if anchor.labels is None:
            raise UserError(f"hard: case {anchor.id} has no labels")
        octets = np.packbits(np.asarray(anchor.labels))
        distance = BITS[self._codes ^ octets[:, None]].sum(0, dtype=np.uint16)
        conflict = distance >= self.config.min_conflicts
        near = conflict & (distance <= self.config.max_label_distance)
        patient = self._numbers.get(anchor.patient, -1)
        own = self._cases_of[patient] if patient >= 0 else np.array([], int)
        for fits, who, sizes in (
            (near, free, counts),
            (conflict, free, counts),
            (conflict, self._everyone, self._sizes),
        ):
            codes, mine = np.flatnonzero(fits), np.sort(self._code[own[who[own]]])
            others = sizes[codes] - mine.searchsorted(codes, "right") + mine.searchsorted(codes)
            if others.any():
                code = codes[self._nearest(distance[codes], others, rng)]
                members = self._members[code]
                members = members[who[members] & (self._patient[members] != patient)]
                return int(members[rng.integers(len(members))])
        raise UserError(
            f"hard: no other patient differs from {anchor.id} in {self.config.min_conflicts} or "
            "more labels; lower min_conflicts, or give the data set more patients"
        )

    def _nearest(self, distance: np.ndarray, sizes: np.ndarray, rng: np.random.Generator) -> int:
        """Which code one of the `pool` nearest cases has, where chance decides between equally
        near ones: of those as far away as a random one of the `pool`, each is equally likely.

        distance, sizes  (codes,) how far away each code is, and how many cases it has
        """
        order = np.argsort(distance, kind="stable")
        ends = sizes[order].cumsum()
        rank = rng.integers(min(self.config.pool, ends[-1]))
        level = np.flatnonzero(distance == distance[order[ends.searchsorted(rank, side="right")]])
        ends = sizes[level].cumsum()
        return int(level[ends.searchsorted(rng.integers(ends[-1]), side="right")])


def groups(numbers: np.ndarray) -> list[np.ndarray]:
    """(N,) of 0 .. K - 1 -> K arrays of positions."""
    return np.split(np.argsort(numbers, kind="stable"), np.bincount(numbers).cumsum()[:-1])
