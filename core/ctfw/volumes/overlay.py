"""Where planted or annotated lesions lie on the slices that a model sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ctfw.types import Volume


def mask_on(volume: Volume, mask: Path) -> np.ndarray:
    """(z, y, x) int32 bit field of `mask` sampled on the grid of `volume`.

    Bit l is set where label l is. Each voxel takes the nearest mask voxel; outside the mask
    nothing is set. Both grids are related through their affines, so the mask may have another
    spacing or orientation than the volume.
    """
    codes, affine = _read(mask)
    _depth, height, width = volume.array.shape
    along = volume.affine[:3, 2] / np.linalg.norm(volume.affine[:3, 2])
    inverse = np.linalg.inv(affine)
    y, x = np.meshgrid(np.arange(height), np.arange(width), indexing="ij")
    plane = np.stack([x, y, np.zeros_like(x), np.ones_like(x)]).reshape(4, -1).astype(float)
    base = (volume.affine @ plane)[:3]
    out = np.zeros(volume.array.shape, np.int32)
    for k, position in enumerate(volume.slice_positions_mm):
        points = base + (along * position)[:, None]
        index = np.rint(inverse[:3, :3] @ points + inverse[:3, 3:]).astype(int)
        inside = np.all((index >= 0) & (index < np.array(codes.shape)[:, None]), axis=0)
        row = np.zeros(height * width, np.int32)
        i, j, n = index[:, inside]
        row[inside] = codes[i, j, n]
        out[k] = row.reshape(height, width)
    return out


def _read(mask: Path) -> tuple[np.ndarray, np.ndarray]:
    """((x, y, z) int32, 4x4) of a NIfTI label map."""
    import nibabel as nib
    from isal import igzip

    content = mask.read_bytes()
    if mask.suffix == ".gz":
        content = igzip.decompress(content)
    image = nib.Nifti1Image.from_bytes(content)
    return np.asanyarray(image.dataobj).astype(np.int32, copy=False), np.asarray(image.affine)
