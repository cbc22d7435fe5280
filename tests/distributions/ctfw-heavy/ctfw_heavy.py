"""A plugin that imports a heavy package to declare nothing much."""

import evaluate  # noqa: F401

from ctfw import Component, Strict, hookimpl


@hookimpl
def ctfw_losses():
    yield Component("heavy-loss", "ctfw_heavy:Loss", Strict, "a loss that came at a price")
