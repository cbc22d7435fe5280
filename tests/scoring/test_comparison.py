"""Systems against a baseline: differences, adjusted p-values, and what counts as best."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from ctfw.scoring.columns import Column
from ctfw.scoring.comparison import Comparison, System, compare_systems
from ctfw.scoring.derive import difference, renamed
from ctfw.scoring.labels import accuracy_values, label_counts
from ctfw.scoring.randomise import holm, randomisation_test
from ctfw.scoring.resample import paired_difference, values
from ctfw.types import Scores

PATIENTS = [f"p{i // 2}" for i in range(80)]
SCORE = Column("m", "m", "test")


def scores(shift: float, seed: int = 0, noise: float = 0.3, name: str = "m") -> Scores:
    patient = np.repeat(np.random.default_rng(99).normal(size=40), 2)
    values = patient + shift + noise * np.random.default_rng(seed).normal(size=80)
    return Scores({name: float(values.mean())}, "test", {name: values})


def system(name: str, *members: Scores) -> System:
    return System(name, tuple({key: s for key in s.values} for s in members))


def compared(systems: Sequence[System], columns: Sequence[Column] = (SCORE,)) -> Comparison:
    return compare_systems(systems, columns, PATIENTS, n=500, trials=999)


def test_difference_interval_and_p_are_those_of_the_paired_tests() -> None:
    a, b = scores(0.0, 1), scores(0.15, 2)
    (base, other) = compared([system("a", a), system("b", b)]).systems
    assert not base.contrasts
    contrast = other.contrasts["m"]
    estimate = paired_difference(b, a, PATIENTS, "m", 500)
    assert (contrast.value, contrast.low, contrast.high) == pytest.approx(estimate)
    assert contrast.p == randomisation_test(b, a, PATIENTS, 999)["m"].p
    assert contrast.holm == contrast.p  # one test


def test_holm_takes_all_differences_of_the_table_together() -> None:
    columns = [Column("m", "m", "test"), Column("k", "k", "test")]
    made = [
        System(
            name,
            ({"m": scores(shift, seed), "k": scores(-shift, seed + 10, name="k")},),
        )
        for name, shift, seed in (("a", 0.0, 1), ("b", 0.04, 2), ("c", 0.1, 3))
    ]
    found = compared(made, columns)
    contrasts = [s.contrasts[c.name] for s in found.systems[1:] for c in columns]
    assert found.tests == 4
    assert [c.holm for c in contrasts] == holm([c.p for c in contrasts])
    assert any(c.holm > c.p for c in contrasts)


def test_best_is_named_only_where_the_next_is_clearly_worse() -> None:
    clear = compared([system("a", scores(0, 1)), system("b", scores(2, 2))])
    assert clear.best == {"m": "b"}
    close = compared(
        [system("a", scores(0, 1)), system("b", scores(2, 2)), system("c", scores(2, 3))]
    )
    assert close.best == {}


def test_lower_is_better_turns_the_best_round_and_no_direction_has_none() -> None:
    systems = [system("a", scores(0, 1)), system("b", scores(2, 2))]
    assert compared(systems, [Column("m", "m", "test", False)]).best == {"m": "a"}
    assert compared(systems, [Column("m", "m", "test", None)]).best == {}


def test_system_without_a_value_is_neither_best_nor_tested() -> None:
    nothing = Scores({"m": math.nan}, "test", {"m": np.full(80, math.nan)})
    found = compared([system("a", scores(0, 1)), system("b", nothing), system("c", scores(2, 2))])
    assert found.best == {"m": "c"}
    assert math.isnan(found.systems[1].contrasts["m"].p)
    assert found.tests == 1


def test_identical_systems_have_p_1_and_no_best() -> None:
    one = scores(0, 1)
    found = compared([system("a", one), system("b", one)])
    contrast = found.systems[1].contrasts["m"]
    assert (contrast.value, contrast.low, contrast.high, contrast.p) == (0, 0, 0, 1)
    assert found.best == {}


def test_several_seeds_are_one_system_with_a_wider_interval() -> None:
    seeds = [scores(shift, seed) for seed, shift in enumerate((0.0, 0.5, 1.0))]
    found = compared([system("a", *seeds), system("b", scores(0.5, 9))])
    mean = found.systems[0].means["m"]
    assert (mean.seeds, mean.value) == (3, pytest.approx(np.mean([s.values["m"] for s in seeds])))
    alone = compared([system("a", seeds[1]), system("b", scores(0.5, 9))])
    wide, narrow = (c.systems[1].contrasts["m"] for c in (found, alone))
    assert wide.high - wide.low > 3 * (narrow.high - narrow.low)
    assert found.seeds
    assert not alone.seeds


def test_one_patient_has_values_and_nothing_else() -> None:
    pair = [system("a", scores(0, 1)), system("b", scores(2, 2))]
    found = compare_systems(pair, [SCORE], ["p"] * 80, n=50, trials=99)
    contrast = found.systems[1].contrasts["m"]
    assert contrast.value == pytest.approx(2, abs=0.2)
    assert math.isnan(contrast.low)
    assert contrast.p == 1
    assert found.best == {}


def test_score_without_parts_is_refused_by_name() -> None:
    bare = Scores({"m": 0.5, "other": 1.0}, "test", {"other": np.ones(80)})
    with pytest.raises(ValueError, match="'m' cannot be recomputed from per-case parts"):
        compared([system("a", bare), system("b", bare)])


def labelled(seed: int) -> Scores:
    rng = np.random.default_rng(seed)
    reference = (np.random.default_rng(0).random((80, 4)) < 0.4).astype(np.int8)
    made = np.where(rng.random(reference.shape) < 0.1 * seed, 1 - reference, reference)
    statistics = label_counts(reference, made)
    found = {k: float(v) for k, v in accuracy_values(statistics.sum(0)).items()}
    return Scores(found, "labels", statistics=statistics, reduce=accuracy_values)


def test_gain_is_a_score_that_resamples_both_sides_together() -> None:
    own, other = labelled(1), labelled(4)
    gain = difference(own, other, "macro-f1", "gain", "own minus other")
    assert gain.values["gain"] == pytest.approx(own.values["macro-f1"] - other.values["macro-f1"])
    assert values(gain)["gain"] == pytest.approx(gain.values["gain"])
    assert gain.protocol == "labels|own minus other"
    with pytest.raises(ValueError, match="'m' has no statistics per case"):
        difference(scores(0), scores(1), "m", "gain", "x")


def test_value_under_another_name_keeps_its_parts_and_direction() -> None:
    source = labelled(2)
    assert renamed(source, "crg", "crg") is source
    again = renamed(source, "macro-f1", "macro-f1@2")
    assert values(again) == {"macro-f1@2": pytest.approx(source.values["macro-f1"])}
    low = Scores({"e": 1.0}, "test", {"e": np.ones(2)}, lower_is_better=frozenset({"e"}))
    assert renamed(low, "e", "f").lower_is_better == {"f"}
    assert list(renamed(low, "e", "f").per_case) == ["f"]
