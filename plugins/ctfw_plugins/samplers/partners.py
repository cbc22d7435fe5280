"""What `heter` and `hard` share: partners planned for an epoch at once, from the labels' pool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np

from ctfw.errors import BadData
from ctfw.types import Case, CaseTable
from ctfw_plugins.samplers.plan import Pick, Rank, Rules, pick_anyone, plan_epoch
from ctfw_plugins.samplers.pool import LabelPool
from ctfw_plugins.samplers.record import Record


class Partners:
    """The cap and the other rules hold whatever the order of drawing, because all pairs of an
    epoch are planned before the first is drawn.

    Raises BadData with one patient only; `check_labels` comes first.
    """

    def __init__(self, name: str, cases: CaseTable, rules: Rules) -> None:
        if len(set(cases.patients)) < 2:
            raise BadData(f"{name} needs at least two patients in the training split")
        self.rules, self.record = rules, Record(name)
        self._cases = cases
        self._index = {case.id: i for i, case in enumerate(cases)}
        self.pool = LabelPool(cases)
        # For cases outside the plan: nobody in it is ever closed.
        self._anyone = rules.levels(self.pool)[:-1]
        self._plan: list[Pick] = []

    def plan(self, rng: np.random.Generator, rank: Rank | None = None) -> None:
        """Plan every anchor's partner for an epoch, one draw per case."""
        with self._speaking():
            self._plan = plan_epoch(self.pool, self.rules, rng, rank)

    def draw(self, anchor: Case, rng: np.random.Generator) -> tuple[Case, Pick]:
        """The planned partner; for a case outside the plan one is drawn now, without the cap."""
        index = self._index.get(anchor.id) if self._plan else None
        pick = self._draw_now(anchor, rng) if index is None else self._plan[index]
        partner = self._cases[pick.partner]
        self.record.partner(anchor, partner, pick.distance, self._reasons(pick), pick.over_cap)
        return partner, pick

    def summary(self, **more: Any) -> Mapping[str, Any]:
        return self.record.summary(**more)

    @contextmanager
    def _speaking(self) -> Iterator[None]:
        """Who says that nobody is left."""
        try:
            yield
        except BadData as error:
            raise BadData(f"{self.record.sampler}: {error}") from error

    def _reasons(self, pick: Pick) -> list[str]:
        rules, found = self.rules, []
        if pick.distance < rules.wanted:
            found.append(f"no free partner differs in {rules.wanted} labels")
        if pick.unmatched:
            found.append(f"no free partner has a burden within {rules.burden_gap} of the anchor's")
        return found

    def _draw_now(self, anchor: Case, rng: np.random.Generator) -> Pick:
        if anchor.labels is None:
            raise BadData(f"{self.record.sampler}: case {anchor.id!r} has no labels")
        labels = np.asarray(anchor.labels)
        stranger = self.pool.stranger(labels, anchor.patient)
        with self._speaking():
            partner, level = pick_anyone(self._anyone, stranger, rng.random())
        distance = int((labels != self._cases[partner].labels).sum())
        return Pick(partner, distance, unmatched=level > 0)


def check_labels(name: str, cases: CaseTable) -> None:
    """Raises BadData, naming the sampler, where a training case has no labels."""
    without = [case.id for case in cases if case.labels is None]
    if not without and cases.label_names:
        return
    who = (
        "none has any"
        if len(without) in (0, len(cases))
        else (f"{len(without)} of {len(cases)} have none, the first is {without[0]}")
    )
    raise BadData(
        f"{name} needs the labels of every training case to tell which scans conflict; {who}. Give "
        "the data set labels, or take negatives that need none, such as {use: gauss}"
    )
