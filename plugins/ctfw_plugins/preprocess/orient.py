"""Rows and columns of the slices: the picture on a radiologist's screen, or CT-CLIP's transpose."""

from __future__ import annotations

from typing import Any

import numpy as np

from ctfw.types import Case, Volume
from ctfw.volumes.stream import SliceStream
from ctfw_plugins.preprocess.configs import OrientConfig

_SWAPPED = np.array([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])


class Orient:
    """(z, y, x) -> the same for `radiological`, (z, x, y) for `ctclip`; the affine follows.

    radiological  rows run from anterior to posterior, columns from the patient's right to left,
                  as every picture that a natural-image model was trained on
    ctclip        rows run from right to left, columns from anterior to posterior: the arrays that
                  CT-CLIP, CT-CHAT and CT2Rep read are nibabel's (x, y, z) with z moved to the
                  front, which transposes every slice. For the weights of those models.
    """

    def __init__(self, config: OrientConfig, context: Any = None) -> None:
        self.config = config

    def __call__(self, volume: Volume, case: Case | None = None) -> Volume:
        return self.stream(SliceStream.of(volume), case).collect()

    def stream(self, slices: SliceStream, case: Case | None = None) -> SliceStream:
        if self.config.layout == "radiological":
            return slices.noting("orient", "rows from anterior to posterior, columns right to left")
        depth, height, width = slices.shape
        return (
            slices.each(np.transpose)
            .but(shape=(depth, width, height), affine=slices.affine @ _SWAPPED)
            .noting("orient", "slices transposed as CT-CLIP reads them: rows right to left")
        )
