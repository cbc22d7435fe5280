"""Nothing that names a patient leaves a DICOM header: not by inspect, not by prepare, not by a
store, not when the scan is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from ctfw.cli import main

SECRETS = {
    "PatientName": "Zyxwv^Planted",
    "PatientID": "ID-4711-0815",
    "PatientBirthDate": "19330322",
    "AccessionNumber": "ACC99887766",
    "StudyDate": "20010911",
    "InstitutionName": "Planted Hospital",
    "ReferringPhysicianName": "Doctor^Planted",
    "StudyDescription": "planted study text",
    "SeriesDescription": "planted series text",
    "PatientComments": "planted comments",
}


def write_series(folder: Path, change: Callable[[int, FileDataset], None]) -> Path:
    """A chest-like series of 16 slices whose header is full of planted values."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    y, x = np.mgrid[-1:1:48j, -1:1:48j]
    plane = np.where((x / 0.9) ** 2 + (y / 0.65) ** 2 < 1, 40.0, -1000.0)
    for centre in (-0.42, 0.42):
        plane[((x - centre) / 0.3) ** 2 + (y / 0.45) ** 2 < 1] = -850
    series, frame = generate_uid(), generate_uid()
    for k in range(16):
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = generate_uid()
        data = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        for name, value in SECRETS.items():
            setattr(data, name, value)
        data.SOPClassUID, data.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
        data.Modality, data.ImageType = "CT", ["ORIGINAL", "PRIMARY", "AXIAL"]
        data.SeriesInstanceUID, data.FrameOfReferenceUID = series, frame
        data.Rows = data.Columns = 48
        data.PixelSpacing = [7.0, 7.0]
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        data.ImagePositionPatient = [-160.0, -160.0, 15.0 * k]
        data.RescaleSlope, data.RescaleIntercept = "1", "-1024"
        data.SamplesPerPixel, data.PhotometricInterpretation = 1, "MONOCHROME2"
        data.BitsAllocated = data.BitsStored = 16
        data.HighBit, data.PixelRepresentation = 15, 1
        stored = np.rint(plane + rng.normal(0, 12, plane.shape)) + 1024
        data.PixelData = stored.astype("<i2").tobytes()
        change(k, data)
        data.save_as(folder / f"{k:03d}", enforce_file_format=True)
    return folder


def untouched(k: int, data: FileDataset) -> None:
    """A good series."""


def hole(k: int, data: FileDataset) -> None:
    if k > 8:
        data.ImagePositionPatient = [-160.0, -160.0, 15.0 * (k + 3)]


def magnetic(k: int, data: FileDataset) -> None:
    data.Modality = "MR"


def short(k: int, data: FileDataset) -> None:
    if k == 5:
        data.PixelData = data.PixelData[:100]


def doubled(k: int, data: FileDataset) -> None:
    data.RescaleIntercept = "-2048"


CHANGES = (untouched, hole, magnetic, short, doubled)


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_no_planted_value_comes_out(
    tmp_path: Path, monkeypatch: Any, capfd: Any, caplog: Any, change: Any
) -> None:
    monkeypatch.setenv("CTFW_CACHE", str(tmp_path / "out" / "cache"))
    series = write_series(tmp_path / "series", change)
    out = tmp_path / "out"
    table = tmp_path / "cases.csv"
    table.write_text("id,image,patient,split,report\nc,series,p,train,No nodule.\n")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(
        "ctfw: 1\nname: private\nbackbone: {use: qwen2.5-vl}\n"
        "stages: {tune: {use: finetune, loss: {use: cross-entropy}}}\n"
        f"data:\n  use: table\n  file: {table}\n  preprocess:\n"
        "    - {use: rescale-hu}\n    - {use: preprocessed}\n    - {use: hu-window}\n"
        "    - {use: preprocessed-numpy}\n    - {use: slices, count: 4}\n"
    )
    codes = [
        main(["inspect", str(series), "--out", str(out)]),
        main(["prepare", str(recipe), "--log", str(out / "log"), "--workers", "1"]),
        main(["doctor", str(recipe), "--json", str(out / "doctor.json")]),
    ]
    assert codes[:2] == ([0, 0] if change is untouched else [2, 2])
    said = capfd.readouterr()
    written = [path for path in out.rglob("*") if path.is_file()]
    assert written
    texts = [said.out, said.err, caplog.text, *(path.name for path in written)]
    texts += [path.read_bytes().decode("latin-1") for path in written]
    for text in texts:
        for value in SECRETS.values():
            for part in value.split("^"):
                assert part not in text
