"""Settings of the preprocessors."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from ctfw.config import Local, Strict

Millimetres = Annotated[float, Field(ge=0.05, le=20)]
Pixels = Annotated[int, Field(ge=1, le=4096)]
Voxels = Annotated[int, Field(ge=1, le=4096)]


class RescaleHuConfig(Strict):
    """HU = P x slope + intercept, at most once."""

    intensity: Literal["auto", "hu", "raw"] = Field(
        "auto",
        description="auto decides from what is declared and from the voxels, and refuses when they "
        "disagree; hu and raw settle it",
    )
    slope: float | None = Field(None, description="for raw values; overrides the data set's table")
    intercept: float | None = Field(
        None, description="for raw values; overrides the data set's table"
    )
    mend_double_rescale: bool = Field(
        False,
        description="take a second rescale back where the voxels show one, instead of "
        "refusing the scan",
    )
    mend_window: tuple[float, float] | None = Field(
        None,
        description="HU window (low, high) that 8-bit, [0, 1] or [-1, 1] values were made "
        "with; such scans are then spread over it instead of being refused",
    )

    padding: Literal["air", "keep"] = Field(
        "air",
        description="air: values below -1024 HU, which fill the field outside the scan, become "
        "-1024 before anything is interpolated; keep: they stay, as in CT-CLIP",
    )

    @model_validator(mode="after")
    def _both_or_none(self) -> RescaleHuConfig:
        if (self.slope is None) != (self.intercept is None):
            raise ValueError("give both slope and intercept, or neither")
        if self.slope is not None and self.intensity == "hu":
            raise ValueError("intensity: hu applies no slope and intercept; leave them out")
        if self.mend_window is not None and self.mend_window[0] >= self.mend_window[1]:
            raise ValueError("mend_window is (low, high), with low below high")
        return self


class ResampleConfig(Strict):
    """Trilinear resampling to a fixed spacing."""

    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] = Field(
        (0.75, 0.75, 1.5), description="voxel spacing (x, y, z) afterwards, 0.05 to 20 mm"
    )
    grid: Literal["centre", "ctclip"] = Field(
        "centre",
        description="centre: exact spacing, the volume's centre stays; ctclip: as many voxels as "
        "CT-CLIP makes, int(n x old / new), over the same extent, so the spacing is only near",
    )
    antialias: Literal["none", "auto"] = Field(
        "none",
        description="auto: a triangle filter on axes that shrink by more than 1.2; none: plain "
        "linear interpolation, as in the paper",
    )


class OrientConfig(Strict):
    """Rows and columns of the slices."""

    layout: Literal["radiological", "ctclip"] = Field(
        "radiological",
        description="radiological: rows anterior to posterior; ctclip: transposed, for weights "
        "that were trained on CT-CLIP's arrays",
    )


class CropPadConfig(Strict):
    """A fixed number of voxels around the centre."""

    size: tuple[Voxels, Voxels, Voxels] = Field(
        (480, 480, 240), description="voxels (x, y, z) afterwards"
    )
    fill: float | None = Field(
        None, description="value put where the scan ends, on the scale of the volume; null: air"
    )


class HuWindowConfig(Strict):
    """Clamp and scale."""

    low: float = Field(-1000.0, description="HU below are set to this")
    high: float = Field(1000.0, description="HU above are set to this")
    divide_by: float = Field(1000.0, gt=0, description="the clamped HU are divided by this")

    @model_validator(mode="after")
    def _ordered(self) -> HuWindowConfig:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        return self


class SlicesConfig(Strict):
    """Axial slices, evenly spaced, from feet to head."""

    count: int = Field(10, ge=1, description="slices that the model sees")
    over: Literal["scan", "lungs"] = Field(
        "scan", description="spread them over the whole scan, or over the slices that show lung"
    )
    thick_mm: float = Field(
        0.0, ge=0, description="combine the slices within this thickness; 0 takes single slices"
    )
    combine: Literal["mean", "max"] = Field("mean", description="how a thick slice is made")


class FitConfig(Strict):
    """In-plane size in pixels."""

    size_px: tuple[Pixels, Pixels] = Field((112, 84), description="pixels (x, y) afterwards")
    crop: Literal["none", "body", "lungs"] = Field(
        "none", description="what must be in the picture: everything, the body, or the lungs"
    )
    margin_mm: float = Field(10.0, ge=0, description="kept around the body or lungs")
    aspect: Literal["keep", "stretch"] = Field(
        "keep", description="keep: square pixels, air beyond the scan; stretch: fill the picture"
    )


class PreprocessedConfig(Strict):
    """NIfTI files with geometry."""

    folder: Annotated[Path | None, Local()] = Field(
        None, description="where they are kept; none: `preprocessed` in the cache folder"
    )
    dtype: Literal["float32", "int16"] = Field(
        "float32", description="int16 rounds to whole HU and takes half the space"
    )
    compress: bool = Field(True, description=".nii.gz instead of .nii")


class PreprocessedNumpyConfig(Strict):
    """`.npy` files with axes (z, x, y)."""

    folder: Annotated[Path | None, Local()] = Field(
        None, description="where they are kept; none: `preprocessed_numpy` in the cache folder"
    )
    dtype: Literal["float16", "float32"] = Field(
        "float16", description="float16 is exact to 0.5 HU between -1000 and 1000"
    )


class PreprocessedBlosc2Config(Strict):
    """Compressed slices."""

    folder: Annotated[Path | None, Local()] = Field(
        None, description="where they are kept; none: `preprocessed_blosc2` in the cache folder"
    )
    dtype: Literal["float16", "int16"] = Field(
        "float16",
        description="float16 is exact to 0.5 HU between -1000 and 1000; int16 rounds to whole HU, "
        "takes the least space, and has to stand before hu-window",
    )
    codec: Annotated[Literal["zstd", "lz4"], Local()] = Field(
        "zstd", description="lz4 is faster and packs less; no voxel depends on it"
    )
    level: Annotated[int, Local()] = Field(
        1, ge=1, le=9, description="from 1, fast, to 9, which is slow and gains little here"
    )
    filter: Annotated[Literal["bytedelta", "shuffle", "bitshuffle"], Local()] = Field(
        "bytedelta",
        description="how bytes are laid out before they are packed: alike ones together, their "
        "differences, or bits instead of bytes",
    )
