"""A folder in the shape of CT-RATE, made from cases of any data set."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import nibabel
import numpy as np

from ctfw.labels import CT_RATE_LABELS
from ctfw.types import Case

_TABLES = {
    "train": ("train_reports.csv", "train_predicted_labels.csv", "train_metadata.csv"),
    "valid": ("validation_reports.csv", "valid_predicted_labels.csv", "validation_metadata.csv"),
}
_REPORT = ("VolumeName", "ClinicalInformation_EN", "Technique_EN", "Findings_EN", "Impressions_EN")

# the two spellings of the real table
_AXIAL = (
    "[1, 0, 0, 0, 1, 0]",
    "[1.000000, 0.000000, 0.000000, 0.000000, 1.000000, -0.000000]",
)


def write_ct_rate_tree(
    root: Path, cases: Iterable[Case], fixed: bool = True, reconstructions: int = 1
) -> Path:
    """Write volumes, reports, labels and metadata under CT-RATE's names; returns `root`.

    Cases of the test split go to `valid`, all others to `train`; their patients are numbered.
    fixed: files in HU with their geometry, in `*_fixed`. Otherwise the raw values of the first
    release: stored value = HU - intercept, intercept -1024 or -8192, header without geometry.
    The metadata hold slope, intercept and spacing in both, as the real ones do.
    """
    rows: dict[str, list[tuple[str, Case]]] = {"train": [], "valid": []}
    patients: dict[tuple[str, str], int] = {}
    scans: dict[str, int] = {}
    for case in cases:
        part = "valid" if case.split == "test" else "train"
        number = patients.setdefault((part, case.patient), len(patients) + 1)
        patient = f"{part}_{number}"
        scan = f"{patient}_{'abcdefgh'[scans.setdefault(patient, 0)]}"
        scans[patient] += 1
        folder = root / (f"{part}_fixed" if fixed else part) / patient / scan
        folder.mkdir(parents=True, exist_ok=True)
        for index in range(1, reconstructions + 1):
            volume = f"{scan}_{index}.nii.gz"
            _write_volume(folder / volume, case.image, fixed, _intercept(number))
            rows[part].append((volume, case))
    for part, found in rows.items():
        _write_tables(root, part, found)
    return root


def _intercept(patient: int) -> int:
    return -8192 if patient % 3 == 0 else -1024


def _write_volume(path: Path, source: Path, fixed: bool, intercept: int) -> None:
    if fixed:
        shutil.copyfile(source, path)
        return
    hu = np.asanyarray(nibabel.load(source).dataobj).astype(np.int16)
    nibabel.save(nibabel.Nifti1Image(hu - np.int16(intercept), np.eye(4)), path)


def _write_tables(root: Path, part: str, rows: Sequence[tuple[str, Case]]) -> None:
    reports, labels, metadata = _TABLES[part]
    _write_csv(
        root / "radiology_text_reports" / reports,
        _REPORT,
        (
            (name, "Not given.", "Not given.", c.findings, c.impression or "Not given.")
            for name, c in rows
        ),
    )
    _write_csv(
        root / "multi_abnormality_labels" / labels,
        ("VolumeName", *CT_RATE_LABELS),
        ((name, *(() if c.labels is None else c.labels.tolist())) for name, c in rows),
    )
    columns = ("VolumeName", "Manufacturer", "PatientSex", "PatientAge", "RescaleIntercept")
    columns += ("RescaleSlope", "XYSpacing", "NumberofSlices", "ZSpacing")
    columns += ("ImageOrientationPatient",)
    _write_csv(root / "metadata" / metadata, columns, (_facts(name, case) for name, case in rows))
    (root / "metadata" / f"no_chest_{part}.txt").write_text("")


def _facts(name: str, case: Case) -> tuple[Any, ...]:
    header = nibabel.load(case.image).header
    x, y, z = (float(step) for step in header.get_zooms()[:3])
    patient = int(name.split("_")[1])
    slices = header.get_data_shape()[2]
    axial = _AXIAL[patient % 2]
    return (name, "Phantom", "F", "060Y", _intercept(patient), 1, f"[{x}, {y}]", slices, z, axial)


def _write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(header)
        writer.writerows(rows)
