"""The ways in which training against negatives fails, each in a training of seconds.

They are why there are bounds: docs/explanation/negative_losses.md tells the story. The trainings
are shared by the tests of this file; all together take about a minute.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
from small_training import Outcome, another, noise, train

from ctfw_plugins.losses.bounded_contrast import BoundedContrast
from ctfw_plugins.losses.configs import BoundedContrastConfig, CrossEntropyConfig
from ctfw_plugins.losses.cross_entropy import CrossEntropy

pytestmark = pytest.mark.slow
NEVER = 1e6  # nats: a bound that is out of reach


@cache
def origin() -> Outcome:
    return train(CrossEntropy(CrossEntropyConfig()))


@cache
def against(negative: Any, **settings: Any) -> Outcome:
    settings = {"scope": "all", **settings}
    return train(BoundedContrast(BoundedContrastConfig.model_validate(settings)), negative)


def test_plain_training_learns_the_template_first_and_the_image_later() -> None:
    found = origin()
    assert found.mentioned == 1.0
    assert found.stopped == 1.0
    assert found.over("positive", 0.9, 1.0) < 0.1
    assert 0.02 < found.gap < 0.5  # it has begun to look


def test_without_a_bound_the_negative_loss_explodes() -> None:
    found = against(another, beta=0.6, max_loss=NEVER)
    thirds = [found.over("negative", start, start + 0.2) for start in (0.3, 0.5, 0.8)]
    assert thirds[0] < thirds[1] < thirds[2]
    assert thirds[2] > 4.0
    assert found.over("at_bound", 0, 1) == 0.0


def test_without_a_bound_the_positive_loss_is_dragged_up() -> None:
    found = against(another, beta=0.6, max_loss=NEVER)
    assert found.over("positive", 0.8, 1.0) > 1.5 * found.over("positive", 0.3, 0.5)
    assert found.nll > 5 * origin().nll


def test_large_beta_ends_in_silence() -> None:
    found = against(another, beta=2.0, max_loss=6.0)
    assert found.mentioned < 0.1
    assert found.f1 < 0.1
    assert found.stopped < 0.5  # it does not even end
    assert found.over("at_bound", 0.5, 1.0) > 0.3  # although the bound holds


def test_white_noise_sits_at_the_bound_and_teaches_nothing() -> None:
    found = against(noise, beta=0.1)
    assert found.over("at_bound", 0.5, 1.0) > 0.9
    assert found.over("negative", 0.5, 1.0) > 2 * found.over("bound", 0.5, 1.0)
    assert abs(found.gap - origin().gap) < 0.2
    assert found.f1 < origin().f1 + 0.1


def test_likelihood_gap_rises_while_f1_falls() -> None:
    found = against(another, beta=0.6, max_loss=6.0)
    assert found.gap > 10 * origin().gap
    assert found.f1 < origin().f1 - 0.2


def test_margin_raises_the_gap_without_any_of_that() -> None:
    found = against(another, beta=0.6, bound="margin", margin=2.0)
    assert found.gap > 3 * origin().gap
    assert found.f1 > origin().f1 - 0.1
    assert found.nll < 2 * origin().nll
    assert found.stopped == 1.0
