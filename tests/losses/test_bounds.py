"""Each bound is its formula, leaves no gradient where it says so, and survives 16-bit numbers."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw.types import StepOutput
from ctfw_plugins.losses.align_contrast import AlignContrast
from ctfw_plugins.losses.bounded_contrast import BoundedContrast
from ctfw_plugins.losses.configs import AlignContrastConfig, BoundedContrastConfig

BOUNDS = ("clamp", "saturating", "softplus", "unlikelihood", "margin")


def contrast(**settings_: Any) -> BoundedContrast:
    return BoundedContrast(BoundedContrastConfig.model_validate({"scope": "all", **settings_}))


def output(
    rows: list[list[float]],
    marks: list[list[bool]] | None = None,
    dtype: torch.dtype = torch.float64,
) -> StepOutput:
    nll = torch.tensor(rows, dtype=dtype).requires_grad_()
    marked = {} if marks is None else {"conflicting": torch.tensor(marks)}
    return StepOutput(nll, torch.ones(nll.shape, dtype=torch.bool), marks=marked)


def slopes(loss: BoundedContrast, positive: StepOutput, negative: StepOutput) -> Any:
    """(value, terms, gradients of positive and negative)."""
    terms = loss(positive, negative)
    terms.total.backward()
    return float(terms.total.detach()), terms.terms, positive.nll.grad, negative.nll.grad


@pytest.mark.parametrize("value", [0.0, 1.0, 2.9, 3.0, 3.5, 9.0])
def test_softplus_is_a_rounded_hinge(value: float) -> None:
    loss = contrast(bound="softplus", beta=1.0, max_loss=3.0, softness=0.5)
    total, terms, _, pushed = slopes(loss, output([[1.0]]), output([[value]]))
    assert total == pytest.approx(1.0 + 0.5 * math.log1p(math.exp((3.0 - value) / 0.5)))
    assert float(pushed) == pytest.approx(-1 / (1 + math.exp((value - 3.0) / 0.5)))
    assert terms["at_bound"] == (1.0 if value > 3.0 + 0.5 * math.log(19) else 0.0)


def test_softplus_becomes_the_hinge_as_it_gets_sharp() -> None:
    loss = contrast(bound="softplus", beta=1.0, max_loss=3.0, softness=1e-3)
    for value in (0.5, 2.0, 4.0):
        total, *_ = slopes(loss, output([[0.0]]), output([[value]]))
        assert total == pytest.approx(max(0.0, 3.0 - value), abs=1e-2)


def test_margin_asks_for_a_gap_and_pulls_the_positive_too() -> None:
    loss = contrast(bound="margin", beta=0.5, margin=1.0)
    total, terms, pulled, pushed = slopes(
        loss, output([[1.0, 3.0], [1.0, 1.0]]), output([[2.0, 2.5], [4.0, 4.0]])
    )
    gaps = (0.25, 3.0)
    assert total == pytest.approx(1.5 + 0.5 * ((1.0 - gaps[0]) + 0.0) / 2)
    assert terms["at_bound"] == 0.5
    assert "bound" not in terms
    assert pulled[0].tolist() == pytest.approx([0.25 + 0.125] * 2)
    assert pulled[1].tolist() == pytest.approx([0.25] * 2)
    assert pushed[0].tolist() == pytest.approx([-0.125] * 2)
    assert not pushed[1].any()


def test_unlikelihood_is_welleck_s_formula() -> None:
    probabilities = [0.9, 0.5, 0.1]
    rows = [[-math.log(p) for p in probabilities]]
    total, terms, _, _ = slopes(
        contrast(bound="unlikelihood", beta=2.0), output([[0.0, 0.0, 0.0]]), output(rows)
    )
    assert total == pytest.approx(2.0 * sum(-math.log(1 - p) for p in probabilities) / 3)
    assert terms["at_bound"] == 0.0
    assert "bound" not in terms


def test_unlikelihood_pushes_logits_by_the_probability() -> None:
    logits = torch.tensor([[4.0, 1.0, 0.0]], dtype=torch.float64, requires_grad=True)
    nll = torch.nn.functional.cross_entropy(logits, torch.tensor([0]), reduction="none")[None]
    negative = StepOutput(nll, torch.ones(1, 1, dtype=torch.bool))
    positive = output([[0.0]])
    contrast(bound="unlikelihood", beta=1.0)(positive, negative).total.backward()
    assert logits.grad is not None
    probability = torch.softmax(logits.detach(), 1)[0, 0]
    assert float(logits.grad[0, 0]) == pytest.approx(float(probability))


@pytest.mark.parametrize("bound", BOUNDS)
def test_only_marked_tokens_carry_the_negative_term(bound: str) -> None:
    loss = contrast(bound=bound, scope="conflicting", beta=1.0, margin=20.0)
    assert loss.marks == ("conflicting",)
    marks = [[True, False, True], [False, False, False]]
    positive, negative = output([[1.0] * 3] * 2, marks), output([[0.5, 9.0, 1.5], [2.0] * 3], marks)
    _, terms, _, pushed = slopes(loss, positive, negative)
    assert terms["negative"] == pytest.approx(1.0)  # of the one case that has marked tokens
    assert terms["in_scope"] == pytest.approx(2 / 6)
    assert (pushed[0, [0, 2]] < 0).all()
    assert pushed[0, 1] == 0
    assert not pushed[1].any()


@pytest.mark.parametrize("bound", BOUNDS)
def test_batch_without_a_conflict_is_plain_training(bound: str) -> None:
    loss = contrast(bound=bound, scope="conflicting", beta=1.0)
    none = [[False, False]]
    total, terms, _, pushed = slopes(loss, output([[1.0, 3.0]], none), output([[1.0, 1.0]], none))
    assert total == pytest.approx(2.0)
    assert not pushed.any()
    assert terms["without_scope"] == 1.0
    assert not {"negative", "at_bound"} & set(terms), "0 would read as a loss of 0"


def test_unlikelihood_is_of_conflicting_sentences_unless_said_otherwise() -> None:
    assert BoundedContrast(BoundedContrastConfig(bound="unlikelihood")).scope == "conflicting"
    assert BoundedContrast(BoundedContrastConfig()).scope == "all"


def test_scope_without_marks_is_an_error() -> None:
    with pytest.raises(ValueError, match="its tokens are not marked"):
        contrast(scope="conflicting")(output([[1.0]]), output([[1.0]]))


@pytest.mark.parametrize("bound", BOUNDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
@settings(max_examples=25, deadline=None)
@given(values=st.lists(st.floats(0, 200), min_size=4, max_size=4))
def test_sixteen_bit_losses_give_finite_values_and_gradients(
    bound: str, dtype: torch.dtype, values: list[float]
) -> None:
    rows = [values[:2], values[2:]]
    positive, negative = output(rows[::-1], dtype=dtype), output(rows, dtype=dtype)
    total, terms, pulled, pushed = slopes(contrast(bound=bound), positive, negative)
    assert math.isfinite(total)
    assert all(math.isfinite(value) for value in terms.values())
    assert torch.isfinite(pulled).all()
    assert torch.isfinite(pushed).all()
    reference = contrast(bound=bound)(
        output(positive.nll.double().tolist()), output(negative.nll.double().tolist())
    )
    assert total == pytest.approx(float(reference.total.detach()), rel=1e-4, abs=1e-4)


@pytest.mark.parametrize("bound", BOUNDS)
def test_certain_tokens_give_no_infinite_gradient(bound: str) -> None:
    *_, pushed = slopes(contrast(bound=bound), output([[1.0] * 3]), output([[0.0, 1e-9, 1e-3]]))
    assert torch.isfinite(pushed).all()


def embeddings(image: list[list[float]], text: list[list[float]]) -> StepOutput:
    nll = torch.zeros(len(image), 1)
    named = {"image": torch.tensor(image), "text-alone": torch.tensor(text).requires_grad_()}
    return StepOutput(nll, torch.ones(nll.shape, dtype=torch.bool), named)


def test_align_contrast_is_the_symmetric_cross_entropy_over_cosines() -> None:
    loss = AlignContrast(AlignContrastConfig(temperature=0.5, weight=0.1))
    made = embeddings([[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [1.0, 1.0]])
    half = math.sqrt(0.5)
    alike = [[2.0, 2 * half], [0.0, 2 * half]]  # cosine / temperature, rows are images

    def nll(row: list[float], own: int) -> float:
        return math.log(sum(map(math.exp, row))) - row[own]

    columns = [list(column) for column in zip(*alike, strict=True)]
    expected = sum(nll(r, i) for table in (alike, columns) for i, r in enumerate(table)) / 4
    terms = loss(made)
    assert terms.terms["align"] == pytest.approx(expected)
    assert float(terms.total.detach()) == pytest.approx(0.1 * expected)
    assert terms.terms["align_top1"] == 1.0


def test_align_contrast_of_indistinct_embeddings_is_log_of_the_batch() -> None:
    terms = AlignContrast(AlignContrastConfig())(embeddings([[1.0, 1.0]] * 5, [[1.0, 1.0]] * 5))
    assert terms.terms["align"] == pytest.approx(math.log(5))


def test_align_contrast_needs_an_embedding_of_the_text_alone() -> None:
    output_ = embeddings([[1.0]], [[1.0]])
    with pytest.raises(ValueError, match="needs the embeddings text-alone"):
        AlignContrast(AlignContrastConfig())(
            StepOutput(output_.nll, output_.answer, {"image": output_.nll, "text": output_.nll})
        )
