"""The same scan, whatever the format and the order of its voxels: the same array and affine.

The reference is nibabel's own reorientation of what was put into the files. No real patient's
image is paired with anything; the real scans are read and converted only.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ctfw.contracts import StreamingLoader, VolumeLoader
from ctfw.types import Volume
from ctfw.volumes.geometry import canonical, to_lps
from ctfw_plugins.volumes.configs import DicomConfig, ItkConfig, NiftiConfig, NpyConfig
from ctfw_plugins.volumes.dicom import DicomLoader
from ctfw_plugins.volumes.itk import ItkLoader
from ctfw_plugins.volumes.nifti import NiftiLoader
from ctfw_plugins.volumes.npy import NpyLoader

SimpleITK = pytest.importorskip("SimpleITK", reason="the extra `itk` is not installed")
SPACING = np.array([0.7, 0.9, 1.5])
ORIGIN = np.array([-120.5, 33.25, -410.0])
LPS = np.diag([-1.0, -1.0, 1.0])
TO_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
READERS: dict[str, Any] = {
    "nifti": NiftiLoader(NiftiConfig()),
    "npy": NpyLoader(NpyConfig()),
    "itk": ItkLoader(ItkConfig()),
    "dicom": DicomLoader(DicomConfig(fill_padding=False)),
}


def rotated(x: float, z: float) -> np.ndarray:
    """Rotation matrix about the x axis and then the z axis, in degrees."""
    cx, sx, cz, sz = (f(np.radians(a)) for a in (x, z) for f in (np.cos, np.sin))
    return np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1.0]]) @ np.array(
        [[1, 0, 0], [0, cx, -sx], [0, sx, cx]]
    )


ORDERS = {
    "axial as most scanners store it": LPS,
    "all three axes flipped": np.eye(3) * [1, 1, -1],
    "left-handed, head first": LPS * [1, 1, -1],
    "right-anterior-superior": np.eye(3),
    "oblique by 15 degrees": rotated(15, 0) @ LPS,
    "oblique twice and mirrored": rotated(-9, 11) @ LPS * [1, -1, 1],
    "sagittal slices": LPS[:, [1, 2, 0]],
    "coronal slices, mirrored": (LPS * [-1, 1, 1])[:, [0, 2, 1]],
    "axes in cyclic order, oblique": (rotated(8, 5) @ LPS)[:, [2, 0, 1]] * [1, -1, 1],
}


def affine_of(order: str) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = ORDERS[order] * SPACING
    affine[:3, 3] = ORIGIN
    return affine


def reference(array: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """((z, y, x) array, affine) in LPS, by nibabel alone."""
    was = nib.orientations.io_orientation(affine)
    turn = nib.orientations.ornt_transform(was, nib.orientations.axcodes2ornt("LPS"))
    turned = nib.orientations.apply_orientation(array.T, turn).T
    return turned, affine @ nib.orientations.inv_ornt_aff(turn, array.T.shape)


def write_nifti(kind: type, name: str) -> Callable[[Path, np.ndarray, np.ndarray], Path]:
    def write(folder: Path, array: np.ndarray, affine: np.ndarray) -> Path:
        image = kind(array.T, affine)
        image.header.set_xyzt_units("mm")
        image.set_qform(affine, 1)
        nib.save(image, folder / name)
        return folder / name

    return write


def write_numpy(name: str, axes: str) -> Callable[[Path, np.ndarray, np.ndarray], Path]:
    def write(folder: Path, array: np.ndarray, affine: np.ndarray) -> Path:
        stored = array.swapaxes(1, 2) if axes == "zxy" else array
        (np.save if name.endswith("npy") else np.savez_compressed)(folder / name, stored)
        told = {"axes": axes, "affine": affine.tolist()}
        (folder / name).with_suffix(".json").write_text(json.dumps(told))
        return folder / name

    return write


def itk_image(array: np.ndarray, affine: np.ndarray) -> Any:
    image = SimpleITK.GetImageFromArray(array)
    in_lps = TO_LPS @ affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    image.SetSpacing(spacing)
    image.SetDirection((in_lps[:3, :3] / spacing).ravel())
    image.SetOrigin(in_lps[:3, 3])
    return image


def write_itk(name: str, packed: bool) -> Callable[[Path, np.ndarray, np.ndarray], Path]:
    def write(folder: Path, array: np.ndarray, affine: np.ndarray) -> Path:
        SimpleITK.WriteImage(itk_image(array, affine), folder / name, packed)
        return folder / name

    return write


def write_dicom(folder: Path, array: np.ndarray, affine: np.ndarray) -> Path:
    """A series whose slices are planes of constant third index; file names are in no order."""
    out = folder / "series"
    out.mkdir()
    in_lps = TO_LPS @ affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    along = in_lps[:3, :3] / spacing
    series, study, frame = generate_uid(), generate_uid(), generate_uid()
    for k, plane in enumerate(array):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.SeriesInstanceUID, data.StudyInstanceUID = series, study
        data.FrameOfReferenceUID = frame
        data.Rows, data.Columns = plane.shape
        data.PixelSpacing = [float(spacing[1]), float(spacing[0])]
        data.ImageOrientationPatient = [round(float(n), 10) for n in along.T[:2].ravel()]
        corner = in_lps @ [0, 0, k, 1]
        data.ImagePositionPatient = [round(float(n), 6) for n in corner[:3]]
        data.RescaleSlope, data.RescaleIntercept = "1", "-1024"
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        data.PixelData = (np.ascontiguousarray(plane).astype("<i2") + 1024).tobytes()
        data.save_as(out / f"{(k * 7) % 10}_{999 - k}.dcm", enforce_file_format=True)
    return out


WRITERS: dict[str, tuple[str, Callable[[Path, np.ndarray, np.ndarray], Path]]] = {
    "NIfTI": ("nifti", write_nifti(nib.Nifti1Image, "scan.nii")),
    "NIfTI, gzipped": ("nifti", write_nifti(nib.Nifti1Image, "scan.nii.gz")),
    "NIfTI-2, gzipped": ("nifti", write_nifti(nib.Nifti2Image, "scan.nii.gz")),
    "NPY": ("npy", write_numpy("scan.npy", "zyx")),
    "NPY as the store has it": ("npy", write_numpy("scan.npy", "zxy")),
    "NPZ": ("npy", write_numpy("scan.npz", "zyx")),
    "MetaImage": ("itk", write_itk("scan.mha", packed=False)),
    "MetaImage, compressed": ("itk", write_itk("scan.mha", packed=True)),
    "MetaImage in two files": ("itk", write_itk("scan.mhd", packed=True)),
    "NRRD": ("itk", write_itk("scan.nrrd", packed=False)),
    "NRRD, compressed": ("itk", write_itk("scan.nrrd", packed=True)),
    "NRRD in two files": ("itk", write_itk("scan.nhdr", packed=True)),
    "DICOM": ("dicom", write_dicom),
}


def read_both_ways(loader: VolumeLoader, path: Path) -> Volume:
    """The volume in LPS, the same through `load` and through `stream`."""
    whole = to_lps(loader.load(path))
    assert isinstance(loader, StreamingLoader)
    streamed = canonical(loader.stream(path)).collect()
    np.testing.assert_array_equal(streamed.array, whole.array)
    np.testing.assert_array_equal(streamed.affine, whole.affine)
    assert streamed.array.dtype == whole.array.dtype
    assert streamed.intensity == whole.intensity
    assert [d.text for d in streamed.provenance] == [d.text for d in whole.provenance]
    return whole


def must_be(volume: Volume, array: np.ndarray, affine: np.ndarray) -> None:
    np.testing.assert_array_equal(volume.array, array)
    np.testing.assert_allclose(volume.affine, affine, atol=1e-3)


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("form", WRITERS)
def test_phantom_is_the_same_in_every_format_and_order(
    tmp_path: Path, form: str, order: str
) -> None:
    array = np.random.default_rng(3).integers(-1000, 1000, (4, 6, 9)).astype(np.int16)
    affine = affine_of(order)
    reader, write = WRITERS[form]
    volume = read_both_ways(READERS[reader], write(tmp_path, array, affine))
    expected, placed = reference(array, affine)
    must_be(volume, expected, placed)
    assert volume.orientation == "LPS"
    assert volume.array.dtype == np.int16


@pytest.mark.parametrize("form", WRITERS)
def test_real_nifti_is_the_same_in_every_format(tmp_path: Path, real_data: Path, form: str) -> None:
    source = nib.load(real_data / "totalsegmentator" / "pulmonary_ct_cropped.nii.gz")
    array = np.asarray(source.dataobj).T
    affine = source.affine
    reader, write = WRITERS[form]
    volume = read_both_ways(READERS[reader], write(tmp_path, array, affine))
    must_be(volume, *reference(array, affine))


@pytest.mark.parametrize("patient", ["LIDC-IDRI-0001", "LIDC-IDRI-0002", "LIDC-IDRI-0003"])
def test_real_dicom_is_the_same_in_every_format(
    tmp_path: Path, real_data: Path, patient: str
) -> None:
    """Read by SimpleITK, written in each format, read by each loader; the series by ours."""
    folder = real_data / "lidc_idri_subset" / patient
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    converted = SimpleITK.Cast(SimpleITK.ReadImage(names), SimpleITK.sitkInt16)
    own = read_both_ways(READERS["dicom"], folder)
    array = SimpleITK.GetArrayFromImage(converted)
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(converted.GetDirection(), (3, 3)) * converted.GetSpacing()
    affine[:3, 3] = converted.GetOrigin()
    affine = TO_LPS @ affine
    must_be(own, *reference(array, affine))
    for form in ("NIfTI", "NIfTI-2, gzipped", "NPY as the store has it", "NPZ"):
        reader, write = WRITERS[form]
        must_be(
            read_both_ways(READERS[reader], write(tmp_path, array, affine)), own.array, own.affine
        )
    for name in ("scan.nii.gz", "scan.mha", "scan.nrrd"):
        SimpleITK.WriteImage(converted, tmp_path / name, True)
        loader = READERS["nifti" if ".nii" in name else "itk"]
        must_be(read_both_ways(loader, tmp_path / name), own.array, own.affine)


def test_writers_of_this_test_are_read_by_others_alike(tmp_path: Path) -> None:
    """Else two mistakes, one in writing and one in reading, could cancel each other."""
    array = np.random.default_rng(3).integers(-1000, 1000, (4, 6, 9)).astype(np.int16)
    affine = affine_of("oblique twice and mirrored")
    expected = reference(array, affine)
    folder = WRITERS["DICOM"][1](tmp_path, array, affine)
    names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder))
    files = [SimpleITK.ReadImage(names)]
    for form in ("NIfTI", "NIfTI, gzipped", "MetaImage", "NRRD, compressed"):
        files.append(SimpleITK.ReadImage(WRITERS[form][1](tmp_path, array, affine)))
    for image in files:
        found = np.eye(4)
        found[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * image.GetSpacing()
        found[:3, 3] = image.GetOrigin()
        turned = reference(SimpleITK.GetArrayFromImage(image), TO_LPS @ found)
        np.testing.assert_array_equal(turned[0], expected[0])
        np.testing.assert_allclose(turned[1], expected[1], atol=1e-3)
    assert pydicom.dcmread(names[0]).RescaleIntercept == -1024
