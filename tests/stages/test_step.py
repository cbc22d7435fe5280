"""The step of a pair: what the loss is given, and what stops before the weights."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ctfw.errors import UserError
from ctfw.types import CaseTable, LossTerms, StepOutput
from ctfw_plugins.losses.bounded_contrast import BoundedContrast
from ctfw_plugins.losses.configs import BoundedContrastConfig, CrossEntropyConfig
from ctfw_plugins.losses.cross_entropy import CrossEntropy
from ctfw_plugins.stages.pairs import Pairs
from ctfw_plugins.stages.step import PairStep, check_finite, part


def step_of(backbone: Any, loss: Any) -> PairStep:
    """A step whose backward pass does nothing."""
    engine: Any = SimpleNamespace(backward=lambda total: None)
    return PairStep(backbone, None, loss, engine, "tune")


def test_positive_and_negative_differ_in_the_image_alone(echo: Any, cases: CaseTable) -> None:
    calls: list[tuple[list[float], list[str]]] = []

    class Spy:
        def forward(self, images: list[float], reports: list[str], module: Any) -> StepOutput:
            calls.append((images, reports))
            return echo.forward(images, reports)

    loss = BoundedContrast(BoundedContrastConfig(beta=0.5, max_loss=50))
    anchors = [replace(cases[i], report=" ".join(["word"] * (i + 1))) for i in range(2)]
    pair = Pairs(0, anchors, [1.0, 2.0], [5.0, 6.0])
    terms = step_of(Spy(), loss)(pair, 0.0)
    assert calls == [([1.0, 2.0, 5.0, 6.0], ["word", "word word"] * 2)]
    # Echo's NLL is image + token index: 1 and 2.5 of the positives, 5 and 6.5 of the negatives.
    assert terms.terms["positive"] == pytest.approx(1.75)
    assert terms.terms["negative"] == pytest.approx(5.75)
    assert float(terms.total) == pytest.approx(1.75 - 0.5 * 5.75)


def test_without_negatives_one_pass_is_enough(echo: Any, cases: CaseTable) -> None:
    pair = Pairs(0, [replace(cases[0], report="word")], [3.0], None)
    terms = step_of(echo, CrossEntropy(CrossEntropyConfig()))(pair, 0.0)
    assert terms.terms == {"loss": 3.0, "positive": 3.0}


def test_part_of_a_batch_keeps_its_embeddings() -> None:
    output = StepOutput(
        torch.arange(8.0).view(4, 2), torch.ones(4, 2, dtype=torch.bool), {"x": torch.arange(4)}
    )
    half = part(output, 2, 4)
    assert half.nll.tolist() == [[4, 5], [6, 7]]
    assert half.answer.shape == (2, 2)
    assert half.embeddings["x"].tolist() == [2, 3]


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_loss_that_is_no_number_stops_before_the_weights(value: float, cases: CaseTable) -> None:
    pair = Pairs(6, [cases[0], cases[1]], [], None)
    terms = LossTerms(torch.tensor(value), {})
    with pytest.raises(UserError) as caught:
        check_finite(terms, pair, "tune")
    assert str(caught.value) == (
        f"stage tune: the loss is {value} at step 7 (cases case-0, case-1). Lower "
        "training.learning_rate or loss.max_loss; the last checkpoint is kept, `ctfw resume` goes "
        "on from it"
    )
    check_finite(LossTerms(torch.tensor(1.0), {}), pair, "tune")
