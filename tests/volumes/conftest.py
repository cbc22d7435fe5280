"""A chest-like array in HU, and files made from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.datadict import tag_for_keyword
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ctfw.types import Volume
from ctfw_plugins.volumes.configs import DicomConfig, NiftiConfig, NpyConfig
from ctfw_plugins.volumes.dicom import DicomLoader
from ctfw_plugins.volumes.nifti import NiftiLoader
from ctfw_plugins.volumes.npy import NpyLoader

LPS = np.diag([-2.0, -2.0, 3.0, 1.0])


def make_chest(depth: int = 24, side: int = 48, seed: int = 0) -> np.ndarray:
    """(z, y, x) int16 HU: a soft-tissue ellipse with two noisy lungs and a spine, in air."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    plane = np.full((side, side), -1000.0)
    plane[(x / 0.9) ** 2 + (y / 0.65) ** 2 < 1] = 40
    for centre in (-0.42, 0.42):
        plane[((x - centre) / 0.3) ** 2 + (y / 0.45) ** 2 < 1] = -850
    plane[(x / 0.08) ** 2 + ((y - 0.5) / 0.08) ** 2 < 1] = 600
    noise = rng.normal(0, 15, (depth, side, side))
    return np.rint(plane + noise).astype(np.int16)


@pytest.fixture
def chest() -> np.ndarray:
    return make_chest()


@pytest.fixture
def chest_volume(chest: np.ndarray) -> Volume:
    return Volume(chest, LPS.copy())


@pytest.fixture
def loaders() -> list[tuple[str, Any]]:
    return [
        ("nifti", NiftiLoader(NiftiConfig())),
        ("npy", NpyLoader(NpyConfig())),
        ("dicom", DicomLoader(DicomConfig())),
    ]


@pytest.fixture
def write_nifti(tmp_path: Path) -> Callable[..., Path]:
    """(array (z, y, x), affine, name) -> path of a NIfTI file."""

    def write(array: np.ndarray, affine: np.ndarray = LPS, name: str = "scan.nii.gz") -> Path:
        image = nib.Nifti1Image(array.T, affine)
        image.header.set_xyzt_units("mm")
        nib.save(image, tmp_path / name)
        return tmp_path / name

    return write


def ct_slice(plane: np.ndarray, **tags: Any) -> FileDataset:
    """A CT image of stored values (y, x) with a planted person; `tags` replace, None removes."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    data.PatientName, data.PatientID = "Planted^Person", "ID-4711"
    data.PatientBirthDate, data.StudyDate = "19330322", "20010101"
    data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
    data.Rows, data.Columns = plane.shape
    data.PixelSpacing = [0.8, 0.7]
    data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    data.ImagePositionPatient = [-20, -30, 0]
    data.SliceThickness = 99
    data.RescaleSlope, data.RescaleIntercept = "1", "-1024"
    data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit, data.PixelRepresentation = 15, 1
    data.PixelData = np.ascontiguousarray(plane, "<i2").tobytes()
    data["PixelData"].VR = "OW"
    for name, value in tags.items():
        if value is None:
            data.pop(tag_for_keyword(name), None)
        elif name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):
            data.add(pydicom.DataElement(tag_for_keyword(name), "SS" if value < 0 else "US", value))
        else:
            setattr(data, name, value)
    return data


@pytest.fixture
def make_slice() -> Callable[..., FileDataset]:
    """(stored values (y, x), **tags) -> dataset."""
    return ct_slice


@pytest.fixture
def write_series(tmp_path: Path) -> Callable[..., Path]:
    """(array (z, y, x) of stored values, ...) -> folder of a DICOM series.

    `tags` are those of every slice, `each` gives those of slice k; `change` may alter a dataset
    before it is written. File names say nothing about the order.
    """

    def write(
        array: np.ndarray,
        folder: str = "series",
        z: Any = None,
        row_mm: float = 0.8,
        column_mm: float = 0.7,
        slope: Any = 1,
        intercept: Any = -1024,
        normal: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
        shift_y: float = 0.0,
        series: Any = None,
        tags: dict[str, Any] | None = None,
        each: Callable[[int], dict[str, Any]] = lambda k: {},
        change: Callable[[FileDataset], None] | None = None,
        name: Callable[[int], str] = lambda k: f"{(k * 7) % 10}_{99 - k}.dcm",
        file_format: bool = True,
    ) -> Path:
        out = tmp_path / folder
        out.mkdir(exist_ok=True, parents=True)
        uid = generate_uid()
        heights = np.arange(len(array)) * 2.5 if z is None else z
        for k, plane in enumerate(array):
            own = {
                "SeriesInstanceUID": series[k] if series else uid,
                "PixelSpacing": [row_mm, column_mm],
                "ImageOrientationPatient": list(normal),
                "ImagePositionPatient": [-20.0, -30.0 + k * shift_y, float(heights[k])],
                "RescaleSlope": str(slope[k] if np.ndim(slope) > 0 else slope),
                "RescaleIntercept": str(intercept[k] if np.ndim(intercept) > 0 else intercept),
                "InstanceNumber": k + 1,
            }
            data = ct_slice(plane, **{**own, **(tags or {}), **each(k)})
            if change:
                change(data)
            data.save_as(
                out / name(k), enforce_file_format=file_format and data.preamble is not None
            )
        return out

    return write
