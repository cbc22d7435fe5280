"""`mirror`, `slice-shuffle` and `same-region-swap` change what they name and nothing else."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw.errors import BadData
from ctfw.testing import tiny_cases, tiny_volume
from ctfw.types import Volume
from ctfw_plugins.samplers.configs import MirrorConfig, RegionSwapConfig, SliceShuffleConfig
from ctfw_plugins.samplers.mirror import MirrorSampler
from ctfw_plugins.samplers.region_swap import Graft, RegionSwap
from ctfw_plugins.samplers.slice_shuffle import Shuffle, SliceShuffle


def with_mark_on_the_left() -> Volume:
    """LPS: x grows to the patient's left, so the left lies at the end of the x axis."""
    volume = tiny_volume()
    array = np.zeros_like(volume.array)
    array[3, 10:14, 22:25] = 1.0
    return volume.but(array=array, intensity="normalised", positions_mm=np.arange(12) * 4.0)


def test_mirror_puts_the_left_to_the_right() -> None:
    source = with_mark_on_the_left()
    negative = MirrorSampler(MirrorConfig()).draw(tiny_cases()[0], np.random.default_rng(0))
    assert negative.transform is not None
    made = pickle.loads(pickle.dumps(negative.transform))(source)
    assert made.array[3, 10:14, 3:6].min() == 1.0  # 27 - 24 .. 27 - 22
    assert made.array.sum() == source.array.sum()
    assert np.array_equal(made.affine, source.affine)  # a patient who is mirrored, not a header


def test_mirror_counts_the_anchors_that_name_no_side() -> None:
    sampler = MirrorSampler(MirrorConfig())
    case = tiny_cases()[0]
    for report in ("Effusion on the left.", "Effusion.", "A rightful claim."):
        negative = sampler.draw(replace(case, report=report), np.random.default_rng(0))
        assert negative.mirrored
        assert negative.labels is case.labels
    assert sampler.summary()["without_side"] == 2
    assert sampler.summary()["draws"] == 3


@given(st.integers(2, 20), st.integers(1, 7), st.integers(0, 99))
def test_shuffle_moves_whole_slices_and_keeps_blocks_together(
    count: int, block: int, seed: int
) -> None:
    volume = Volume(
        np.broadcast_to(np.arange(count, dtype=np.float32)[:, None, None], (count, 2, 2)).copy(),
        np.diag([1.0, 1.0, 1.0, 1.0]),
    )
    if count <= block:
        with pytest.raises(BadData, match=f"of {count} slices is one block of {block}.*set neg"):
            Shuffle(seed, block)(volume)
        return
    made = Shuffle(seed, block)(volume)
    order = made.array[:, 0, 0].astype(int)
    assert sorted(order) == list(range(count))
    assert (order != np.arange(count)).any()
    broken = np.flatnonzero(np.diff(order) != 1) + 1
    assert all(order[place] % block == 0 for place in broken)
    assert np.array_equal(made.slice_positions_mm, volume.slice_positions_mm)


def test_shuffles_differ_between_draws() -> None:
    sampler, rng = SliceShuffle(SliceShuffleConfig()), np.random.default_rng(0)
    one, two = (sampler.draw(tiny_cases()[0], rng) for _ in range(2))
    assert one.transform != two.transform
    assert np.array_equal(np.asarray(one.labels), np.asarray(tiny_cases()[0].labels))


def flat(value: float, letters: str = "LPS") -> Volume:
    sign = -1.0 if letters[0] == "L" else 1.0
    affine = np.diag([sign, -1.0, 1.0, 1.0])
    return Volume(np.full((10, 40, 60), value, np.float32), affine, "normalised")


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(["left", "right"]),
    st.sampled_from(["LPS", "RPS"]),
    st.floats(0, 1),
    st.floats(0, 1),
    st.floats(0.1, 1),
    st.floats(0.1, 1),
    st.integers(0, 6),
)
def test_graft_stays_in_its_half_and_size(
    side: str, letters: str, z: float, y: float, size: float, depth: float, feather: int
) -> None:
    made = Graft(side, (z, y), size, depth, feather)(flat(-1, letters), flat(1, letters)).array
    changed = made > -1
    at_end = (side == "left") == (letters[0] == "L")
    other_half = changed[:, :, :30] if at_end else changed[:, :, 30:]
    assert not other_half.any()
    assert changed.any(axis=(1, 2)).sum() == max(1, round(depth * 10))
    assert changed.any(axis=(0, 2)).sum() == max(1, round(size * 40))
    assert changed.any(axis=(0, 1)).sum() == max(1, round(size * 30))
    assert made.min() >= -1
    assert made.max() <= 1


def test_feathered_graft_has_no_edge_and_a_whole_middle() -> None:
    made = Graft("left", (0.5, 0.5), 0.8, 1.0, 4)(flat(-1), flat(1)).array
    assert made.max() == 1.0
    assert np.abs(np.diff(made, axis=1)).max() <= 2 / 5 + 1e-6
    assert np.abs(np.diff(made, axis=2)).max() <= 2 / 5 + 1e-6
    hard = Graft("left", (0.5, 0.5), 0.8, 1.0, 0)(flat(-1), flat(1)).array
    assert set(np.unique(hard)) == {-1.0, 1.0}


def test_graft_of_another_shape_is_refused_in_words() -> None:
    small = flat(1).but(array=np.zeros((10, 20, 20), np.float32))
    with pytest.raises(BadData, match=r"scans of one shape.*`slices` and `fit`"):
        Graft("left", (0, 0), 0.5, 0.5, 2)(flat(-1), small)


def test_donors_conflict_and_are_counted() -> None:
    cases = tiny_cases(40, seed=2)
    sampler = RegionSwap(RegionSwapConfig(min_label_distance=4, region="both"))
    sampler.fit(cases)
    sampler.refresh(0, 3)
    drawn = [sampler.draw(case, np.random.default_rng(i)) for i, case in enumerate(cases)]
    for anchor, negative in zip(cases, drawn, strict=True):
        assert negative.graft is not None
        assert negative.case is not None
        assert negative.case.patient != anchor.patient
    assert {negative.note["side"] for negative in drawn} == {"left", "right"}
    told = sampler.summary()
    assert told["sampler"] == "same-region-swap"
    assert sum(told["partner_use"].values()) == told["draws"] == 40


def test_region_that_was_asked_for_is_taken() -> None:
    cases = tiny_cases(20, seed=2)
    sampler = RegionSwap(RegionSwapConfig(min_label_distance=3, region="right"))
    sampler.fit(cases)
    sampler.refresh(0, 0)
    sides = {sampler.draw(case, np.random.default_rng(0)).note["side"] for case in cases}
    assert sides == {"right"}
