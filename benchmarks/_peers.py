"""The same work done by each peer: `.nii.gz` -> HU -> 0.75 x 0.75 x 1.5 mm -> [-1, 1] -> `.npy`.

Every function imports what it needs and builds what can be built before a file is known, then
returns the work itself. All write one C-ordered float32 array with axes (z, x, y) into `folder`,
except where the row is about another type. The peers are written as their documentation, or for
CT-CLIP its published description, shows their use; none is tuned except where its name says so.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from _own import ctfw
from _work import HIGH, LOW, SCALE, Source, Work, finish, isal, one_threaded_torch, save, stored


def ctclip_script() -> Work:
    """CT-CLIP's preprocessing script: clip and scale first, then float32 trilinear."""
    import nibabel as nib

    torch = one_threaded_torch()

    def work(source: Source, folder: Path) -> None:
        voxels = nib.load(source.path).get_fdata()
        voxels = source.slope * voxels + source.intercept
        voxels = np.clip(voxels, LOW, HIGH)
        voxels = (voxels / SCALE).astype(np.float32)
        tensor = torch.tensor(voxels.transpose(2, 0, 1))[None, None]
        tensor = torch.nn.functional.interpolate(
            tensor, size=source.size_zxy, mode="trilinear", align_corners=False
        )
        save(folder, tensor[0, 0].numpy())

    return work


def ctclip_data() -> Work:
    """CT-CLIP's training loader: resample first, then clip, in float64 throughout."""
    import nibabel as nib

    torch = one_threaded_torch()

    def work(source: Source, folder: Path) -> None:
        image = nib.load(source.path)
        voxels = image.get_fdata()
        voxels = source.slope * voxels + source.intercept
        tensor = torch.tensor(voxels.transpose(2, 0, 1))[None, None]
        tensor = torch.nn.functional.interpolate(
            tensor, size=source.size_zxy, mode="trilinear", align_corners=False
        )
        back = np.transpose(tensor[0, 0].numpy(), (1, 2, 0))
        back = np.clip(back, LOW, HIGH)
        back = (back / SCALE).astype(np.float32)
        save(folder, torch.tensor(back).permute(2, 0, 1).numpy())

    return work


def monai() -> Work:
    """MONAI's dictionary transforms with their defaults (float64 coordinates in Spacingd)."""
    from monai import transforms as t

    one_threaded_torch()
    tail = [
        t.ScaleIntensityRanged(
            "image", a_min=LOW, a_max=HIGH, b_min=LOW / SCALE, b_max=HIGH / SCALE, clip=True
        )
    ]
    head = [t.LoadImaged("image"), t.EnsureChannelFirstd("image", channel_dim="no_channel")]

    def work(source: Source, folder: Path) -> None:
        steps = [
            *head,
            t.Lambdad("image", lambda image: image * source.slope + source.intercept),
            t.Spacingd("image", pixdim=source.target_mm, mode="bilinear"),
            *tail,
        ]
        image = t.Compose(steps)({"image": source.path})["image"]
        save(folder, image[0].permute(2, 0, 1).numpy())

    return work


def torchio() -> Work:
    """TorchIO's transforms with their defaults."""
    import torchio as tio

    one_threaded_torch()
    clamp = tio.Clamp(LOW, HIGH)
    scale = tio.RescaleIntensity((LOW / SCALE, HIGH / SCALE), in_min_max=(LOW, HIGH))

    def work(source: Source, folder: Path) -> None:
        hu = tio.Lambda(lambda image: image.float() * source.slope + source.intercept)
        steps = tio.Compose([hu, tio.Resample(source.target_mm), clamp, scale])
        image = steps(tio.ScalarImage(source.path))
        save(folder, image.data[0].permute(2, 0, 1).numpy())

    return work


def scipy() -> Work:
    """nibabel and `scipy.ndimage.zoom` of order 1, in float32."""
    import nibabel as nib
    from scipy import ndimage

    def work(source: Source, folder: Path) -> None:
        image = nib.load(source.path)
        voxels = image.get_fdata(dtype=np.float32)
        voxels = voxels * np.float32(source.slope) + np.float32(source.intercept)
        spacing = image.header.get_zooms()
        factors = [s / t for s, t in zip(spacing, source.target_mm, strict=True)]
        voxels = ndimage.zoom(voxels, factors, order=1)
        voxels = np.clip(voxels, LOW, HIGH) / np.float32(SCALE)
        save(folder, voxels.transpose(2, 0, 1))

    return work


def simpleitk_plain() -> Work:
    """SimpleITK, one filter after the other: cast, HU, resample, clamp, scale."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

    def work(source: Source, folder: Path) -> None:
        image = sitk.Cast(sitk.ReadImage(str(source.path)), sitk.sitkFloat32)
        image = image * source.slope + source.intercept
        image = _itk_resampled(sitk, image, source, LOW)
        image = sitk.Clamp(image, sitk.sitkFloat32, LOW, HIGH) / SCALE
        save(folder, sitk.GetArrayViewFromImage(image).transpose(0, 2, 1))

    return work


def simpleitk_best() -> Work:
    """SimpleITK with care: int16 straight to the small float32 grid, the rest done in place."""
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalDefaultNumberOfThreads(1)

    def work(source: Source, folder: Path) -> None:
        stored = sitk.ReadImage(str(source.path))
        air = (LOW - source.intercept) / source.slope
        image = _itk_resampled(sitk, stored, source, air)
        del stored
        voxels = sitk.GetArrayFromImage(image)
        finish(voxels, source)
        save(folder, voxels.transpose(0, 2, 1))

    return work


def _itk_resampled(sitk: Any, image: Any, source: Source, outside: float) -> Any:
    size = [
        round(n * s / t)
        for n, s, t in zip(source.shape, source.spacing_mm, source.target_mm, strict=True)
    ]
    resampler = sitk.ResampleImageFilter()
    resampler.SetInterpolator(sitk.sitkLinear)
    resampler.SetOutputSpacing(source.target_mm)
    resampler.SetOutputOrigin(image.GetOrigin())
    resampler.SetOutputDirection(image.GetDirection())
    resampler.SetSize(size)
    resampler.SetOutputPixelType(sitk.sitkFloat32)
    resampler.SetDefaultPixelValue(outside)
    return resampler.Execute(image)


def torch_isal() -> Work:
    """A careful engineer's version: isal, then torch's trilinear on the whole float32 volume."""
    isal()
    torch = one_threaded_torch()

    def work(source: Source, folder: Path) -> None:
        voxels = torch.from_numpy(stored(source)).to(torch.float32)[None, None]
        z, x, y = source.size_zxy
        voxels = torch.nn.functional.interpolate(
            voxels, size=(z, y, x), mode="trilinear", align_corners=False
        )[0, 0].numpy()
        finish(voxels, source)
        save(folder, voxels.transpose(0, 2, 1))

    return work


def imops_isal() -> Work:
    """The same with `imops.zoom` as the kernel."""
    isal()
    import imops

    def work(source: Source, folder: Path) -> None:
        voxels = stored(source).astype(np.float32)
        factors = [
            s / t for s, t in zip(source.spacing_mm[::-1], source.target_mm[::-1], strict=True)
        ]
        voxels = imops.zoom(voxels, factors, order=1, num_threads=1)
        finish(voxels, source)
        save(folder, voxels.transpose(0, 2, 1))

    return work


def gunzip_write() -> Work:
    """The limit: decompress with isal and write as many zeros as the result has numbers."""
    igzip = isal()
    from numpy.lib import format as npy

    def work(source: Source, folder: Path) -> None:
        chunk = memoryview(bytearray(1 << 20))
        with igzip.open(source.path, "rb") as stream:
            while stream.readinto(chunk):
                pass
        z, x, y = source.size_zxy
        planes = np.zeros((8, x, y), np.float32)
        with (folder / "limit.npy").open("wb") as out:
            facts = {"descr": "<f4", "fortran_order": False, "shape": (z, x, y)}
            npy.write_array_header_1_0(out, facts)
            for start in range(0, z, 8):
                out.write(planes[: min(8, z - start)].data)

    return work


PEERS: dict[str, Callable[[], Work]] = {
    "gunzip-write": gunzip_write,
    "ctfw": ctfw,
    "ctfw-float16": lambda: ctfw(dtype="float16"),
    "ctfw-antialias": lambda: ctfw(antialias="auto"),
    "ctclip-script": ctclip_script,
    "ctclip-data": ctclip_data,
    "monai": monai,
    "torchio": torchio,
    "scipy": scipy,
    "simpleitk-plain": simpleitk_plain,
    "simpleitk-best": simpleitk_best,
    "torch-isal": torch_isal,
    "imops-isal": imops_isal,
}
