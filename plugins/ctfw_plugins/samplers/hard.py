"""Sampler `hard`: a scan that looks alike and whose diagnosis differs.

A partner that differs in ten labels can be told by how sick it looks. One that looks alike, to the
model as it is now, and differs in a finding can only be told by that finding. Each epoch the
stage hands over what the model sees (`mine`); of a random few who conflict, the most similar
becomes the partner. Hard negatives that are mined anew from the model's own features: Schroff et
al. 2015 (arXiv 1503.03832, section 3.2), for contrastive learning Robinson et al. 2021 (arXiv
2010.04592). The hardest of all would often be a mislabelled or unreported finding, so it is the
hardest of `candidates`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ctfw.errors import BadData
from ctfw.seed import stream
from ctfw.types import Case, CaseTable, Negative
from ctfw_plugins.samplers.codes import distances
from ctfw_plugins.samplers.configs import HardConfig
from ctfw_plugins.samplers.partners import Partners, check_labels
from ctfw_plugins.samplers.plan import PROPOSALS, Rules

PART = 8192
"""Pairs whose features are compared at once: some 8 MB of memory."""


class Hard:
    """Another patient whose labels conflict and whose image, or whose other labels, agree."""

    def __init__(self, config: HardConfig, context: Any = None) -> None:
        self.config = config
        self.wants_features = config.alike == "image"
        self._features: np.ndarray | None = None
        self._similarity: list[float] = []

    def fit(self, cases: CaseTable) -> None:
        """Keep the pool. Raises BadData without labels, with fewer labels than asked for, or
        with one patient only."""
        check_labels("hard", cases)
        if self.config.min_conflicts > len(cases.label_names):
            raise BadData(
                f"hard: min_conflicts is {self.config.min_conflicts}, but the data set has only "
                f"{len(cases.label_names)} labels"
            )
        cap, wanted = self.config.max_uses or 2, self.config.min_conflicts
        proposals = (self.config.candidates, *PROPOSALS[1:])
        rules = Rules(wanted, cap, self.config.match_burden, proposals)
        self._cases = cases
        self._partners = Partners("hard", cases, rules)
        self._index = {case.id: i for i, case in enumerate(cases)}

    def mine(self, epoch: int, features: Mapping[str, np.ndarray]) -> None:
        """Keep unit vectors of (D,) features of every case. Raises BadData when one is missing."""
        missing = [case.id for case in self._cases if case.id not in features]
        if missing:
            raise BadData(f"hard: no features of {len(missing)} cases, the first is {missing[0]}")
        rows = np.empty((len(self._cases), len(features[self._cases[0].id])), np.float32)
        for row, case in zip(rows, self._cases, strict=True):
            row[:] = features[case.id]
        rows -= rows.mean(0)
        length = np.sqrt(np.einsum("ij,ij->i", rows, rows))  # without a copy of the rows
        rows /= np.maximum(length, 1e-12)[:, None]
        self._features = rows

    def refresh(self, epoch: int, seed: int) -> None:
        """Plan every anchor's partner for an epoch; the candidates depend on (seed, epoch).

        Where no features were mined, the likeness of the labels decides.
        """
        rank = self._alike_in_labels if self._features is None else self._alike_in_image
        self._partners.plan(stream(seed, "hard", epoch), rank)

    def draw(self, anchor: Case, rng: np.random.Generator) -> Negative:
        """The planned partner; for a case outside the plan any that conflicts, without the cap."""
        partner, pick = self._partners.draw(anchor, rng)
        note: dict[str, float | str] = {"distance": pick.distance}
        if self._features is not None and anchor.id in self._index:
            own = self._features[self._index[anchor.id]]
            note["similarity"] = round(float(own @ self._features[pick.partner]), 4)
            self._similarity.append(float(note["similarity"]))
        return Negative(case=partner, note=note)

    def summary(self) -> Mapping[str, Any]:
        """See `Record.summary`; `similarity` is the mean cosine of anchor's and partner's
        features, less the mean of all features."""
        mean = float(np.mean(self._similarity)) if self._similarity else None
        return self._partners.summary(min_conflicts=self.config.min_conflicts, similarity=mean)

    def _alike_in_labels(self, anchors: np.ndarray, partners: np.ndarray) -> np.ndarray:
        packed = self._partners.pool.packed
        return -distances(packed[anchors], packed[partners]).astype(np.float32)

    def _alike_in_image(self, anchors: np.ndarray, partners: np.ndarray) -> np.ndarray:
        assert self._features is not None
        found = np.empty(len(anchors), np.float32)
        for start in range(0, len(anchors), PART):
            part = slice(start, start + PART)
            rows = self._features[anchors[part]], self._features[partners[part]]
            found[part] = np.einsum("ij,ij->i", *rows)
        return found
