"""The recipe itself: what is missing for it, and whether its stages can be built."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from ctfw.doctor.stages import check

NEEDS_NEGATIVES = "stages.tune.loss={use: bounded-contrast}"


def test_stages_that_can_be_built_are_ok_in_their_order(look: Any, make_scene: Any) -> None:
    (found,) = look(check, make_scene())
    assert found.level == "ok"
    assert found.text == "tune -> test: every stage can be built"


def test_parts_that_do_not_fit_together_are_a_problem(look: Any, make_scene: Any) -> None:
    (found,) = look(check, make_scene((), NEEDS_NEGATIVES))
    assert found.level == "problem"
    assert found.text.startswith("stages.tune: loss 'bounded-contrast' needs negatives")


def test_what_the_machine_lacks_is_a_problem(
    look: Any, make_scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import ctfw.engine.launch

    whole = importlib.util.find_spec
    monkeypatch.setattr(
        ctfw.engine.launch, "find_spec", lambda name: None if name == "deepspeed" else whole(name)
    )
    (found,) = look(check, make_scene((), "training.engine=deepspeed-zero2"))
    assert found.level == "problem"
    assert "DS_BUILD_OPS=0 pip install --no-build-isolation deepspeed" in found.text


def test_a_matrix_is_told_of(look: Any, make_scene: Any) -> None:
    recipe = (
        "ctfw: 1\nname: swept\nprofile: phantom\nmatrix: {seed: [1, 2]}\n"
        "stages:\n  tune: {use: finetune, loss: {use: cross-entropy}}\n"
    )
    findings = look(check, make_scene(recipe=recipe))
    assert findings.the("a matrix").level == "note"
    assert findings.bad == []
