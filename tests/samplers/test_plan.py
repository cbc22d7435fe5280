"""A plan obeys its rules turn by turn, and is as random as the plain sampler that reads like them.

`plainly` is that sampler: it looks at each case at each turn, which takes hours for a training
split. What the planner draws may not be told from what it draws.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, ks_2samp

from ctfw.errors import BadData
from ctfw.types import Case, CaseTable
from ctfw_plugins.samplers import plan
from ctfw_plugins.samplers.pool import LabelPool

# Few at a time and few proposals: what a large pool brings about then happens in a small one.
WAYS = [(plan.TURNS, plan.PROPOSALS), (3, (1, 2)), (1, (0,)), (2, (0, 40))]


@contextmanager
def way(turns: int, proposals: tuple[int, ...]) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plan, "TURNS", turns)
        patch.setattr(plan, "PROPOSALS", proposals)
        yield


def table(labels: np.ndarray, patients: list[int]) -> CaseTable:
    return CaseTable(
        tuple(
            Case(f"case-{i}", f"patient-{p}", Path(f"{i}.nii.gz"), "A report.", labels=row)
            for i, (row, p) in enumerate(zip(labels.astype(np.int8), patients, strict=True))
        ),
        tuple(f"label {i}" for i in range(labels.shape[1])),
    )


@st.composite
def pools(draw: st.DrawFn) -> CaseTable:
    width = draw(st.sampled_from([1, 3, 6, 18, 70]))
    count = draw(st.integers(2, 30))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    labels = rng.random((count, width)) < draw(st.sampled_from([0.05, 0.3, 0.5, 0.9]))
    patients = rng.integers(0, draw(st.integers(2, 40)), count)
    return table(labels, patients.tolist())


def apart(cases: CaseTable) -> tuple[np.ndarray, np.ndarray]:
    """(N, N) number of labels that differ, and whether the patients do."""
    patients = np.array(cases.patients)
    return (cases.labels[:, None] != cases.labels).sum(2), patients[:, None] != patients


@settings(max_examples=300, deadline=None)
@given(
    pools(),
    st.integers(1, 20),
    st.sampled_from([1, 2, 5]),
    st.integers(0, 99),
    st.sampled_from(WAYS),
)
def test_each_turn_gives_way_only_where_nobody_free_is_left(
    cases: CaseTable, wanted: int, cap: int, seed: int, how: tuple[int, tuple[int, ...]]
) -> None:
    wanted = min(wanted, len(cases.label_names))
    distance, other = apart(cases)
    if min((distance * other).max(1)) == 0:
        with way(*how), pytest.raises(BadData, match="no other patient differs in any label"):
            plan.plan_epoch(LabelPool(cases), plan.Rules(wanted, cap), np.random.default_rng(seed))
        return
    with way(*how):
        picks = plan.plan_epoch(
            LabelPool(cases), plan.Rules(wanted, cap), np.random.default_rng(seed)
        )
    left = np.full(len(cases), cap)
    for anchor in np.random.default_rng(seed).permutation(len(cases)):
        pick = picks[anchor]
        assert other[anchor, pick.partner]
        assert pick.distance == distance[anchor, pick.partner] > 0
        eligible = other[anchor] & (left > 0) & (distance[anchor] > 0)
        assert pick.over_cap == (not eligible.any())
        assert pick.over_cap == (left[pick.partner] <= 0)
        pool = other[anchor] if pick.over_cap else eligible
        assert pick.distance >= min(wanted, distance[anchor][pool].max())
        left[pick.partner] -= 1


Sampler = Callable[[np.random.Generator], list[int]]


def planned(cases: CaseTable, wanted: int, cap: int) -> Sampler:
    pool = LabelPool(cases)
    return lambda rng: [
        pick.partner for pick in plan.plan_epoch(pool, plan.Rules(wanted, cap), rng)
    ]


def plainly(cases: CaseTable, wanted: int, cap: int, by_slots: bool = False) -> Sampler:
    """Looks at all cases at each turn.

    by_slots  the more uses a partner has left, the likelier it is: a bias that the comparisons
              must see
    """
    distance, other = apart(cases)

    def sample(rng: np.random.Generator) -> list[int]:
        left, partners = np.full(len(cases), cap), [0] * len(cases)
        for anchor in rng.permutation(len(cases)):
            free = other[anchor] & (left > 0) & (distance[anchor] > 0)
            pool = free if free.any() else other[anchor]
            reach = min(wanted, distance[anchor][pool].max())
            fit = np.flatnonzero(pool & (distance[anchor] >= reach))
            weights = left[fit] if by_slots and free.any() else np.ones(len(fit))
            partners[anchor] = int(rng.choice(fit, p=weights / weights.sum()))
            left[partners[anchor]] -= 1
        return partners

    return sample


def whole_plans(sampler: Sampler, count: int = 1500) -> Counter[str]:
    return Counter(str(sampler(np.random.default_rng(seed))) for seed in range(count))


@cache
def expected_plans(name: str) -> Counter[str]:
    return whole_plans(plainly(*SMALL[name]))


def chance_of(one: Counter[str], two: Counter[str]) -> float:
    """p value that two samples of plans have one distribution; rare plans count as one."""
    common = [key for key in one | two if one[key] + two[key] >= 20]
    counts = [[sample[key] for key in common] for sample in (one, two)]
    rest = [sample.total() - sum(row) for sample, row in zip((one, two), counts, strict=True)]
    filled = [[*row, left] for row, left in zip(counts, rest, strict=True)]
    return float(chi2_contingency(np.array(filled)[:, np.sum(filled, 0) > 0]).pvalue)


STEPS = table(
    np.array([[0, 0, 0, 0], [0, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 0], [1, 1, 1, 1]]),
    [0, 1, 2, 3, 0],
)
ONE_HAS_MANY = table(np.array([[0, 0], [1, 1], [0, 1], [1, 1], [0, 0]]), [0, 0, 0, 1, 2])
SMALL = {
    "cap 1": (STEPS, 3, 1),
    "distance often out of reach": (STEPS, 3, 2),
    "distance mostly in reach": (STEPS, 2, 2),
    "cap passed": (ONE_HAS_MANY, 2, 1),
}


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("name", SMALL)
def test_whole_plans_are_as_likely_as_the_plain_samplers(
    name: str, how: tuple[int, tuple[int, ...]]
) -> None:
    with way(*how):
        found = whole_plans(planned(*SMALL[name]))
    expected = expected_plans(name)
    assert len(expected) > 5
    assert chance_of(found, expected) > 0.001


def test_comparison_of_whole_plans_tells_a_biased_sampler() -> None:
    name = "distance mostly in reach"
    biased = whole_plans(plainly(*SMALL[name], by_slots=True))
    assert chance_of(biased, expected_plans(name)) < 1e-6


def sick_and_healthy(seed: int = 5) -> CaseTable:
    """90 cases of 60 patients; how sick a patient is differs, as in a training split."""
    rng = np.random.default_rng(seed)
    sick = rng.beta(0.8, 2.5, 60)
    patients = rng.permutation(np.concatenate([np.arange(60), rng.integers(0, 60, 30)]))
    return table(rng.random((90, 10)) < sick[patients][:, None], patients.tolist())


def epochs(sampler: Sampler, cases: CaseTable) -> dict[str, np.ndarray]:
    """Of each of 200 epochs: uses of each case, the share of the slots that the busiest tenth
    fills, label distances, and how often a healthy case serves."""
    distance, _ = apart(cases)
    everyone = np.arange(len(cases))
    plans = [np.array(sampler(np.random.default_rng(s))) for s in range(200)]
    uses = np.array([np.bincount(partners, minlength=len(cases)) for partners in plans])
    busiest = np.sort(uses, axis=1)[:, -len(cases) // 10 :]
    return {
        "uses": uses,
        "hub share": busiest.sum(1) / len(cases),
        "distance": np.array([distance[everyone, partners].mean() for partners in plans]),
        "wanted met": np.array([(distance[everyone, partners] >= 6).mean() for partners in plans]),
        "healthy used": uses[:, cases.labels.sum(1) <= 1].mean(1),
    }


@pytest.fixture(scope="module", params=[1, 2, 6], ids=lambda cap: f"cap {cap}")
def pair_of_samples(request: pytest.FixtureRequest) -> Iterator[list[dict[str, np.ndarray]]]:
    cases, cap = sick_and_healthy(), request.param
    with way(8, (4, 8)):
        yield [epochs(make(cases, 6, cap), cases) for make in (planned, plainly)]


def test_use_of_each_partner_is_as_in_the_plain_sampler(
    pair_of_samples: list[dict[str, np.ndarray]],
) -> None:
    one, two = (sample["uses"] for sample in pair_of_samples)
    error = np.sqrt((one.var(0) + two.var(0)) / len(one)) + 1e-9
    z = (one.mean(0) - two.mean(0)) / error
    assert np.abs(z).max() < 4.2  # of 90 standard normal values, one in 400 samples exceeds it


@pytest.mark.parametrize("what", ["hub share", "distance", "wanted met", "healthy used"])
def test_hubs_and_distances_are_as_in_the_plain_sampler(
    pair_of_samples: list[dict[str, np.ndarray]], what: str
) -> None:
    one, two = (sample[what] for sample in pair_of_samples)
    assert ks_2samp(one, two).pvalue > 0.001


def test_comparison_of_hubs_tells_a_biased_sampler() -> None:
    cases = sick_and_healthy()
    one, two = (epochs(plainly(cases, 6, 6, biased), cases) for biased in (True, False))
    assert ks_2samp(one["hub share"], two["hub share"]).pvalue < 1e-6
