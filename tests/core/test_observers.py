"""Observers see a run and cannot disturb it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from ctfw import hookimpl, load_plugins
from ctfw.observers import Observers


def test_failing_observer_is_reported_once_and_dropped() -> None:
    seen: list[Any] = []

    def good(step: int, values: Any) -> None:
        seen.append((step, values))

    def bad(run: Any) -> None:
        raise RuntimeError("no network")

    hooks = {
        name: SimpleNamespace(ctfw_step_logged=hookimpl(specname="ctfw_step_logged")(function))
        for name, function in (("ctfw-bad", bad), ("ctfw-good", good))
    }
    plugins = load_plugins(discover=False, extra=hooks)
    assert [report.state for report in plugins.reports] == ["loaded", "loaded"]
    told: list[str] = []
    observers = Observers(plugins.manager, told.append)
    for step in (1, 2):
        observers.notify("ctfw_step_logged", run=None, stage="tune", step=step, values={"loss": 1})
    assert seen == [(1, {"loss": 1}), (2, {"loss": 1})]
    assert told == [
        "plugin 'ctfw-bad' failed in ctfw_step_logged and is no longer called: "
        "RuntimeError: no network"
    ]


def test_unknown_event_is_a_mistake_of_the_caller() -> None:
    observers = Observers(load_plugins(discover=False).manager, print)
    with pytest.raises(ValueError, match="did you mean 'ctfw_step_logged'"):
        observers.notify("ctfw_step_loged")
