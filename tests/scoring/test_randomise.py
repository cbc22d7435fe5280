"""Tests between systems: whole patients change sides, and the p-values are those of others."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.scoring import resample
from ctfw.scoring.labels import accuracy_values, label_counts
from ctfw.scoring.randomise import (
    PairedTest,
    bootstrap_test,
    holm,
    randomisation_test,
    smallest_p,
)
from ctfw.types import Scores

TRIALS = 4000


def means(values: np.ndarray) -> Scores:
    return Scores({"m": float(np.mean(values))}, "test", per_case={"m": values})


def labels(reference: np.ndarray, generated: np.ndarray) -> Scores:
    statistics = label_counts(reference, generated)
    values = {k: float(v) for k, v in accuracy_values(statistics.sum(0)).items()}
    return Scores(values, "test", statistics=statistics, reduce=accuracy_values)


def monte_carlo(p: float, *trials: int) -> float:
    """Four standard errors of the difference of two p-values estimated by so many trials."""
    q = min(max(p, 0.01), 0.99)
    return 4 * math.sqrt(q * (1 - q) * sum(1 / n for n in trials))


def exact_p(a: np.ndarray, b: np.ndarray) -> float:
    """The p-value of all ways to swap, by a loop."""
    differences = a - b
    observed = abs(differences.mean())
    signs = itertools.product([-1, 1], repeat=len(differences))
    extreme = [abs(np.mean(differences * sign)) >= observed - 1e-12 for sign in signs]
    return float(np.mean(extreme))


@pytest.mark.parametrize("shift", [0.0, 0.4, 1.0])
def test_p_is_the_share_of_all_ways_to_swap(shift: float) -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=(2, 10))
    a = a + shift
    found = randomisation_test(means(a), means(b), [str(i) for i in range(10)], TRIALS)["m"]
    assert found.difference == pytest.approx(np.mean(a) - np.mean(b))
    assert found.p == pytest.approx(exact_p(a, b), abs=monte_carlo(found.p, TRIALS))


def test_reports_of_a_patient_change_sides_together() -> None:
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 8))
    a = a + 1.2
    once = randomisation_test(means(a), means(b), [str(i) for i in range(8)], TRIALS)["m"]
    repeated = means(np.repeat(a, 5)), means(np.repeat(b, 5))
    patients = [str(i) for i in np.repeat(np.arange(8), 5)]
    assert randomisation_test(*repeated, patients, TRIALS)["m"].p == once.p
    alone = randomisation_test(*repeated, [str(i) for i in range(40)], TRIALS)["m"]
    assert alone.p < once.p / 2


def test_order_of_the_cases_of_a_patient_does_not_matter() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 20))
    patients = [f"p{i % 5}" for i in range(20)]
    order = np.argsort(patients, kind="stable")
    apart = randomisation_test(means(a), means(b), patients, TRIALS)["m"]
    sorted_ = [patients[i] for i in order]
    together = randomisation_test(means(a[order]), means(b[order]), sorted_, TRIALS)["m"]
    assert together == pytest.approx(apart)


@given(st.lists(st.floats(0, 1), min_size=2, max_size=30), st.integers(0, 2**32))
def test_identical_systems_have_p_1(values: list[float], seed: int) -> None:
    scores, patients = means(np.array(values)), [str(i) for i in range(len(values))]
    for test in (randomisation_test, bootstrap_test):
        found = test(scores, scores, patients, 50, seed)["m"]
        assert (found.difference, found.p) == (0, 1)


@given(st.integers(1, 12), st.integers(0, 2**32))
def test_p_is_symmetric_and_never_0(number: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    reference = (rng.random((number, 4)) < 0.5).astype(np.int8)
    noisy = [np.where(rng.random(reference.shape) < 0.3, 1 - reference, reference) for _ in "ab"]
    a, b = (labels(reference, generated.astype(np.int8)) for generated in noisy)
    patients = [str(i) for i in range(number)]
    there, back = (randomisation_test(*pair, patients, 99, seed) for pair in ((a, b), (b, a)))
    for name, test in there.items():
        assert test.trials + test.undefined == 99
        if not math.isnan(test.p):
            assert 1 / (1 + test.trials) <= test.p <= 1
            assert back[name].p == pytest.approx(test.p)
            assert back[name].difference == -test.difference


def test_same_seed_gives_the_same_p_in_any_block_size(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(6)
    a, b = rng.normal(size=(2, 70))
    patients = [str(i) for i in range(70)]
    first = randomisation_test(means(a), means(b), patients, 999, seed=1)
    assert randomisation_test(means(a), means(b), patients, 999, seed=2) != first
    monkeypatch.setattr(resample, "_BLOCK", 1000)
    assert randomisation_test(means(a), means(b), patients, 999, seed=1) == first


def test_one_patient_can_show_nothing() -> None:
    found = randomisation_test(means(np.array([1.0, 2.0])), means(np.zeros(2)), ["p", "p"], 500)
    assert found["m"] == PairedTest(1.5, 1.0, 500, 0)
    assert bootstrap_test(means(np.ones(2)), means(np.zeros(2)), ["p", "p"])["m"].undefined == 1000
    assert smallest_p(1) == 1
    assert smallest_p(4) == 0.125
    assert smallest_p(1000, trials=99) == 0.01


def test_nan_statistics_spoil_their_value_alone() -> None:
    spoilt = np.array([[1.0, np.nan], [2.0, 5.0], [4.0, 6.0]])

    def reduce(sums: np.ndarray) -> dict[str, np.ndarray]:
        return {"sound": sums[..., 0], "spoilt": sums[..., 1]}

    a = Scores({}, "test", statistics=spoilt, reduce=reduce)
    b = Scores({}, "test", statistics=np.ones((3, 2)), reduce=reduce)
    found = randomisation_test(a, b, ["a", "b", "c"], 400)
    assert found["sound"].trials == 400
    assert math.isnan(found["spoilt"].p)
    assert (found["spoilt"].trials, found["spoilt"].undefined) == (0, 400)
    assert math.isnan(bootstrap_test(a, b, ["a", "b", "c"])["spoilt"].p)


def test_trials_without_a_value_are_counted_and_left_out() -> None:
    a = Scores({}, "test", per_case={"m": np.array([1.0, np.nan, np.nan])})
    b = Scores({}, "test", per_case={"m": np.array([np.nan, np.nan, 2.0])})
    found = randomisation_test(a, b, ["a", "b", "c"], 4000)["m"]
    assert found.difference == -1
    # Both scores of one side in half of the ways; then the other side has none.
    assert found.undefined == pytest.approx(2000, abs=150)
    assert found.p == 1  # in the other half the two values change places, or nothing does


def test_numbers_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="2 and 3 cases: not the same cases"):
        randomisation_test(means(np.zeros(3)), means(np.zeros(2)), ["a", "b", "c"])
    with pytest.raises(ValueError, match="3 patients for 2 cases"):
        randomisation_test(means(np.zeros(2)), means(np.zeros(2)), ["a", "b", "c"])
    wide = Scores({}, "test", statistics=np.zeros((2, 3)), reduce=lambda sums: {"m": sums[..., 0]})
    with pytest.raises(ValueError, match="statistics of 2 and 3 columns cannot swap"):
        randomisation_test(means(np.zeros(2)), wide, ["a", "b"])


P_VALUES = st.lists(st.floats(0, 1), max_size=12)


@given(P_VALUES)
def test_holm_is_monotone_and_never_below_the_raw_p(p: list[float]) -> None:
    adjusted = holm(p)
    assert all(raw <= new <= 1 for raw, new in zip(p, adjusted, strict=True))
    pairs = sorted(zip(p, adjusted, strict=True))
    assert all(a[1] <= b[1] for a, b in itertools.pairwise(pairs))


@given(P_VALUES, st.randoms())
def test_holm_does_not_depend_on_the_order(p: list[float], random: np.random.Generator) -> None:
    order = list(range(len(p)))
    random.shuffle(order)
    adjusted = holm(p)
    assert holm([p[i] for i in order]) == [adjusted[i] for i in order]


@given(P_VALUES.filter(bool), st.floats(0.001, 0.5))
def test_holm_rejects_as_the_stepwise_rule_does(p: list[float], level: float) -> None:
    rejected = set()
    for rank, index in enumerate(sorted(range(len(p)), key=p.__getitem__)):
        if p[index] * (len(p) - rank) > level:
            break
        rejected.add(index)
    assert {i for i, value in enumerate(holm(p)) if value <= level} == rejected


def test_holm_has_the_values_of_r() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.2]) == [0.2]
    assert holm([]) == []


def test_test_that_was_not_made_does_not_count_in_holm() -> None:
    first, second, third = holm([0.01, math.nan, 0.04])
    assert (first, third) == pytest.approx((0.02, 0.04))
    assert math.isnan(second)


def systems(noise: tuple[float, float], number: int = 120) -> tuple[list[str], list[list[str]]]:
    """References and the outputs of two systems that put in wrong words with these shares."""
    rng = np.random.default_rng(11)
    words = np.array([f"w{i}" for i in range(60)])
    references = [rng.choice(words, rng.integers(20, 60)) for _ in range(number)]
    outputs = [
        [
            " ".join(np.where(rng.random(len(ref)) < share, rng.choice(words, len(ref)), ref))
            for ref in references
        ]
        for share in noise
    ]
    return [" ".join(ref) for ref in references], outputs


def bleu_4(hypotheses: list[str], references: list[str]) -> Scores:
    """Corpus BLEU-4 without smoothing, from counts made here."""

    def counts(hypothesis: list[str], reference: list[str]) -> list[int]:
        row = [len(hypothesis), len(reference)]
        for n in range(1, 5):
            own, other = (
                Counter(tuple(text[i : i + n]) for i in range(len(text) - n + 1))
                for text in (hypothesis, reference)
            )
            row += [(own & other).total(), own.total()]
        return row

    def reduce(sums: np.ndarray) -> dict[str, np.ndarray]:
        precisions = sums[..., 2::2] / sums[..., 3::2]
        brevity = np.exp(np.minimum(0, 1 - sums[..., 1] / sums[..., 0]))
        return {"bleu-4": brevity * np.exp(np.log(precisions).mean(-1))}

    pairs = zip(hypotheses, references, strict=True)
    table = np.array([counts(a.split(), b.split()) for a, b in pairs], float)
    return Scores({}, "test", statistics=table, reduce=reduce)


@pytest.mark.parametrize("noise", [(0.300, 0.302), (0.30, 0.315), (0.30, 0.335)])
@pytest.mark.parametrize("kind", ["ar", "bs"])
def test_p_values_agree_with_sacrebleu(noise: tuple[float, float], kind: str) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    from sacrebleu.significance import PairedTest as Peer

    references, (one, two) = systems(noise)
    metric = sacrebleu.BLEU(tokenize="none", smooth_method="none", force=True, references=None)
    trials = {"ar": 3000, "bs": 2000}[kind]
    peer = Peer(
        [("one", one), ("two", two)], {"BLEU": metric}, [references], kind, n_samples=trials
    )
    results = peer()[1]["BLEU"]
    scores = [bleu_4(output, references) for output in (one, two)]
    assert 100 * resample.values(scores[1])["bleu-4"] == pytest.approx(results[1].score, abs=1e-6)
    test = {"ar": randomisation_test, "bs": bootstrap_test}[kind]
    ours = test(*scores, [str(i) for i in range(len(references))], 10_000)["bleu-4"]
    assert ours.p == pytest.approx(
        results[1].p_value, abs=monte_carlo(ours.p, 10_000, trials) + 1 / trials
    )


@pytest.mark.slow
def test_two_like_systems_differ_in_5_of_100_tests() -> None:
    rng = np.random.default_rng(12)
    number, hits = 1000, 0
    patients = [str(i // 3) for i in range(90)]
    for trial in range(number):
        patient = np.repeat(rng.normal(size=(2, 30)), 3, axis=1)
        a, b = patient + 0.5 * rng.normal(size=(2, 90))
        hits += randomisation_test(means(a), means(b), patients, 999, trial)["m"].p <= 0.05
    assert abs(hits / number - 0.05) < 3.3 * math.sqrt(0.05 * 0.95 / number)
