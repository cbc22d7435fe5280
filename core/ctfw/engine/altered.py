"""The images under which a report is read again, to see whether the image matters.

All act on the preprocessed volume, which is what the model would see. They keep shape, affine and
slice positions, so that only the content of the picture changes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ctfw.seed import stream
from ctfw.types import HU, Volume, orientation_of

NOISE_STD = 0.5
NOISE_STD_HU = 500.0
AIR, AIR_HU = -1.0, -1000.0
LIMIT, LIMIT_HU = 1.0, 1000.0

Altered = Callable[[Volume, np.random.Generator], Volume]


def noise(volume: Volume, rng: np.random.Generator) -> Volume:
    """White Gaussian noise of the volume's shape: mean 0, std 0.5 of the [-1, 1] scale (or 500
    HU), clipped to [-1, 1] (or 1000 HU)."""
    std, limit = (NOISE_STD_HU, LIMIT_HU) if volume.intensity == HU else (NOISE_STD, LIMIT)
    values = rng.standard_normal(volume.array.shape, dtype=np.float32) * np.float32(std)
    return volume.but(array=np.clip(values, -limit, limit))


def blank(volume: Volume, rng: np.random.Generator) -> Volume:
    """Air everywhere: -1 of the [-1, 1] scale, or -1000 HU."""
    air = AIR_HU if volume.intensity == HU else AIR
    return volume.but(array=np.full(volume.array.shape, air, np.float32))


def shuffled(volume: Volume, rng: np.random.Generator) -> Volume:
    """The slices in another order, at the old positions; a single slice stays as it is."""
    count = volume.array.shape[0]
    order = rng.permutation(count)
    if count > 1 and (order == np.arange(count)).all():
        order = np.roll(order, 1)
    return volume.but(array=np.ascontiguousarray(volume.array[order]))


def mirrored(volume: Volume, rng: np.random.Generator) -> Volume:
    """Left and right exchanged, by the axis that the affine says runs from left to right."""
    axes = [place for place, letter in enumerate(orientation_of(volume.affine)) if letter in "LR"]
    axis = 2 - axes[0] if axes else 2  # the array's axes are the affine's, in reverse
    return volume.but(array=np.ascontiguousarray(np.flip(volume.array, axis)))


ALTERED: Mapping[str, Altered] = {
    "noise": noise,
    "blank": blank,
    "shuffled": shuffled,
    "mirrored": mirrored,
}


def altered(name: str, volume: Volume, seed: int, case: str) -> Volume:
    """The volume under condition `name`; the same for one seed and case, in any order of cases.

    Raises KeyError for an unknown condition.
    """
    return ALTERED[name](volume, stream(seed, name, case))
