"""The step of a pair: what the loss is given, and what stops before the weights."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from ctfw.errors import BadData, UserError
from ctfw.types import CaseTable, LossTerms, StepOutput
from ctfw_plugins.losses.bounded_contrast import BoundedContrast
from ctfw_plugins.losses.configs import BoundedContrastConfig, CrossEntropyConfig
from ctfw_plugins.losses.cross_entropy import CrossEntropy
from ctfw_plugins.stages.pairs import Pairs
from ctfw_plugins.stages.step import PairStep, check_finite, joined, part, surrogate


def step_of(backbone: Any, loss: Any, **state: Any) -> tuple[PairStep, list[float]]:
    """A step, and the numbers that its engine is given to differentiate."""
    given: list[float] = []

    def backward(total: torch.Tensor) -> None:
        given.append(float(total.detach()))
        total.backward()

    engine: Any = SimpleNamespace(state=SimpleNamespace(**state), backward=backward)
    return PairStep(backbone, None, loss, engine, "tune"), given


class Weighted:
    """Echo's NLL times a weight, so that there is something to differentiate."""

    def __init__(self, echo: Any) -> None:
        self.echo = echo
        self.weight = torch.ones(1, requires_grad=True)
        self.calls: list[tuple[list[float], list[str]]] = []

    def forward(self, images: list[float], reports: list[str], module: Any) -> StepOutput:
        self.calls.append((images, reports))
        output: StepOutput = self.echo.forward(images, reports)
        return replace(output, nll=output.nll * self.weight)


class Grouped(Weighted):
    """The same, each negative in a group of its own."""

    def forward_pair(
        self, images: list[float], negatives: list[float], reports: list[str], module: Any = None
    ) -> list[StepOutput]:
        apart = [self.forward([n], [r], module) for n, r in zip(negatives, reports, strict=True)]
        return [self.forward(images, reports, module), *apart]


def two(cases: CaseTable) -> Pairs:
    anchors = [replace(cases[i], report=" ".join(["word"] * (i + 1))) for i in range(2)]
    return Pairs(0, anchors, [1.0, 2.0], [5.0, 6.0])


@pytest.mark.parametrize("kind", [Weighted, Grouped])
def test_positive_and_negative_differ_in_the_image_alone(
    kind: type[Weighted], echo: Any, cases: CaseTable
) -> None:
    backbone = kind(echo)
    step, _ = step_of(backbone, BoundedContrast(BoundedContrastConfig(beta=0.5, max_loss=50)))
    terms = step(two(cases), 0.0)
    shown = [image for images, _ in backbone.calls for image in images]
    read = [report for _, reports in backbone.calls for report in reports]
    assert sorted(zip(shown, read, strict=True)) == [
        (1.0, "word"), (2.0, "word word"), (5.0, "word"), (6.0, "word word"),
    ]  # fmt: skip
    # Echo's NLL is image + token index: 1 and 2.5 of the positives, 5 and 6.5 of the negatives.
    assert terms.terms["positive"] == pytest.approx(1.75)
    assert terms.terms["negative"] == pytest.approx(5.75)
    assert float(terms.total) == pytest.approx(1.75 - 0.5 * 5.75)
    # The weight is 1, so that its gradient is what it multiplies.
    assert float(backbone.weight.grad) == pytest.approx(1.75 - 0.5 * 5.75)  # type: ignore[arg-type]


def test_without_negatives_one_pass_is_enough(echo: Any, cases: CaseTable) -> None:
    backbone = Grouped(echo)
    step, _ = step_of(backbone, CrossEntropy(CrossEntropyConfig()))
    terms = step(Pairs(0, [replace(cases[0], report="word")], [3.0], None), 0.0)
    assert terms.terms == {"loss": 3.0, "positive": 3.0}
    assert len(backbone.calls) == 1


@pytest.mark.parametrize(("zero_stage", "kept"), [(2, 1.75 - 2.5 / 2), (3, 1.75 - 2.5 / 2)])
def test_group_at_its_bound_has_no_part_in_the_gradient(
    zero_stage: int, kept: float, echo: Any, cases: CaseTable
) -> None:
    backbone = Grouped(echo)
    loss = BoundedContrast(BoundedContrastConfig(beta=0.5, max_loss=6.0))
    plugin = SimpleNamespace(zero_stage=zero_stage)
    step, given = step_of(backbone, loss, deepspeed_plugin=plugin)
    step(two(cases), 0.0)
    assert float(backbone.weight.grad) == pytest.approx(kept)  # type: ignore[arg-type]
    assert given == [pytest.approx(kept)]


def test_zero3_gets_the_backward_pass_of_every_group() -> None:
    weights = [torch.ones(1, 2, requires_grad=True) for _ in range(2)]
    mask = torch.ones(1, 2, dtype=torch.bool)
    passes = [StepOutput(weight * 3, mask) for weight in weights]
    surrogate(passes, [{0: torch.full((1, 2), 0.5)}, {}]).backward()
    assert [weight.grad.tolist() for weight in weights] == [[[1.5, 1.5]], [[0.0, 0.0]]]  # type: ignore[union-attr]


@pytest.mark.parametrize("detach", [False, True])
def test_loss_that_depends_on_no_weight_is_refused(
    detach: bool, echo: Any, cases: CaseTable
) -> None:
    def loss(positive: StepOutput, negative: StepOutput, progress: float) -> LossTerms:
        total = positive.nll.mean() + negative.nll.mean()
        return LossTerms(total.detach() if detach else total, {})

    backbone = Weighted(echo)
    backbone.weight.requires_grad_(detach)
    step, _ = step_of(backbone, loss)
    with pytest.raises(UserError, match="stage tune: the loss depends on no weight"):
        step(two(cases), 0.0)


def test_groups_of_different_lengths_join_in_order() -> None:
    groups = [
        StepOutput(
            torch.full((2, 3), 1.0), torch.ones(2, 3, dtype=torch.bool), {"x": torch.ones(2, 4)}
        ),
        StepOutput(
            torch.full((1, 2), 2.0), torch.ones(1, 2, dtype=torch.bool), {"x": torch.zeros(1, 4)}
        ),
    ]
    both = joined(groups)
    assert both.nll.tolist() == [[1, 1, 1], [1, 1, 1], [2, 2, 0]]
    assert both.answer.sum(1).tolist() == [3, 3, 2]
    assert both.embeddings["x"].tolist() == [[1] * 4, [1] * 4, [0] * 4]
    assert joined(groups[:1]) is groups[0]


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
        f"stage tune: the loss is {value} at step 7 (cases case-0, case-1). Start a new "
        "run with a lower training.learning_rate or loss.max_loss; `ctfw resume` would repeat the "
        "same steps"
    )
    check_finite(LossTerms(torch.tensor(1.0), {}), pair, "tune")


def test_sample_that_the_backbone_refuses_is_named(echo: Any, cases: CaseTable) -> None:
    class Refusing(Weighted):
        def forward(self, images: list[float], reports: list[str], module: Any) -> StepOutput:
            raise BadData("a sequence of 500 tokens, and the model reads 400")

    step, _ = step_of(Refusing(echo), CrossEntropy(CrossEntropyConfig()))
    with pytest.raises(BadData) as caught:
        step(two(cases), 0.0)
    assert str(caught.value) == (
        "stage tune, step 1 (cases case-0, case-1): a sequence of 500 tokens, and the model reads "
        "400"
    )
