"""Conformance kit: does a component keep the contract of its kind?

    from ctfw.testing import assert_component
    assert_component("negative_sampler", component)

checks a declaration and the class behind it on tiny data. The built-in plugins pass the same kit.
"""

from __future__ import annotations

from ctfw.testing.data import tiny_cases, tiny_predictions, tiny_volume
from ctfw.testing.kit import assert_component

__all__ = ["assert_component", "tiny_cases", "tiny_predictions", "tiny_volume"]
