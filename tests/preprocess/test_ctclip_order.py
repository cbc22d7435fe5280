"""`orient: ctclip` and its neighbours reproduce CT-CLIP's published order of operations.

The reference below is written from the description of that order (load x, y, z; slope and
intercept; clip; z to the front; trilinear to int(n x old / new); divide; centre crop and pad to
480 x 480 x 240 with -1; z to the front), once with the clip before and once after the resampling:
the two public loaders differ in that.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch

from ctfw.types import Case
from ctfw.volumes.open import open_slices
from ctfw.volumes.pipeline import VolumePipeline
from ctfw_plugins.preprocess import configs
from ctfw_plugins.preprocess.crop_pad import CropPad
from ctfw_plugins.preprocess.hu_window import HuWindow
from ctfw_plugins.preprocess.orient import Orient
from ctfw_plugins.preprocess.resample import Resample
from ctfw_plugins.preprocess.rescale_hu import RescaleHu
from ctfw_plugins.volumes.configs import NiftiConfig
from ctfw_plugins.volumes.nifti import NiftiLoader

SIZE = (48, 44, 24)  # x, y, z: the published 480, 480, 240 at a tenth
SPACING = (0.68, 0.81, 1.25)  # x, y, z; the published code takes one value for x and y


def reference(raw: np.ndarray, spacing: tuple[float, ...], clip_first: bool) -> np.ndarray:
    """(z, x, y) of a stored (x, y, z) array, intercept -1024."""
    hu = raw.astype(np.float64) - 1024
    if clip_first:
        hu = np.clip(hu, -1000, 1000)
    tensor = torch.from_numpy(hu.transpose(2, 0, 1).copy())[None, None]
    target = (1.5, 0.75, 0.75)
    old = (spacing[2], spacing[0], spacing[1])
    shape = [int(n * s / t) for n, s, t in zip(tensor.shape[2:], old, target, strict=True)]
    tensor = torch.nn.functional.interpolate(
        tensor, size=shape, mode="trilinear", align_corners=False
    )
    array = tensor[0, 0].numpy().transpose(1, 2, 0)
    if not clip_first:
        array = np.clip(array, -1000, 1000)
    array = array / 1000
    for axis, want in enumerate(SIZE):
        have = array.shape[axis]
        if have > want:
            start = (have - want) // 2
            array = array.take(range(start, start + want), axis)
        before = (want - array.shape[axis]) // 2
        after = want - array.shape[axis] - before
        pads = [(0, 0)] * 3
        pads[axis] = (before, after)
        array = np.pad(array, pads, constant_values=-1)
    return array.transpose(2, 0, 1)


def chain(clip_first: bool) -> list[Any]:
    window = HuWindow(configs.HuWindowConfig())
    resample = Resample(configs.ResampleConfig(grid="ctclip"))
    return [
        RescaleHu(
            configs.RescaleHuConfig(intensity="raw", slope=1, intercept=-1024, padding="keep")
        ),
        *((window, resample) if clip_first else (resample, window)),
        CropPad(configs.CropPadConfig(size=SIZE)),
        Orient(configs.OrientConfig(layout="ctclip")),
    ]


@pytest.mark.parametrize("clip_first", [True, False], ids=["clip before", "clip after"])
@pytest.mark.parametrize("shape", [(61, 57, 40), (40, 39, 13), (53, 41, 30)])
def test_index_coded_volume_comes_out_as_published(
    tmp_path: Path, shape: tuple[int, ...], clip_first: bool
) -> None:
    x, y, z = np.indices(shape)
    raw = (x * 37 + y * 23 + z * 61 - 700).astype(np.int16)  # every axis shows, both clips bite
    affine = np.diag([-SPACING[0], -SPACING[1], SPACING[2], 1.0])
    nib.save(nib.Nifti1Image(raw, affine), tmp_path / "scan.nii.gz")
    pipeline = VolumePipeline(
        partial(open_slices, loaders=[("nifti", NiftiLoader(NiftiConfig()))]),
        chain(clip_first),
        list("abcde"),
    )
    made = pipeline(tmp_path / "scan.nii.gz", Case("c", "p", tmp_path, ""))
    expected = reference(raw, SPACING, clip_first)
    assert made.array.shape == expected.shape == (24, 48, 44)
    np.testing.assert_allclose(made.array, expected, atol=2e-6)
    assert np.unique(np.sign(expected)).size > 1


def test_orders_differ_so_that_the_test_above_can_tell() -> None:
    x, y, z = np.indices((40, 39, 30))
    raw = ((x + y + z) % 2 * 4000 - 500).astype(np.int16)
    apart = reference(raw, SPACING, True) - reference(raw, SPACING, False)
    assert np.abs(apart).max() > 0.05


def test_affine_says_where_each_voxel_of_the_transposed_crop_lies(tmp_path: Path) -> None:
    shape = (50, 46, 30)
    x, y, z = np.indices(shape)
    raw = (x + 3 * y + 7 * z).astype(np.int16)
    affine = np.diag([-0.75, -0.75, 1.5, 1.0])
    affine[:3, 3] = 11, -7, 100
    nib.save(nib.Nifti1Image(raw, affine), tmp_path / "scan.nii.gz")
    settings = configs.RescaleHuConfig(intensity="hu", padding="keep")
    steps = [
        RescaleHu(settings),
        Orient(configs.OrientConfig(layout="ctclip")),
        CropPad(configs.CropPadConfig(size=(44, 40, 33), fill=-5)),
    ]
    pipeline = VolumePipeline(
        partial(open_slices, loaders=[("nifti", NiftiLoader(NiftiConfig()))]), steps, list("abc")
    )
    made = pipeline(tmp_path / "scan.nii.gz")
    inside = np.argwhere(made.array != -5)
    mm = made.affine @ np.concatenate([inside[:, ::-1], np.ones((len(inside), 1))], 1).T
    index = np.rint(np.linalg.inv(affine) @ mm).astype(int)[:3]
    np.testing.assert_array_equal(raw[tuple(index)], made.array[tuple(inside.T)])
    assert len(inside) == 40 * 44 * 30
