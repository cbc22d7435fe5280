"""Every built-in passes the kit that third parties use, and the kit catches what it should."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ctfw.component import KINDS, Component
from ctfw.plugins import load_plugins
from ctfw.testing import assert_component, tiny_cases
from ctfw.types import Negative

BUILTINS = [c for c in load_plugins().catalog.all() if c.provider == "ctfw"]
SETTINGS: dict[str, dict[str, Any]] = {"ct-rate": {"root": "somewhere"}}


@pytest.mark.parametrize("component", BUILTINS, ids=lambda c: f"{c.kind}-{c.name}")
def test_builtin_keeps_its_contract(component: Component, monkeypatch: pytest.MonkeyPatch) -> None:
    # Adapters import their package when they are built, so their class is checked without it.
    monkeypatch.setattr(Component, "missing", lambda self: [])
    assert_component(component.kind, component, SETTINGS.get(component.name))


def test_every_kind_has_a_builtin() -> None:
    assert {component.kind for component in BUILTINS} == set(KINDS)


class SamePatient:
    """Breaks the contract: draws the anchor itself."""

    def __init__(self, config: Any, context: Any) -> None:
        pass

    def fit(self, cases: Any) -> None: ...
    def refresh(self, epoch: int, seed: int) -> None: ...
    def draw(self, anchor: Any, rng: Any) -> Negative:
        return Negative(case=anchor)

    def summary(self) -> dict[str, Any]:
        return {}


class Unrepeatable(SamePatient):
    """Breaks the contract: ignores the generator that it is given."""

    def fit(self, cases: Any) -> None:
        self._cases = cases

    def draw(self, anchor: Any, rng: Any) -> Negative:
        others = [case for case in self._cases if case.patient != anchor.patient]
        return Negative(case=others[np.random.default_rng().integers(len(others))])


class WithoutSummary:
    def __init__(self, config: Any, context: Any) -> None:
        pass

    def fit(self, cases: Any) -> None: ...
    def refresh(self, epoch: int, seed: int) -> None: ...
    def draw(self, anchor: Any, rng: Any) -> Negative:
        return Negative(case=tiny_cases()[0])


@pytest.mark.parametrize(
    ("target", "words"),
    [
        (SamePatient, "never the same patient"),
        (Unrepeatable, "must draw the same negative"),
        (WithoutSummary, "needs the method summary"),
    ],
)
def test_kit_names_what_is_broken(
    target: type, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gauss = next(c for c in BUILTINS if c.name == "gauss")
    monkeypatch.setattr(Component, "load", lambda self: target)
    with pytest.raises(AssertionError, match=words):
        assert_component("negative_sampler", replace(gauss))


def test_kit_refuses_an_unknown_kind() -> None:
    with pytest.raises(AssertionError, match="unknown kind"):
        assert_component("sampler", BUILTINS[0])
