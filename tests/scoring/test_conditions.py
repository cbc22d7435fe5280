"""`grounded_gain < 0.1` is read, refused in words, and judged by value or by interval."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.errors import UserError
from ctfw.scoring.assess import assess
from ctfw.scoring.conditions import (
    check_names,
    numbers_of,
    parse,
    parse_all,
    reasons,
    value_names,
)
from ctfw.scoring.facts import generation_facts
from ctfw.types import Prediction, Scores
from ctfw_plugins.metrics.accuracy import Accuracy
from ctfw_plugins.metrics.bleu import Bleu
from ctfw_plugins.metrics.configs import AccuracyConfig, BleuConfig

NUMBERS = {"grounded_gain": (0.2, 0.05, 0.35), "macro_f1": (0.5, math.nan, math.nan)}


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ("grounded_gain < 0.1", False),
        ("grounded_gain < 0.2", False),
        ("grounded_gain <= 0.2", True),
        ("grounded_gain<.3", True),
        ("grounded_gain > 0.2", False),
        ("grounded_gain >= 0.2", True),
        (" grounded-gain.low < 1e-1 ", True),
        ("grounded_gain.low <= 0", False),
        ("grounded_gain.high > 0.3", True),
        ("macro-f1 < -1", False),
    ],
)
def test_condition_compares_the_value_or_an_end(text: str, met: bool) -> None:
    assert bool(parse(text).reason(NUMBERS)) is met


@given(st.floats(-10, 10), st.floats(-10, 10))
def test_exactly_one_of_less_and_not_less_holds(value: float, limit: float) -> None:
    numbers = {"x": (value, math.nan, math.nan)}
    less, not_less = parse(f"x < {limit!r}"), parse(f"x >= {limit!r}")
    assert bool(less.reason(numbers)) != bool(not_less.reason(numbers))


def test_reason_names_the_number_and_its_interval() -> None:
    assert parse("grounded_gain < 0.3").reason(NUMBERS) == (
        "grounded_gain < 0.3: grounded_gain is 0.200 [0.050, 0.350]"
    )
    assert parse("macro_f1 > 0").reason(NUMBERS) == "macro_f1 > 0: macro_f1 is 0.500"


@pytest.mark.parametrize("text", ["macro_f1.low < 0", "absent < 0", "absent > 0"])
def test_what_is_not_defined_fails(text: str) -> None:
    assert "is not defined here, so nothing is shown" in parse(text).reason(NUMBERS)


@pytest.mark.parametrize(
    "text",
    ["", "grounded_gain", "< 0.1", "a = 1", "a < b", "a < nan", "a < inf", "a.mid < 1", "1 < a"],
)
def test_what_is_no_condition_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no condition|is not a number"):
        parse(text)
    with pytest.raises(UserError, match=r"^--fail-if: "):
        parse_all([text], "--fail-if")


class Fussy:
    """A metric that cannot score nothing."""

    needs_labels = False

    def score(self, predictions: Sequence[Prediction], **_: Any) -> Scores:
        raise ValueError("nothing to score")


METRICS = [Bleu(BleuConfig()), Accuracy(AccuracyConfig())]


def test_names_are_those_that_the_metrics_will_give() -> None:
    assert value_names(METRICS[0], 18) == ["bleu-1", "bleu-2", "bleu-3", "bleu-4"]
    names = value_names(METRICS[1], 4)
    assert names is not None
    assert "macro-f1" in names
    assert value_names(Fussy(), 18) is None  # type: ignore[arg-type]
    for text in ("bleu_4 < 1", "macro-f1 < 1", "grounded_gain < 1", "empty_share > 0"):
        check_names([parse(text)], METRICS, 18, "here")


def test_unknown_name_is_refused_with_the_close_one() -> None:
    with pytest.raises(UserError, match=r"here: there is no number 'macro_f2'.*'macro_f1'"):
        check_names([parse("macro-f2 < 1")], METRICS, 18, "here")


def test_metric_that_cannot_tell_lets_any_name_through() -> None:
    check_names([parse("my_score < 1")], [*METRICS, Fussy()], 18, "here")  # type: ignore[list-item]


def test_numbers_are_those_of_the_assessment() -> None:
    class Letters:
        names = ("a", "b")
        signature = "letters"

        def label(self, texts: Sequence[str]) -> np.ndarray:
            return np.array([["a" in t, "b" in t] for t in texts], np.int8).reshape(-1, 2)

    made = [Prediction(f"c{i}", f"p{i}", t, t) for i, t in enumerate(("a", "b", "a b", "a b"))]
    swapped = [Prediction(f"c{i}", f"p{i}", "", p.reference) for i, p in enumerate(made)]
    nll = {"own": np.zeros(4), "another": np.ones(4), "noise": np.full(4, 3.0)}
    found = assess(made, {"accuracy": METRICS[1]}, Letters(), (), swapped, nll, resamples=100)
    numbers = numbers_of(found, generation_facts(made))
    assert numbers["grounded_gain"][0] == 1.0
    assert numbers["likelihood_reliance"] == (1, 1, 1)
    assert numbers["likelihood_noise"] == (3, 3, 3)
    assert numbers["macro_f1"][0] == 1.0
    assert numbers["distinct_share"][0] == 0.75
    assert numbers["empty_share"][0] == 0
    assert reasons([parse("distinct_share < 0.8"), parse("empty_share > 0")], numbers) == [
        "distinct_share < 0.8: distinct_share is 0.750"
    ]


@pytest.mark.parametrize("name", ["distinct_share", "truncated-share", "empty_share"])
@pytest.mark.parametrize("end", [".low", ".high"])
def test_share_without_an_interval_is_refused_at_once(name: str, end: str) -> None:
    plain = name.replace("-", "_")
    with pytest.raises(ValueError, match=f"{plain} has no interval; write {plain} < 0.9"):
        parse(f"{name}{end} < 0.9")
    assert parse(f"{name} < 0.9").end == ""
