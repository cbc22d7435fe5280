"""Before step 0: every sample fits, or is named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ctfw.doctor.footprint import footprint
from ctfw.engine.images import ImageBank
from ctfw.errors import BadData
from ctfw.model_plan import ModelPlan, Stack
from ctfw.progress import size_of
from ctfw.settings import Training
from ctfw.types import Case, CaseTable, Volume
from ctfw_plugins.stages.lengths import Lengths, measured

PLAN = ModelPlan(
    grid=(5, 8, 8),
    patches=1280,
    bytes_per_parameter=2,
    source="a test",
    prompt_tokens=30,
    context_length=400,
    vision_parameters=10_000_000,
    language_parameters=90_000_000,
    vision=Stack(4, 128, 512),
    language=Stack(4, 256, 1024),
    vocabulary=1000,
    count_tokens=lambda reports: [len(report.split()) + 1 for report in reports],
)


class Planning:
    """A backbone that only says what things cost."""

    def __init__(self, plan: ModelPlan = PLAN) -> None:
        self.asked: list[tuple[tuple[int, ...], int]] = []
        self._plan = plan

    def plan(self, volume: Volume, corpus: Sequence[str]) -> ModelPlan:
        self.asked.append((volume.array.shape, len(corpus)))
        return self._plan


def with_words(cases: CaseTable, counts: Sequence[int]) -> list[Case]:
    words = [" ".join(["word"] * count) for count in counts]
    return [replace(case, report=text) for case, text in zip(cases, words, strict=False)]


def lengths(backbone: Any, images: ImageBank, cases: Sequence[Case]) -> Lengths:
    found = measured(backbone, images, cases)
    assert found is not None
    return found


def test_lengths_are_those_of_image_prompt_and_every_report(
    images: ImageBank, cases: CaseTable
) -> None:
    backbone = Planning()
    found = lengths(backbone, images, with_words(cases, [4, 9, 49]))
    assert backbone.asked == [((4, 28, 28), 3)]
    assert found.around == 350
    assert found.reports.tolist() == [5, 10, 50]  # 400 tokens, the most that the model reads


def test_plan_is_told_with_its_memory(images: ImageBank, cases: CaseTable) -> None:
    found = lengths(Planning(), images, with_words(cases, [4, 9, 49]))
    training = Training(precision="bfloat16")
    first, second, third = found.told(training, pairs=True, frozen=True, processes=1)
    assert first == (
        "sequences: 320 visual tokens, 30 of the prompt, reports of 10 (median) to 50: at most 400 "
        "of 400; nothing is cut"
    )
    known = footprint(PLAN, training, pairs=True, report_tokens=50, frozen_vision=True, processes=1)
    assert known is not None
    assert second.startswith(f"memory of a step: about {size_of(known.total)} (weights ")
    assert f"gradients {size_of(known.gradients)}, optimizer {size_of(known.optimizer)}" in second
    assert third == "visual tokens on disk: 164 kB per scan"
    assert len(found.told(training, pairs=True, frozen=False, processes=1)) == 2


def test_negatives_count_in_the_memory(images: ImageBank, cases: CaseTable) -> None:
    found = lengths(Planning(), images, with_words(cases, [4, 9]))
    alone, pairs = (
        found.told(Training(), pairs=each, frozen=False, processes=1)[1] for each in (False, True)
    )
    assert alone != pairs


def test_sample_that_does_not_fit_is_named(images: ImageBank, cases: CaseTable) -> None:
    with pytest.raises(BadData) as caught:
        measured(Planning(), images, with_words(cases, [4, 50, 3]))  # type: ignore[arg-type]
    assert str(caught.value) == (
        "case case-1 has more tokens than the 400 that the model reads; the longest, case-1, 401: "
        "320 of the image, 30 of the prompt, 51 of the report. Fewer slices, a smaller size_px, or "
        "leave these cases out; nothing is cut silently"
    )
    with pytest.raises(BadData, match=r"cases case-0, case-1, case-2 and 2 more have more tokens"):
        measured(Planning(), images, with_words(cases, [60] * 5))  # type: ignore[arg-type]


def test_empty_report_is_named(images: ImageBank, cases: CaseTable) -> None:
    table = with_words(cases, [4, 0, 3, 0])
    with pytest.raises(BadData, match=r"^cases case-1, case-3 have an empty report"):
        measured(Planning(), images, table)  # type: ignore[arg-type]


def test_backbone_that_cannot_tell_is_believed(
    images: ImageBank, echo: Any, cases: CaseTable
) -> None:
    assert measured(echo, images, with_words(cases, [4])) is None
    silent = Planning(replace(PLAN, count_tokens=None))
    assert measured(silent, images, with_words(cases, [4])) is None  # type: ignore[arg-type]


def test_context_that_nobody_knows_limits_nothing(images: ImageBank, cases: CaseTable) -> None:
    found = lengths(Planning(replace(PLAN, context_length=None)), images, with_words(cases, [900]))
    assert np.array_equal(found.reports, [901])
    text = found.told(Training(), pairs=False, frozen=False, processes=1)[0]
    assert text.endswith("at most 1,251; nothing is cut")
