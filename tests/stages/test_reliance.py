"""Another patient's image is another patient's, and likelihoods do not depend on batching."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.engine.images import TokenBank
from ctfw.errors import BadData
from ctfw.types import Case, CaseTable, Volume
from ctfw_plugins.stages.reliance import blank, nll_under, noise, report_nll, swap_partners


def of_patients(patients: list[int]) -> list[Case]:
    return [Case(f"c{i}", f"p{p}", Path("x"), "A report.") for i, p in enumerate(patients)]


@given(st.lists(st.integers(0, 6), min_size=2, max_size=40), st.integers(0, 99))
def test_partner_is_never_the_same_patient(patients: list[int], seed: int) -> None:
    cases = of_patients(patients)
    if len(set(patients)) < 2:
        with pytest.raises(BadData, match="at least two patients"):
            swap_partners(cases, seed)
        return
    partners = swap_partners(cases, seed)
    assert len(partners) == len(cases)
    assert all(mine.patient != other.patient for mine, other in zip(cases, partners, strict=True))
    if 2 * max(Counter(patients).values()) <= len(patients):
        # A derangement by patients exists, so everybody is shown exactly once.
        assert Counter(case.id for case in partners) == Counter(case.id for case in cases)


def test_partners_follow_the_seed() -> None:
    cases = of_patients(list(range(20)))
    ids = [[case.id for case in swap_partners(cases, seed)] for seed in (0, 0, 1)]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_likelihood_does_not_depend_on_the_batch(echo: Any, cases: CaseTable) -> None:
    images = [float(i) for i in range(len(cases))]
    # Reports of different lengths stand in one batch and are padded.
    reports = [" ".join(["word"] * (1 + i % 5)) for i in range(len(cases))]
    expected = [i + (i % 5) / 2 for i in range(len(cases))]  # mean of i, i + 1, ...
    for batch in (1, 2, 5, 100):
        assert report_nll(echo, images, reports, batch).tolist() == pytest.approx(expected)
    assert report_nll(echo, [], [], 4).shape == (0,)


def test_module_is_left_in_the_mode_it_was_in(echo: Any) -> None:
    class Modal(type(echo)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.own = super().module()

        def module(self) -> Any:
            return self.own

    backbone = Modal()
    for training in (True, False):
        backbone.module().train(training)
        report_nll(backbone, [1.0], ["one"], 1)
        assert backbone.module().training is training


def test_each_image_is_read_under_its_name(echo: Any, bank: TokenBank, cases: CaseTable) -> None:
    few = [replace(case, report="one") for case in cases]
    found = nll_under(echo, bank, few, seed=4, batch=5)
    partners = swap_partners(few, 4)
    own = np.arange(12) / 100
    other = np.array([int(case.id.split("-")[1]) for case in partners]) / 100
    assert set(found) == {"own", "another", "noise", "blank"}
    np.testing.assert_allclose(found["own"], own, atol=1e-6)
    np.testing.assert_allclose(found["another"], other, atol=1e-6)
    np.testing.assert_allclose(found["blank"], 1.0)
    assert (found["noise"] < 0.05).all()


def test_noise_and_blank_keep_the_shape() -> None:
    source = Volume(np.zeros((4, 28, 28), np.float32), np.eye(4), "normalised")
    one, again, other = (noise(source, seed).array for seed in (1, 1, 2))
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert one.shape == (4, 28, 28)
    assert np.abs(one).max() <= 1
    assert np.array_equal(blank(source).array, np.full((4, 28, 28), -1.0, np.float32))
