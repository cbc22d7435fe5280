"""Several seeds: both sources of variance are in the interval, and said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ctfw.scoring.intervals import percentile
from ctfw.scoring.resample import mean_interval, resample
from ctfw.scoring.seeds import over_seeds, seed_difference, t_p_value, t_quantile
from ctfw.types import Scores


def drawn(rows: np.ndarray, n: int = 500) -> tuple[np.ndarray, np.ndarray]:
    """(K, N) scores of seeds by case -> values (K,) and draws (K, n), each case a patient."""
    patients = [str(i) for i in range(rows.shape[1])]
    runs = [Scores({}, "test", per_case={"m": row}) for row in rows]
    return rows.mean(1), np.stack([draws["m"] for draws in resample(runs, patients, n)])


def test_mean_and_both_standard_deviations_are_said() -> None:
    rng = np.random.default_rng(0)
    patients = rng.normal(size=200)
    rows = patients + np.array([[0.3], [0.0], [-0.6]])
    found = over_seeds(*drawn(rows, 2000), 200)
    assert found.value == pytest.approx(rows.mean())
    assert (found.seeds, found.undefined) == (3, 0)
    assert found.sd_seeds == pytest.approx(np.std([0.3, 0, -0.6], ddof=1))
    assert found.sd_patients == pytest.approx(patients.std() / math.sqrt(200), rel=0.08)


def test_combined_interval_is_that_of_satterthwaite() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(1)
    values, draws = drawn(rng.normal(size=(4, 50)) + rng.normal(size=(4, 1)))
    found = over_seeds(values, draws, 50)
    within, between = draws.mean(0).var(ddof=1), values.var(ddof=1) / 4
    free = (within + between) ** 2 / (within**2 / 49 + between**2 / 3)
    low, high = stats.t.interval(0.95, free, values.mean(), math.sqrt(within + between))
    assert (found.low, found.high) == pytest.approx((low, high), rel=1e-5)


def test_one_seed_has_the_interval_over_patients_and_no_variance_between_seeds() -> None:
    row = np.random.default_rng(2).normal(size=40)
    found = over_seeds(*drawn(row[None]), 40)
    assert (found.low, found.high) == mean_interval(row, [str(i) for i in range(40)], 500)[1:]
    assert math.isnan(found.sd_seeds)


def test_seeds_that_agree_leave_the_variance_over_patients() -> None:
    row = np.random.default_rng(3).normal(size=60)
    found = over_seeds(*drawn(np.stack([row, row, row]), 4000), 60)
    assert found.sd_seeds == 0
    single = percentile(drawn(row[None], 4000)[1][0])
    assert (found.low, found.high) == pytest.approx(single, abs=0.03)


def test_more_variance_between_seeds_widens_the_interval() -> None:
    row = np.random.default_rng(4).normal(size=60)
    spread = np.array([[-1.0], [0.0], [1.0]])
    widths = []
    for factor in (0.0, 0.1, 0.5, 2.0):
        found = over_seeds(*drawn(row + factor * spread), 60)
        widths.append(found.high - found.low)
    assert widths == sorted(widths)
    assert widths[-1] > 4 * widths[0]


def test_method_that_is_better_with_every_seed_differs() -> None:
    rng = np.random.default_rng(5)
    patients = rng.normal(size=80)
    a = patients + 1.0 + 0.02 * rng.normal(size=(3, 80)) + 0.05 * rng.normal(size=(3, 1))
    b = patients + 0.02 * rng.normal(size=(3, 80)) + 0.05 * rng.normal(size=(3, 1))
    better = seed_difference(*drawn(a), *drawn(b), 80)
    assert better.low > 0.8
    assert better.p < 0.001
    back = seed_difference(*drawn(b), *drawn(a), 80)
    assert back[:4] == pytest.approx((-better.value, -better.high, -better.low, better.p))


def test_variance_of_one_seed_is_taken_from_the_other_method() -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(1, 30)), rng.normal(size=(4, 30)) + 2 * rng.normal(size=(4, 1))
    found = seed_difference(*drawn(a), *drawn(b), 30)
    pooled = b.mean(1).var(ddof=1) * (1 + 1 / 4)
    width = found.high - found.low
    assert width == pytest.approx(2 * 3.18 * math.sqrt(pooled), rel=0.05)  # t with 3 freedoms
    with pytest.raises(ValueError, match="one seed of each method"):
        seed_difference(*drawn(a), *drawn(a), 30)


def test_nothing_is_tested_without_variance() -> None:
    same, more = np.zeros((2, 5)), np.ones((2, 5))
    assert seed_difference(*drawn(same), *drawn(same), 5).p == 1
    assert math.isnan(seed_difference(*drawn(more), *drawn(same), 5).p)


def test_one_patient_gives_a_mean_without_an_interval() -> None:
    values = np.array([0.2, 0.4])
    found = over_seeds(values, np.full((2, 10), np.nan), 1)
    assert found.value == pytest.approx(0.3)
    assert math.isnan(found.low)
    assert found.undefined == 10
    assert math.isnan(seed_difference(values, np.full((2, 10), np.nan), *drawn(np.eye(2), 10), 1).p)


@given(st.floats(0.5, 0.999), st.floats(1, 30_000))
@example(0.998046875, 1.125)
@example(0.999, 1.0)
def test_t_quantile_and_p_value_are_those_of_scipy(level: float, free: float) -> None:
    stats = pytest.importorskip("scipy.stats")
    t = float(stats.t.ppf(level, free))
    assert t_quantile(level, free) == pytest.approx(t, rel=1e-3, abs=1e-6)
    assert t_p_value(t, free) == pytest.approx(2 * (1 - level), rel=1e-2, abs=1e-9)
    assert t_p_value(-t, free) == t_p_value(t, free)


@pytest.mark.slow
@pytest.mark.parametrize(("patients", "seeds"), [(1.0, 0.02), (1.0, 0.2), (0.3, 0.3)])
def test_combined_interval_covers_new_seeds_and_new_patients(patients: float, seeds: float) -> None:
    """`patients` and `seeds` are the standard deviations of the two; 3 seeds of 60 patients."""
    rng = np.random.default_rng(7)
    number, hits = 600, 0
    for _ in range(number):
        rows = patients * rng.normal(size=60) + seeds * rng.normal(size=(3, 1))
        rows = rows + 0.3 * rng.normal(size=(3, 60))
        found = over_seeds(*drawn(rows, 300), 60)
        hits += found.low <= 0 <= found.high
    assert 0.95 - 3.3 * math.sqrt(0.95 * 0.05 / number) < hits / number <= 0.995
