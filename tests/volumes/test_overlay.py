"""A mask lies on the slices that the model sees where it lies in the patient."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from ctfw.testing import tiny_cases
from ctfw.types import Lesion, Volume
from ctfw.volumes.overlay import mask_on
from ctfw.volumes.sprite import outlines, write_sprite
from ctfw_plugins.preprocess.configs import SlicesConfig
from ctfw_plugins.preprocess.slices import Slices

SHAPE = (12, 10, 8)  # z, y, x
AFFINE = np.diag([-3.0, -3.0, 3.0, 1.0])
AFFINE[:3, 3] = (40.0, -20.0, -300.0)


def volume(shape: tuple[int, int, int] = SHAPE, affine: np.ndarray = AFFINE) -> Volume:
    return Volume(np.zeros(shape, np.float32), affine, "normalised")


@pytest.fixture
def codes() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 8, SHAPE)


def saved(codes: np.ndarray, path: Path, affine: np.ndarray = AFFINE) -> Path:
    """(z, y, x) codes as a NIfTI file."""
    nibabel.save(nibabel.Nifti1Image(codes.T.astype(np.int32), affine), path / "mask.nii.gz")
    return path / "mask.nii.gz"


def by_hand(on: Volume, codes: np.ndarray, affine: np.ndarray) -> np.ndarray:
    """Nearest code of each voxel, one at a time, through world coordinates."""
    out = np.zeros(on.array.shape, int)
    back = np.linalg.inv(affine)
    for k, j, i in itertools.product(*map(range, on.array.shape)):
        world = on.affine @ np.array([i, j, 0, 1.0])
        step = on.affine[:3, 2] / np.linalg.norm(on.affine[:3, 2])
        world[:3] += step * on.slice_positions_mm[k]
        x, y, z = (int(np.rint(value)) for value in (back @ world)[:3])
        if 0 <= z < codes.shape[0] and 0 <= y < codes.shape[1] and 0 <= x < codes.shape[2]:
            out[k, j, i] = codes[z, y, x]
    return out


def test_own_grid_is_the_mask_itself(codes: np.ndarray, tmp_path: Path) -> None:
    assert np.array_equal(mask_on(volume(), saved(codes, tmp_path)), codes)


def test_another_orientation_of_the_file_changes_nothing(codes: np.ndarray, tmp_path: Path) -> None:
    flip = np.diag([-1.0, 1.0, -1.0, 1.0])
    flip[:3, 3] = (SHAPE[2] - 1, 0, SHAPE[0] - 1)
    file = saved(codes[::-1, :, ::-1], tmp_path, AFFINE @ flip)
    assert np.array_equal(mask_on(volume(), file), codes)


@pytest.mark.parametrize("scale", [(0.45, 0.45, 0.45), (1.7, 1.3, 2.2), (1.0, 1.0, 0.6)])
def test_another_spacing_takes_the_nearest_voxel(
    scale: tuple[float, ...], codes: np.ndarray, tmp_path: Path
) -> None:
    affine = AFFINE @ np.diag([*scale, 1.0])
    affine[:3, 3] += (1.1, -2.3, 0.7)
    coarse = volume((5, 6, 7), affine)
    found = mask_on(coarse, saved(codes, tmp_path))
    assert np.array_equal(found, by_hand(coarse, codes, AFFINE))
    assert found.any()


def test_chosen_slices_get_their_own_slices_of_the_mask(codes: np.ndarray, tmp_path: Path) -> None:
    chosen = Slices(SlicesConfig(count=5))(volume())
    index = chosen.provenance[-1].values["index"]
    assert np.diff(index).tolist() != [2] * 4  # uneven
    assert np.array_equal(mask_on(chosen, saved(codes, tmp_path)), codes[index])


def test_positions_go_before_the_mean_step(codes: np.ndarray, tmp_path: Path) -> None:
    affine = AFFINE @ np.diag([1, 1, 11 / 3, 1.0])
    uneven = volume((4, 10, 8), affine).but(positions_mm=np.array([0.0, 3.0, 15.0, 33.0]))
    assert np.array_equal(mask_on(uneven, saved(codes, tmp_path)), codes[[0, 1, 5, 11]])


def test_outside_the_mask_nothing_is_set(tmp_path: Path) -> None:
    small = saved(np.full((2, 2, 2), 3), tmp_path)
    found = mask_on(volume(), small)
    assert found[:2, :2, :2].tolist() == np.full((2, 2, 2), 3).tolist()
    assert found.sum() == 8 * 3


def test_outlines_go_around_the_planted_pixels(tmp_path: Path) -> None:
    codes = np.zeros(SHAPE, int)
    codes[3, 2:5, 1:7] = 1 << 1
    codes[4, 2:5, 1:7] = 1 << 1
    names = ("a", "b", "c")
    lesions = (
        Lesion("b", (0.0, 0.0, 0.0), 8.0, side="left"),
        Lesion("b", (0.0, 0.0, 0.0), 11.0, side="right"),
    )
    case = replace(tiny_cases(1)[0], mask=saved(codes, tmp_path), lesions=lesions)
    (found,) = outlines(volume(), case, names)
    assert (found["label"], found["size_mm"], found["side"]) == ("b", 11.0, "left and right")
    assert list(found["outlines"]) == ["3", "4"]
    (line,) = found["outlines"]["3"]
    points = np.array(line)  # halfway between the pixels inside and those around
    assert points.min(0).tolist() == [0.5, 1.5]
    assert points.max(0).tolist() == [6.5, 4.5]
    assert outlines(volume(), replace(case, mask=None), names) == []


def test_outline_reaches_the_edge_of_the_picture(tmp_path: Path) -> None:
    codes = np.zeros(SHAPE, int)
    codes[0, :2, :2] = 1
    case = replace(tiny_cases(1)[0], mask=saved(codes, tmp_path))
    (found,) = outlines(volume(), case, ("a",))
    (line,) = found["outlines"]["0"]
    assert np.array(line).min(0).tolist() == [-0.5, -0.5]
    assert line[0] == line[-1]  # closed


@pytest.mark.parametrize("intensity", ["hu", "normalised"])
def test_sprite_holds_the_slices_below_each_other(intensity: str, tmp_path: Path) -> None:
    array = np.linspace(-1, 0.4, 3)[:, None, None] * np.ones((3, 5, 4))
    if intensity == "hu":
        array = array * 1000
    source = Volume(array.astype(np.float32), AFFINE, intensity)
    write_sprite(source, tmp_path / "new" / "sprite.png")
    pixels = np.asarray(Image.open(tmp_path / "new" / "sprite.png"))
    assert pixels.shape == (15, 4)
    assert [sorted(set(part.ravel())) for part in np.split(pixels, 3)] == [[0], [127], [255]]
