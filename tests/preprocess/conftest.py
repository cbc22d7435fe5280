"""A chest-like volume in HU."""

from __future__ import annotations

import numpy as np
import pytest

from ctfw.types import Volume
from ctfw.volumes.geometry import lps_affine


@pytest.fixture
def chest() -> Volume:
    """(30, 60, 64) int16, 5 x 5 x 8 mm: lungs only in slices 6 to 23, off centre in y."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[0:60, 0:64]
    hu = np.full((30, 60, 64), -1000.0)
    hu[:, ((x - 32) / 26) ** 2 + ((y - 26) / 18) ** 2 < 1] = 40
    lungs = (((x - 20) / 8) ** 2 + ((y - 26) / 11) ** 2 < 1) | (
        ((x - 44) / 8) ** 2 + ((y - 26) / 11) ** 2 < 1
    )
    hu[6:24, lungs] = -850
    hu += rng.normal(0, 12, hu.shape)
    return Volume(np.rint(hu).astype(np.int16), lps_affine((5, 5, 8)), intensity="hu")
