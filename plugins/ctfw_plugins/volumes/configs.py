"""Settings of the volume loaders."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ctfw.config import Strict

Millimetres = Annotated[float, Field(gt=0)]


class NiftiConfig(Strict):
    """NIfTI-1 and NIfTI-2, plain or gzipped."""

    geometry: Literal["auto", "sform", "qform"] = Field(
        "auto",
        description="which transform to believe; auto takes the sform, then the qform, and refuses "
        "a file whose two differ by more than half a voxel anywhere",
    )
    nonfinite: float | None = Field(
        None, description="value put in place of NaN and infinite voxels; none refuses the file"
    )


class NpyConfig(Strict):
    """A NumPy array with three axes, and a JSON file of the same name beside it."""

    axes: Literal["auto", "zyx", "zxy"] = Field(
        "auto", description="order of the array's axes; auto takes the sidecar's, else zyx"
    )
    spacing_mm: tuple[Millimetres, Millimetres, Millimetres] | None = Field(
        None, description="voxel spacing (x, y, z) where there is no sidecar"
    )


class DicomConfig(Strict):
    """A folder that holds one plain CT series."""

    fill_padding: bool = Field(
        True, description="put air where the pixel has the series' padding value"
    )
