"""Settings that every data set has."""

from __future__ import annotations

from pydantic import Field

from ctfw.config import Strict
from ctfw.slots import UsePreprocessor, UseVolumeLoader


class DatasetConfig(Strict):
    """How the images of a data set are read; a data set's settings model derives from it."""

    loader: UseVolumeLoader | None = Field(
        None, description="volume loader; null: the first installed one that can read the file"
    )
    preprocess: list[UsePreprocessor] = Field(
        default_factory=list, description="steps from the file to the model's input, in order"
    )
