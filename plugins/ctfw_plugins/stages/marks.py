"""Which tokens of a report a negative's image contradicts, from the labeler's evidence.

A sentence that states a finding conflicts with an image that does not show it, and one that denies
a finding with an image that does. Where left and right were exchanged, sentences that name one
side conflict. All other tokens, the template among them, are right under either image; to make
them unlikely teaches the model to write badly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from ctfw.component import Block
from ctfw.contracts import Backbone, Labeler
from ctfw.errors import UserError
from ctfw.scoring.likelihood import Marks, marks
from ctfw.types import Case, CaseTable, Negative, StepOutput
from ctfw_plugins.stages.contradictions import CONFLICTING, FINDINGS, SIDE, contradicted

LOOKED_AT = 256
"""Reports that are read for something to contradict, before the first step."""


class Conflicts:
    """Finds the conflicting tokens of a pair; what belongs to the report alone is read once.

    Raises UserError where the parts cannot say: a backbone without `spans`, or label sets that
    have no name in common.
    """

    def __init__(self, backbone: Backbone, labeler: Labeler, cases: CaseTable, stage: str) -> None:
        where = _where(stage)
        if not hasattr(backbone, "spans"):
            raise UserError(
                f"{where}, and this backbone cannot say where its tokens lie in the text (it has "
                "no `spans`); set loss.scope to all"
            )
        self._place = {name: i for i, name in enumerate(cases.label_names)}
        if not set(labeler.names) & set(self._place):
            raise UserError(
                f"{where}, but the labeler knows none of the data set's labels "
                f"({', '.join(cases.label_names[:3])}, ...); set loss.scope to all"
            )
        self._spans: Any = backbone.spans
        self._labeler, self._cases, self._where = labeler, cases, where
        self._read: dict[str, Marks] = {}

    def __call__(self, anchor: Case, negative: Negative) -> np.ndarray:
        """(T,) bool of each report token. Where nobody knows what the negative shows, sentences
        that state a finding conflict."""
        report = self._marks(anchor)
        shown = negative.labels
        wrong = [
            (negative.mirrored and bool(sentence.side))
            or any(self._contradicts(shown, *finding) for finding in sentence.findings)
            for sentence in report.sentences
        ]
        return np.asarray([*wrong, False], bool)[
            report.sentence
        ]  # -1, the end of turn, is the last

    def check(self, negatives: Block) -> None:
        """Raises UserError where the first reports say nothing that the sampler's images could
        contradict: the term would be silent from the first step to the last."""
        wanted = contradicted(negatives)
        looked_at = list(self._cases)[:LOOKED_AT]
        for sentence in (each for case in looked_at for each in self._marks(case).sentences):
            named = any(label in self._place for label, _ in sentence.findings)
            if (FINDINGS in wanted and named) or (SIDE in wanted and sentence.side):
                return
        what = "names a side" if SIDE in wanted else "states or denies a finding"
        raise UserError(
            f"{self._where}, and no sentence of the first {len(looked_at)} training reports "
            f"{what}, so '{negatives.name}' would contradict nothing. Does the labeler read the "
            "language of the reports? Otherwise set loss.scope to all"
        )

    def _contradicts(self, shown: np.ndarray | None, label: str, stated: bool) -> bool:
        if shown is None:
            return stated
        place = self._place.get(label)
        return place is not None and bool(shown[place]) != stated

    def _marks(self, anchor: Case) -> Marks:
        if anchor.id not in self._read:
            spans = self._spans([anchor.report])[0]
            self._read[anchor.id] = marks(anchor.report, spans, self._labeler)
        return self._read[anchor.id]


def check_labeler(labeler: Block | None, stage: str) -> None:
    """Raises UserError, before anything is trained, for a labeler that shows no evidence."""
    if labeler is None or not hasattr(labeler.component.load(), "evidence"):
        raise UserError(
            f"{_where(stage)}, which needs a labeler that shows its evidence, such as "
            "`labeler: {use: ct-rate-18}`; or set loss.scope to all"
        )


def _where(stage: str) -> str:
    return f"stages.{stage}: the loss marks conflicting sentences"


def marked(output: StepOutput, rows: Sequence[np.ndarray] | None) -> StepOutput:
    """The output with (T_i,) masks of its B reports as its "conflicting" (B, T) mark."""
    if rows is None:
        return output
    mask = torch.zeros(output.answer.shape, dtype=torch.bool)
    for i, row in enumerate(rows):
        mask[i, : len(row)] = torch.from_numpy(row)
    return replace(output, marks={**output.marks, CONFLICTING: mask.to(output.answer.device)})
