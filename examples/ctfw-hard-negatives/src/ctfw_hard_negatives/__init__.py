"""Declares the negative sampler `hard`; imports settings only, so that loading it costs nothing."""

from __future__ import annotations

from collections.abc import Iterable

from ctfw import Component, hookimpl

from ctfw_hard_negatives.configs import HardConfig


@hookimpl
def ctfw_negative_samplers() -> Iterable[Component]:
    yield Component(
        "hard",
        "ctfw_hard_negatives.hard:Hard",
        HardConfig,
        "another patient's scan whose labels almost agree",
    )
