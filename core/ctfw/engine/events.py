"""Telling observers: a plugin may watch a run, and can neither change nor stop it."""

from __future__ import annotations

import sys
from typing import Any


class Observers:
    """Calls the event hooks of every plugin; one that raises is reported once and dropped."""

    def __init__(self, manager: Any) -> None:
        self._manager = manager
        self._dropped: set[int] = set()

    def tell(self, hook: str, **values: Any) -> None:
        """Call `hook` of each plugin in turn."""
        caller = getattr(self._manager.hook, hook, None) if self._manager else None
        if caller is None:
            return
        for implementation in caller.get_hookimpls():
            if id(implementation) in self._dropped:
                continue
            accepted = {name: values[name] for name in implementation.argnames if name in values}
            try:
                implementation.function(**accepted)
            except Exception as error:  # an observer's fault must not cost the run
                self._dropped.add(id(implementation))
                print(
                    f"plugin '{implementation.plugin_name}' failed in {hook} and is no longer "
                    f"told of it: {type(error).__name__}: {error}",
                    file=sys.stderr,
                )
