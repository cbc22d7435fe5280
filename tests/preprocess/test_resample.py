"""Resampling agrees with torch and scipy, and its affine tells where every sample was taken."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ctfw.errors import UserError
from ctfw.types import Volume
from ctfw.volumes.geometry import lps_affine
from ctfw_plugins.preprocess.configs import ResampleConfig
from ctfw_plugins.preprocess.kernel import Axis, resample
from ctfw_plugins.preprocess.resample import Resample

SPACINGS = [((0.7, 0.7, 1.0), (17, 40, 37)), ((0.9, 0.6, 5.0), (6, 33, 41)), ((2, 2, 3), (9, 8, 7))]


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(0).integers(-1024, 1500, shape).astype(np.int16)


@pytest.mark.parametrize(("spacing", "shape"), SPACINGS)
def test_ctclip_grid_equals_torch_trilinear(spacing: tuple, shape: tuple) -> None:
    array = noise(shape)
    made = Resample(ResampleConfig(grid="ctclip"))(Volume(array, lps_affine(spacing)))
    target = (1.5, 0.75, 0.75)
    size = [int(n * s / t + 1e-6) for n, s, t in zip(shape, spacing[::-1], target, strict=True)]
    expected = torch.nn.functional.interpolate(
        torch.tensor(array, dtype=torch.float64)[None, None], size=size, mode="trilinear"
    )
    assert made.array.shape == tuple(size)
    np.testing.assert_allclose(made.array, expected[0, 0].numpy(), atol=1e-3)


@pytest.mark.parametrize(("spacing", "shape"), SPACINGS)
def test_centre_grid_equals_scipy_at_the_places_of_the_affine(spacing: tuple, shape: tuple) -> None:
    volume = Volume(noise(shape), lps_affine(spacing))
    made = Resample(ResampleConfig())(volume)
    assert made.spacing_mm == pytest.approx((1.5, 0.75, 0.75))
    z, y, x = np.indices(made.array.shape).reshape(3, -1)
    mm = made.affine @ np.stack([x, y, z, np.ones_like(x)])
    index = (np.linalg.inv(volume.affine) @ mm)[:3][::-1]
    expected = scipy.ndimage.map_coordinates(
        volume.array.astype(float), index, order=1, mode="nearest"
    )
    np.testing.assert_allclose(made.array.ravel(), expected, atol=2e-3)


@settings(max_examples=40, deadline=None)
@given(
    spacing=st.tuples(*[st.floats(0.4, 4)] * 3),
    target=st.tuples(*[st.floats(0.4, 4)] * 3),
    grid=st.sampled_from(["centre", "ctclip"]),
    antialias=st.sampled_from(["none", "auto"]),
)
def test_millimetre_ramp_stays_true(
    spacing: tuple, target: tuple, grid: str, antialias: str
) -> None:
    shape = (26, 25, 24)
    affine = lps_affine(spacing)
    affine[:3, 3] = 10, -20, 30
    z, y, x = np.indices(shape)
    ramp = np.einsum("i,i...->...", affine[:3, :3].sum(0), np.stack([x, y, z])) + 20.0
    config = ResampleConfig(spacing_mm=target, grid=grid, antialias=antialias)  # type: ignore[arg-type]
    made = Resample(config)(Volume(ramp.astype(np.float32), affine))
    # The outermost new voxels repeat the nearest old one: leave out what reaches beyond.
    reach = [2 + int(2 * max(1, s / t)) for s, t in zip(spacing, target, strict=True)]
    inner = tuple(slice(r, n - r) for r, n in zip(reach[::-1], made.array.shape, strict=True))
    z, y, x = np.indices(made.array.shape)
    mm = (made.affine @ np.stack([a.ravel() for a in (x, y, z, np.ones_like(x))]))[:3].sum(0)
    expected = mm.reshape(made.array.shape)
    # A triangle that reaches over whole voxels weighs a ramp off its centre: by 0.0858 voxel at
    # most (at a ratio of 1.705), which is the largest first moment of its normalised weights.
    thinned = [s for s, t in zip(spacing, target, strict=True) if t > s]
    off = 2e-3 + (0.086 * sum(thinned) if antialias == "auto" else 0)
    np.testing.assert_allclose(made.array[inner], expected[inner], atol=off)


@pytest.mark.parametrize("grid", ["centre", "ctclip"])
def test_centre_and_extent_are_kept(grid: str) -> None:
    volume = Volume(noise((20, 30, 40)), lps_affine((0.7, 0.8, 1.1)))
    made = Resample(ResampleConfig(grid=grid))(volume)  # type: ignore[arg-type]

    def centre(of: Volume) -> np.ndarray:
        middle = [(n - 1) / 2 for n in of.array.shape[::-1]]
        return of.affine @ np.array([*middle, 1])

    np.testing.assert_allclose(centre(made), centre(volume), atol=1e-9)
    lost = np.abs(np.subtract(made.extent_mm, volume.extent_mm))
    assert (lost <= np.array(made.spacing_mm) / (2 if grid == "centre" else 1e9)).all()


def test_spacing_that_is_right_already_changes_nothing() -> None:
    volume = Volume(noise((5, 6, 7)), lps_affine((0.75, 0.75, 1.5)))
    made = Resample(ResampleConfig())(volume)
    np.testing.assert_array_equal(made.array, volume.array)
    assert made.array.dtype == volume.array.dtype
    np.testing.assert_allclose(made.affine, volume.affine)


def test_antialias_averages_what_linear_would_skip() -> None:
    stripes = np.zeros((4, 4, 64), np.float32)
    stripes[..., ::2] = 1000
    volume = Volume(stripes, lps_affine((0.375, 0.75, 1.5)))
    smooth = Resample(ResampleConfig(antialias="auto"))(volume).array[..., 4:-4]
    np.testing.assert_allclose(smooth, 500, atol=1)
    assert smooth.shape == (4, 4, 24)


def test_antialias_equals_torch() -> None:
    array = noise((3, 64, 81))
    config = ResampleConfig(spacing_mm=(0.75, 0.75, 1.0), grid="ctclip", antialias="auto")
    made = Resample(config)(Volume(array, lps_affine((0.35, 0.4, 1.0))))
    expected = torch.nn.functional.interpolate(
        torch.tensor(array, dtype=torch.float64)[None],
        size=made.array.shape[1:],
        mode="bilinear",
        antialias=True,
    )
    np.testing.assert_allclose(made.array, expected[0].numpy(), atol=2e-3)


def test_slabs_and_order_do_not_change_the_result() -> None:
    array = noise((50, 20, 21)).astype(np.float32)
    z, y, x = (Axis(n, np.linspace(0, n - 1, 35), 1.6) for n in array.shape)
    whole = array.astype(float)
    for axis, n in ((z, 0), (y, 1), (x, 2)):
        matrix = np.zeros((35, axis.size))
        for rows, columns, weights, _ in axis.blocks:
            matrix[rows, columns] = weights.T
        np.testing.assert_allclose(matrix.sum(1), 1, atol=1e-6)
        whole = np.moveaxis(np.tensordot(matrix, whole, (1, n)), 0, n)
    np.testing.assert_allclose(resample(array, z, y, x), whole, atol=2e-3)


def test_chosen_slices_cannot_be_resampled() -> None:
    volume = Volume(noise((3, 4, 5)), np.eye(4), positions_mm=np.array([0, 1, 5.0]))
    with pytest.raises(UserError, match="before `slices`"):
        Resample(ResampleConfig())(volume)


def test_unit_that_was_mistaken_is_refused_before_anything_is_made() -> None:
    volume = Volume(noise((60, 100, 128)), lps_affine((2.5, 2.5, 5)))
    with pytest.raises(UserError, match=r"would make 6400 x 5000 x 3000 voxels.*check the unit"):
        Resample(ResampleConfig(spacing_mm=(0.05, 0.05, 0.1)))(volume)
    for wrong in (0.0075, 400):
        with pytest.raises(ValidationError):
            ResampleConfig(spacing_mm=(wrong, 0.75, 1.5))
