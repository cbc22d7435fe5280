"""Settings of the volume loaders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ctfw.config import Strict

Millimetres = Annotated[float, Field(gt=0)]
Positive = Annotated[float, Field(gt=0, lt=1e6)]
Finite = Annotated[float, Field(allow_inf_nan=False)]


class NiftiConfig(Strict):
    """NIfTI-1 and NIfTI-2, plain or gzipped."""

    geometry: Literal["auto", "sform", "qform"] = Field(
        "auto",
        description="which transform to believe; auto takes the sform, then the qform, and refuses "
        "a file whose two differ by more than half a voxel anywhere",
    )
    nonfinite: Finite | None = Field(
        None, description="value put in place of NaN and infinite voxels; none refuses the file"
    )


class NpyConfig(Strict):
    """A NumPy array with three axes (.npy, .npz), and a JSON file of the same name beside it."""

    axes: Literal["auto", "zyx", "zxy"] = Field(
        "auto", description="order of the array's axes; auto takes the sidecar's, else zyx"
    )
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] | None = Field(
        None, description="voxel spacing (x, y, z) where there is no sidecar"
    )
    key: str | None = Field(
        None, description="which array of a .npz; none takes the only one with three axes"
    )
    unit_hu: Positive | None = Field(
        None,
        description="HU that 1.0 stands for, e.g. 1000 for arrays of HU / 1000 as CT-CLIP writes "
        "them; none takes the sidecar's, else 1",
    )
    nonfinite: Finite | None = Field(
        None, description="value put in place of NaN and infinite voxels; none refuses the file"
    )


class ItkConfig(Strict):
    """MetaImage and NRRD files."""

    nonfinite: Finite | None = Field(
        None, description="value put in place of NaN and infinite voxels; none refuses the file"
    )


class DicomConfig(Strict):
    """A folder with a CT series, or one multi-frame file."""

    series: Literal["only", "largest"] = Field(
        "only",
        description="with several stacks of slices in the folder: only refuses and names them, "
        "largest takes the one with the greatest extent (axial ones first), then the most slices",
    )
    fill_padding: bool = Field(
        True, description="put air where the pixel has the series' padding value"
    )


class PictureConfig(Strict):
    """One PNG or JPEG picture of an X-ray view."""

    white: int | None = Field(
        None,
        ge=1,
        le=65535,
        description="grey value of white, e.g. 4095 for 12 bits stored in 16; none: 255 or 65535",
    )
    spacing_mm: tuple[Millimetres, Millimetres] | None = Field(
        None, description="size of a pixel (x, y) at the patient; none: unknown, taken as 1 mm"
    )
