"""The sampler keeps the contract of its kind, and its own promises."""

from __future__ import annotations

import numpy as np
import pytest
from ctfw import load_plugins
from ctfw.testing import assert_component, tiny_cases

import ctfw_hard_negatives
from ctfw_hard_negatives.configs import HardConfig
from ctfw_hard_negatives.hard import Hard


def test_component_keeps_the_contract() -> None:
    plugins = load_plugins(discover=False, extra={"mine": ctfw_hard_negatives})
    assert [report.state for report in plugins.reports] == ["loaded"]
    component = plugins.catalog.get("negative_sampler", "mine/hard")  # a built-in has the bare name
    assert_component("negative_sampler", component)


def test_partners_look_alike_and_conflict() -> None:
    cases = tiny_cases(60, seed=1)
    sampler = Hard(HardConfig(pool=1))
    sampler.fit(cases)
    sampler.refresh(0, seed=0)
    drawn = [sampler.draw(case, np.random.default_rng(0)).note["distance"] for case in cases]
    pairs = (cases.labels[:, None] != cases.labels[None]).sum(2)
    assert min(drawn) >= 1
    assert np.mean(drawn) < pairs.mean()


def test_settings_that_leave_no_partner_are_refused() -> None:
    with pytest.raises(ValueError, match="no partner could qualify"):
        HardConfig(min_conflicts=5, max_label_distance=4)
