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
from ctfw_plugins.samplers.gauss import Gauss
from ctfw_plugins.samplers.noise import Noise, phase_randomised


def normalised() -> Volume:
    volume = tiny_volume()
    return volume.but(
        array=np.clip(volume.array / 1000, -1, 1),
        intensity="normalised",
        positions_mm=np.arange(12) * 3.0,
    )


def transform(seed: int = 0, **settings: float | str) -> Noise:
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
    told = sampler.summary()
    assert (told["sampler"], told["draws"], told["strength"]) == ("gauss", 2, 1.0)
    assert told["partner_use"] == {}
    assert told["relaxed"] == 0


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
    assert negative.note == {"strength": 0.5, "spectrum": "white"}
    assert negative.transform is not None
    assert negative.transform(normalised()).provenance[-1].text == (
        "50% Gaussian noise: a negative, not a scan"
    )


def power(array: np.ndarray) -> np.ndarray:
    return np.asarray(np.abs(np.fft.rfftn(array)) ** 2)


@given(st.integers(0, 50))
def test_matched_noise_has_the_power_at_every_frequency_of_the_anchor(seed: int) -> None:
    source = np.asarray(normalised().array, np.float32)
    white = np.random.default_rng(seed).standard_normal(source.shape, dtype=np.float32)
    made = phase_randomised(source, white)
    np.testing.assert_allclose(power(made), power(source), rtol=1e-3, atol=1e-3)
    assert made.mean() == pytest.approx(source.mean(), abs=1e-5)
    assert abs(np.corrcoef(made.ravel(), source.ravel())[0, 1]) < 0.6  # and lies elsewhere


def test_matched_noise_is_smooth_where_the_anchor_is() -> None:
    def roughness(array: np.ndarray) -> float:
        return float(np.abs(np.diff(array, axis=2)).mean() / array.std())

    source = normalised()
    white, matched = (transform(spectrum=s)(source).array for s in ("white", "matched"))
    assert roughness(source.array) < roughness(matched) < 0.6 * roughness(white)


def test_noise_in_hu_is_on_the_scale_of_hu() -> None:
    source = tiny_volume()
    made = transform(std=0.2)(source)
    assert made.intensity == "hu"
    assert 150 < made.array.std() < 250


def test_noise_shows_no_finding() -> None:
    case = tiny_cases()[1]
    negative = Gauss(GaussConfig()).draw(case, np.random.default_rng(0))
    assert np.any(case.labels)
    assert negative.labels is not None
    assert not negative.labels.any()
