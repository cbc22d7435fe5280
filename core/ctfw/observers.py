"""Telling plugins what happens in a run, without letting them change it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pluggy

from ctfw.errors import did_you_mean
from ctfw.hooks import EVENTS


class Observers:
    """Calls the event hooks of every plugin; one that raises is reported once and dropped.

    `report` receives one line of text for each plugin that is dropped.
    """

    def __init__(self, manager: pluggy.PluginManager, report: Callable[[str], None]) -> None:
        self._manager = manager
        self._report = report
        self._dropped: set[int] = set()

    def notify(self, event: str, **values: Any) -> None:
        """Call `event`, such as `ctfw_step_logged`, of every plugin in order of registration."""
        if event not in EVENTS:
            raise ValueError(f"no event '{event}' {did_you_mean(event, EVENTS)}".rstrip())
        # One call per plugin: pluggy's own multicall stops at the first exception, which would
        # let one observer silence the others.
        for implementation in getattr(self._manager.hook, event).get_hookimpls():
            if id(implementation.plugin) in self._dropped:
                continue
            try:
                implementation.function(*(values[name] for name in implementation.argnames))
            except Exception as error:
                self._dropped.add(id(implementation.plugin))
                self._report(
                    f"plugin '{implementation.plugin_name.partition(':')[0]}' failed in {event} "
                    f"and is no longer called: {type(error).__name__}: {error}"
                )
