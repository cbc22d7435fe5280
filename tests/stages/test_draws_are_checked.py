"""A sampler that breaks its contract ends the training with a message, not with a wrong model."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ctfw.engine.images import ImageBank
from ctfw.errors import UserError
from ctfw.settings import Training
from ctfw.testing import tiny_cases, tiny_volume
from ctfw.types import Negative
from ctfw_plugins.stages.pairs import PairSource
from ctfw_plugins.stages.plan import TrainingPlan


class Broken:
    """Draws whatever it was given, or raises it."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def fit(self, cases: Any) -> None: ...
    def refresh(self, epoch: int, seed: int) -> None: ...
    def summary(self) -> dict[str, Any]:
        return {}

    def draw(self, anchor: Any, rng: np.random.Generator) -> Any:
        if isinstance(self._result, Exception):
            raise self._result
        return Negative(case=anchor) if self._result == "anchor" else self._result


class Bank:
    """Images that nobody looks at."""

    def case(self, case: Any) -> str:
        return case.id

    def negative(self, anchor: Any, negative: Negative) -> str:
        return "negative"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ("anchor", "drew a scan of the same patient for case case-"),
        ("nonsense", "returned 'nonsense' for case case-.*, not a Negative"),
        (KeyError("oops"), "failed for case case-.*: KeyError: 'oops'"),
        (None, "returned None for case case-"),
    ],
)
def test_broken_draw_is_named(result: Any, words: str) -> None:
    cases = tiny_cases()
    plan = TrainingPlan(len(cases), Training(max_steps=1), 0, "tune")
    bank: Any = Bank()
    source = PairSource(cases, bank, plan, Broken(result))
    with pytest.raises(UserError, match=words) as error:
        next(source())
    assert "Broken" in str(error.value)


def test_transform_that_changes_the_shape_is_named() -> None:
    volume = tiny_volume()

    class Pipeline:
        def __call__(self, path: Any, case: Any = None) -> Any:
            return volume

    pipeline: Any = Pipeline()
    bank = ImageBank(pipeline)
    shrink = Negative(transform=lambda v: v.but(array=v.array[:, :4]))
    with pytest.raises(UserError, match=r"case-0 should have the anchor's shape \(12, 28, 28\)"):
        bank.negative(tiny_cases()[0], shrink)
