"""The losses are the formulas that they name, gradient included."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from ctfw.types import LossTerms, StepOutput
from ctfw_plugins.losses.bounded_contrast import BoundedContrast
from ctfw_plugins.losses.configs import BoundedContrastConfig, CrossEntropyConfig
from ctfw_plugins.losses.cross_entropy import CrossEntropy


def output(rows: list[list[float]], length: int | None = None) -> StepOutput:
    """Rows of token NLL as one batch; what lies behind a row's end is noise that must not count."""
    length = length or max(map(len, rows))
    nll = torch.full((len(rows), length), 77.0, dtype=torch.float64)
    answer = torch.zeros(len(rows), length, dtype=torch.bool)
    for i, row in enumerate(rows):
        nll[i, : len(row)] = torch.tensor(row, dtype=torch.float64)
        answer[i, : len(row)] = True
    return StepOutput(nll.requires_grad_(), answer)


def contrast(**settings: Any) -> BoundedContrast:
    return BoundedContrast(BoundedContrastConfig.model_validate(settings))


def run(loss: BoundedContrast, positive: StepOutput, negative: StepOutput, at: float = 0.0) -> Any:
    """(terms, gradient of the positive, gradient of the negative)."""
    terms = loss(positive, negative, progress=at)
    terms.total.backward()
    terms = LossTerms(terms.total.detach(), terms.terms)
    return terms, positive.nll.grad, negative.nll.grad


POSITIVE = [[1.0, 2.0, 3.0], [4.0]]  # means 2 and 4
NEGATIVE = [[0.5, 1.5, 1.0], [9.0]]  # means 1 and 9


def test_clamped_loss_is_the_formula() -> None:
    loss = contrast(alpha=2.0, beta=0.25, bound="clamp", max_loss=3.0)
    terms, pulled, pushed = run(loss, output(POSITIVE), output(NEGATIVE))
    assert float(terms.total) == pytest.approx(2.0 * 3.0 - 0.25 * (1.0 + 3.0) / 2)
    # Cases count the same, tokens share their case's weight.
    assert torch.allclose(pulled, torch.tensor([[1 / 3, 1 / 3, 1 / 3], [1, 0, 0]]).double())
    third = -0.25 / 2 / 3
    assert pushed[0].tolist() == pytest.approx([third] * 3)
    assert pushed[1].tolist() == [0.0, 0.0, 0.0]  # exactly zero above the bound


def test_only_the_case_above_the_bound_stops_being_pushed() -> None:
    loss = contrast(bound="clamp", max_loss=3.0)
    _, _, pushed = run(loss, output(POSITIVE), output([[2.9, 2.9], [3.1, 3.1]]))
    assert (pushed[0] < 0).all()
    assert not pushed[1].any()


def test_saturating_loss_has_slope_one_at_zero_and_approaches_the_bound() -> None:
    loss = contrast(alpha=1.0, beta=1.0, bound="saturating", max_loss=2.0)
    for value in (0.0, 0.5, 2.0, 8.0):
        terms, _, pushed = run(loss, output([[1.0]]), output([[value]]))
        assert float(terms.total) == pytest.approx(1.0 - 2.0 * (1 - math.exp(-value / 2.0)))
        assert float(pushed) == pytest.approx(-math.exp(-value / 2.0))
    assert float(run(loss, output([[0.0]]), output([[400.0]]))[0].total) == pytest.approx(-2.0)


@pytest.mark.parametrize("bound", ["clamp", "saturating"])
def test_beta_zero_is_alpha_times_cross_entropy(bound: str) -> None:
    plain = CrossEntropy(CrossEntropyConfig())(output(POSITIVE))
    terms, pulled, pushed = run(
        contrast(alpha=1.5, beta=0.0, bound=bound), output(POSITIVE), output(NEGATIVE)
    )
    assert float(terms.total) == pytest.approx(1.5 * float(plain.total.detach()))
    assert not pushed.any()
    own = output(POSITIVE)
    (1.5 * CrossEntropy(CrossEntropyConfig())(own).total).backward()
    assert torch.equal(pulled, own.nll.grad)


@pytest.mark.parametrize("bound", ["clamp", "saturating"])
def test_tokens_behind_the_report_do_not_count(bound: str) -> None:
    loss = contrast(bound=bound, max_loss=20.0)
    short, _, _ = run(loss, output(POSITIVE), output(NEGATIVE))
    long, pulled, pushed = run(loss, output(POSITIVE, 9), output(NEGATIVE, 7))
    assert float(long.total) == pytest.approx(float(short.total))
    assert not pulled[:, 3:].any()
    assert not pushed[1, 1:].any()


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"beta_schedule": "constant"}, [0.2, 0.2, 0.2, 0.2, 0.2]),
        ({"beta_schedule": "ramp", "ramp_share": 0.5}, [0.0, 0.1, 0.2, 0.2, 0.2]),
        ({"beta_schedule": "ramp", "ramp_share": 1.0}, [0.0, 0.05, 0.1, 0.15, 0.2]),
        (
            {"beta_schedule": "decay"},
            [0.2, 0.1 * (1 + math.sqrt(0.5)), 0.1, 0.1 * (1 - math.sqrt(0.5)), 0.0],
        ),
    ],
)
def test_beta_follows_its_schedule(settings: dict[str, Any], expected: list[float]) -> None:
    loss = contrast(beta=0.2, max_loss=50.0, **settings)
    for progress, beta in zip((0.0, 0.25, 0.5, 0.75, 1.0), expected, strict=True):
        terms, _, _ = run(loss, output(POSITIVE), output(NEGATIVE), progress)
        assert terms.terms["beta"] == pytest.approx(beta)
        assert float(terms.total) == pytest.approx(3.0 - beta * 5.0)


def test_every_term_is_logged() -> None:
    terms, _, _ = run(contrast(beta=0.1), output(POSITIVE), output(NEGATIVE))
    assert terms.terms == {
        "loss": pytest.approx(3.0 - 0.1 * 2.0),
        "positive": 3.0,
        "negative": 5.0,  # as it is, not as it is bounded
        "bound": 3.0,
        "at_bound": 0.5,
        "beta": 0.1,
    }
    assert all(type(value) is float for value in terms.terms.values())


def test_saturating_bound_counts_as_reached_where_the_gradient_is_gone() -> None:
    loss = contrast(bound="saturating", max_loss=1.0)
    terms, _, _ = run(loss, output(POSITIVE), output([[2.9], [3.1]]))  # exp(-3) is .05
    assert terms.terms["at_bound"] == 0.5


def test_contrast_without_a_negative_is_an_error() -> None:
    with pytest.raises(ValueError, match="bounded-contrast needs negatives"):
        contrast()(output(POSITIVE))


def test_cross_entropy_is_the_mean_over_cases() -> None:
    positive = output(POSITIVE, 6)
    terms: LossTerms = CrossEntropy(CrossEntropyConfig())(positive)
    assert float(terms.total.detach()) == pytest.approx(3.0)
    assert terms.terms == {"loss": pytest.approx(3.0), "positive": pytest.approx(3.0)}
    assert not CrossEntropy.uses_negative
