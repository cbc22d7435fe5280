"""`gauss` puts noise in the place of the anchor's image and of nothing else."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.testing import tiny_cases, tiny_volume
from ctfw.types import Volume
from ctfw_plugins.samplers.configs import GaussConfig
from ctfw_plugins.samplers.gauss import Gauss, Noise


def normalised() -> Volume:
    volume = tiny_volume()
    return volume.but(
        array=np.clip(volume.array / 1000, -1, 1),
        intensity="normalised",
        positions_mm=np.arange(12) * 3.0,
    )


def transform(seed: int = 0, **settings: float) -> Noise:
    negative = Gauss(GaussConfig.model_validate(settings)).draw(
        tiny_cases()[0], np.random.default_rng(seed)
    )
    assert negative.case is None
    assert isinstance(negative.transform, Noise)
    return negative.transform


@given(st.floats(0.01, 1), st.floats(-1, 1), st.floats(0.01, 5), st.integers(0, 50))
def test_shape_geometry_and_range_are_kept(
    strength: float, mean: float, std: float, seed: int
) -> None:
    source = normalised()
    made = transform(seed, strength=strength, mean=mean, std=std)(source)
    assert made.array.shape == source.array.shape
    assert made.array.dtype == np.float32
    assert made.array.min() >= -1
    assert made.array.max() <= 1
    assert np.array_equal(made.affine, source.affine)
    assert np.array_equal(made.slice_positions_mm, source.slice_positions_mm)
    assert made.intensity == "normalised"
    assert made.provenance[: len(source.provenance)] == source.provenance


def test_noise_follows_the_generator() -> None:
    source = normalised()
    first, again, other = (transform(seed)(source).array for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    survived = pickle.loads(pickle.dumps(transform(1)))  # it goes to worker processes
    assert np.array_equal(survived(source).array, first)


def test_each_draw_is_new() -> None:
    sampler, rng = Gauss(GaussConfig()), np.random.default_rng(0)
    one, two = (sampler.draw(tiny_cases()[0], rng).transform for _ in range(2))
    assert one != two
    assert sampler.summary() == {"sampler": "gauss", "draws": 2, "strength": 1.0}


def test_full_strength_leaves_nothing_of_the_anchor() -> None:
    source = normalised()
    blank = source.but(array=np.zeros_like(source.array))
    noise = transform(3)
    assert np.array_equal(noise(source).array, noise(blank).array)
    values = noise(blank).array
    assert abs(values.mean()) < 0.01
    assert values.std() == pytest.approx(0.47, abs=0.01)  # 0.5, less what is clipped at 1


def test_strength_blends_with_the_anchor() -> None:
    source = normalised().but(array=np.full((12, 28, 28), 0.25, np.float32))
    values = transform(4, strength=0.2, mean=0.5, std=0.1)(source).array
    assert values.mean() == pytest.approx(0.8 * 0.25 + 0.2 * 0.5, abs=0.001)
    assert values.std() == pytest.approx(0.2 * 0.1, abs=0.001)


def test_note_says_how_strong() -> None:
    negative = Gauss(GaussConfig(strength=0.5)).draw(tiny_cases()[0], np.random.default_rng(0))
    assert negative.note == {"strength": 0.5}
    assert negative.transform is not None
    assert negative.transform(normalised()).provenance[-1].text == (
        "50% Gaussian noise: a negative, not a scan"
    )
