"""Images are altered as their names say, and in nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from ctfw.engine.altered import ALTERED, altered, blank, mirrored, noise, shuffled
from ctfw.testing import tiny_volume
from ctfw.types import Volume

RNG = np.random.default_rng


def normalised(affine: np.ndarray | None = None) -> Volume:
    array = RNG(0).uniform(-1, 1, (5, 6, 4)).astype(np.float32)
    return Volume(array, np.eye(4) if affine is None else affine, "normalised")


@pytest.mark.parametrize("name", ALTERED)
def test_only_the_voxels_change(name: str) -> None:
    source = normalised().but(positions_mm=np.array([0.0, 3, 5, 9, 30]))
    before = source.array.copy()
    made = altered(name, source, 1, "case")
    assert made.array.shape == source.array.shape
    assert not np.array_equal(made.array, before)
    assert np.array_equal(source.array, before)
    assert made.affine is source.affine
    assert made.positions_mm is source.positions_mm
    assert np.abs(made.array).max() <= 1


@pytest.mark.parametrize("name", ["noise", "shuffled"])
def test_chance_follows_seed_and_case(name: str) -> None:
    made = [altered(name, normalised(), *key).array for key in ((1, "a"), (1, "a"), (1, "b"))]
    assert np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])
    assert not np.array_equal(made[0], altered(name, normalised(), 2, "a").array)


def test_blank_is_air_on_the_scale_of_the_volume() -> None:
    assert (blank(normalised(), RNG(0)).array == -1).all()
    assert (blank(tiny_volume(), RNG(0)).array == -1000).all()


def test_noise_has_the_spread_of_the_scale() -> None:
    wide = Volume(np.zeros((20, 40, 40), np.float32), np.eye(4), "normalised")
    assert noise(wide, RNG(0)).array.std() == pytest.approx(0.48, abs=0.02)  # 0.5 before clipping
    assert noise(wide.but(intensity="hu"), RNG(0)).array.std() == pytest.approx(480, abs=20)


@pytest.mark.parametrize("seed", range(30))
def test_shuffled_slices_are_the_same_slices_in_another_order(seed: int) -> None:
    source = normalised().but(
        array=np.arange(3, dtype=np.float32)[:, None, None] + np.zeros((2, 2))
    )
    made = shuffled(source, RNG(seed)).array[:, 0, 0].tolist()
    assert sorted(made) == [0, 1, 2]
    assert made != [0, 1, 2]


def test_single_slice_cannot_be_shuffled() -> None:
    one = Volume(np.ones((1, 3, 3), np.float32), np.eye(4))
    assert np.array_equal(shuffled(one, RNG(0)).array, one.array)


@pytest.mark.parametrize(
    ("affine", "axis"),
    [
        (np.diag([-1.0, -1, 1, 1]), 2),  # LPS: x runs to the left
        (np.diag([1.0, 1, 1, 1]), 2),
        (np.array([[0, 0, 2.0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]), 0),  # sagittal
        (np.array([[0, -2.0, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]), 1),
    ],
)
def test_mirror_turns_the_axis_between_left_and_right(affine: np.ndarray, axis: int) -> None:
    source = normalised(affine)
    made = mirrored(source, RNG(0))
    assert np.array_equal(made.array, np.flip(source.array, axis))
    assert np.array_equal(mirrored(made, RNG(0)).array, source.array)
