"""Intervals: patients are resampled, the seed decides, and nothing is made up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.scoring import resample
from ctfw.scoring.intervals import bca, percentile, undefined
from ctfw.scoring.labels import accuracy_values, label_counts
from ctfw.scoring.resample import (
    Method,
    bootstrap,
    mean_interval,
    paired_difference,
    patient_clusters,
    why_no_interval,
)
from ctfw.types import Scores


def label_scores(reference: np.ndarray, generated: np.ndarray) -> Scores:
    statistics = label_counts(reference, generated)
    values = {k: float(v) for k, v in accuracy_values(statistics.sum(0)).items()}
    return Scores(values, "test", statistics=statistics, reduce=accuracy_values)


def noisy(rng: np.random.Generator, reference: np.ndarray, share: float) -> np.ndarray:
    return np.where(rng.random(reference.shape) < share, 1 - reference, reference).astype(np.int8)


def test_clusters_follow_first_appearance() -> None:
    index, names = patient_clusters(["b", "a", "b"])
    assert index.tolist() == [0, 1, 0]
    assert names == ["b", "a"]


def test_bootstrap_equals_a_resampling_loop() -> None:
    rng = np.random.default_rng(1)
    values = rng.normal(size=30)
    patients = [f"p{i // 3}" for i in range(30)]
    value, low, high = mean_interval(values, patients, n=4000, seed=3)
    assert value == pytest.approx(values.mean())
    groups = values.reshape(10, 3)
    loop = [groups[rng.integers(10, size=10)].mean() for _ in range(4000)]
    assert (low, high) == pytest.approx(tuple(np.percentile(loop, [2.5, 97.5])), abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["percentile", "bca"])
def test_interval_covers_the_truth_95_times_in_100(method: Method) -> None:
    """Patients of one to four cases; the standard error of the share of 1,000 trials is 0.7 %."""
    rng = np.random.default_rng(0)
    number, hits = 1000, 0
    for trial in range(number):
        sizes = rng.integers(1, 5, size=150)
        values = np.repeat(rng.normal(size=150), sizes) + rng.normal(size=sizes.sum())
        patients = [str(i) for i in np.repeat(np.arange(150), sizes)]
        _, low, high = mean_interval(values, patients, 1000, trial, method)
        hits += low <= 0 <= high
    assert abs(hits / number - 0.95) < 3.3 * np.sqrt(0.95 * 0.05 / number)


@pytest.mark.slow
def test_interval_over_cases_of_few_patients_would_be_too_narrow() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for trial in range(300):
        values = np.repeat(rng.normal(size=60), 5)
        _, low, high = mean_interval(values, [str(i) for i in range(300)], 400, trial)
        hits += low <= 0 <= high
    assert hits / 300 < 0.75


def test_bca_is_that_of_scipy() -> None:
    stats = pytest.importorskip("scipy.stats")
    rng = np.random.default_rng(7)
    values = rng.exponential(size=40) ** 2
    _, low, high = mean_interval(values, [str(i) for i in range(40)], 40_000, method="bca")
    peer = stats.bootstrap(
        (values,), np.mean, n_resamples=40_000, method="BCa", rng=np.random.default_rng(8)
    ).confidence_interval
    assert (low, high) == pytest.approx((peer.low, peer.high), rel=0.03)
    plain = mean_interval(values, [str(i) for i in range(40)], 40_000)
    assert low > plain.low  # a mean of skewed numbers: the interval moves to the right
    assert high > plain.high * 1.05


def test_bca_without_skew_or_bias_is_the_percentile_interval() -> None:
    draws = np.linspace(-1, 1, 2001)
    left_out = np.array([-0.1, 0.1])
    assert bca(0.0, draws, left_out) == pytest.approx(percentile(draws), abs=1e-9)
    assert bca(0.5, np.full(100, 0.5), np.full(3, 0.5)) == (0.5, 0.5)


@given(st.lists(st.floats(-5, 5), min_size=2, max_size=25), st.integers(0, 2**32))
def test_bca_ends_are_draws_in_order_whatever_the_numbers(values: list[float], seed: int) -> None:
    patients = [str(i) for i in range(len(values))]
    value, low, high = mean_interval(np.array(values), patients, 60, seed, "bca")
    assert min(values) - 1e-9 <= low <= high <= max(values) + 1e-9
    assert np.isfinite(value)


def test_bca_of_a_difference_moves_with_the_difference() -> None:
    rng = np.random.default_rng(9)
    a, b = (
        Scores({}, "test", per_case={"m": rng.exponential(size=50) + shift}) for shift in (1, 0)
    )
    patients = [str(i // 2) for i in range(50)]
    there = paired_difference(a, b, patients, "m", method="bca")
    back = paired_difference(b, a, patients, "m", method="bca")
    assert there == pytest.approx((-back.value, -back.high, -back.low), abs=0.01)
    assert there.low < there.value < there.high


def test_copies_of_a_patient_do_not_narrow_the_interval() -> None:
    rng = np.random.default_rng(2)
    values, patients = rng.normal(size=25), [f"p{i}" for i in range(25)]
    once = mean_interval(values, patients)
    copied = mean_interval(np.repeat(values, 4), np.repeat(patients, 4).tolist())
    assert copied == pytest.approx(once, abs=1e-12)
    independent = mean_interval(np.repeat(values, 4), [str(i) for i in range(100)])
    assert independent.high - independent.low < 0.6 * (once.high - once.low)


def test_same_seed_gives_the_same_interval_in_any_block_size(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(4)
    reference = (rng.random((30, 5)) < 0.4).astype(np.int8)
    scores = label_scores(reference, noisy(rng, reference, 0.2))
    patients = [f"p{i // 2}" for i in range(30)]
    first = bootstrap(scores, patients, seed=7)
    assert bootstrap(scores, patients, seed=8) != first
    monkeypatch.setattr(resample, "_BLOCK", 100)
    again = bootstrap(scores, patients, seed=7)
    for name, interval in first.items():
        assert again[name] == pytest.approx(interval, abs=1e-12)
        assert interval.low <= scores.values[name] <= interval.high


def test_paired_difference_sees_what_two_intervals_cannot() -> None:
    rng = np.random.default_rng(5)
    reference = (rng.random((60, 6)) < 0.4).astype(np.int8)
    worse = noisy(rng, reference, 0.25)
    better = np.where(rng.random(reference.shape) < 0.25, reference, worse)  # mends some of it
    a, b = label_scores(reference, better), label_scores(reference, worse)
    patients = [f"p{i // 2}" for i in range(60)]
    gain = paired_difference(a, b, patients, "macro-f1")
    assert gain.value == pytest.approx(a.values["macro-f1"] - b.values["macro-f1"])
    assert 0 < gain.low < gain.value < gain.high
    assert bootstrap(a, patients)["macro-f1"].low < bootstrap(b, patients)["macro-f1"].high
    assert paired_difference(a, a, patients, "macro-f1") == (0, 0, 0)


def test_one_patient_has_no_interval_and_a_reason() -> None:
    scores = Scores({"m": 0.5}, "test", per_case={"m": np.array([0.0, 1.0])})
    assert np.isnan(bootstrap(scores, ["p", "p"])["m"]).all()
    assert why_no_interval(["p", "p"]) == "one patient only: nothing to resample"
    estimate = mean_interval(np.array([1.0, 2.0]), ["p", "p"])
    assert estimate.value == 1.5
    assert np.isnan(estimate.low)
    assert why_no_interval(["p", "q"]) == ""


def test_undefined_cases_are_left_out_of_means() -> None:
    value, low, high = mean_interval(np.array([1.0, np.nan, 3.0]), ["a", "b", "c"])
    assert value == 2.0
    assert (low, high) == (1.0, 3.0)


def test_numbers_that_do_not_match_are_refused() -> None:
    scores = Scores({"m": 0.5}, "test", per_case={"m": np.array([0.0, 1.0])})
    with pytest.raises(ValueError, match="3 patients for 2 cases"):
        bootstrap(scores, ["a", "b", "c"])
    other = Scores({"m": 0.5}, "test", per_case={"m": np.array([0.0])})
    with pytest.raises(ValueError, match="1 and 2 cases: not the same cases"):
        paired_difference(scores, other, ["a", "b"], "m")
    with pytest.raises(ValueError, match="neither statistics nor per-case"):
        bootstrap(Scores({"m": 0.5}, "test"), ["a", "b"])


def test_systems_are_resampled_with_the_same_patients() -> None:
    rng = np.random.default_rng(10)
    values = rng.normal(size=30)
    a, b = (Scores({}, "test", per_case={"m": values + shift}) for shift in (0.0, 2.0))
    first, second = resample.resample([a, b], [str(i // 3) for i in range(30)], 50)
    assert second["m"] - first["m"] == pytest.approx(np.full(50, 2.0))
    assert np.std(first["m"]) > 0


def test_undefined_resamples_are_counted_and_left_out() -> None:
    scores = Scores({}, "test", per_case={"m": np.array([1.0, np.nan, np.nan])})
    (draws,) = resample.resample([scores], ["a", "b", "c"], 3000)
    assert undefined(draws["m"]) == pytest.approx(3000 * (2 / 3) ** 3, abs=120)
    assert bootstrap(scores, ["a", "b", "c"])["m"] == (1.0, 1.0)


def test_nan_in_the_statistics_of_one_case_gives_no_interval() -> None:
    scores = Scores(
        {},
        "test",
        statistics=np.array([[1.0], [np.nan], [3.0]]),
        reduce=lambda sums: {"m": sums[..., 0]},
    )
    (draws,) = resample.resample([scores], ["a", "b", "c"], 100)
    assert undefined(draws["m"]) == 100
    for method in ("percentile", "bca"):
        assert np.isnan(bootstrap(scores, ["a", "b", "c"], method=method)["m"]).all()
