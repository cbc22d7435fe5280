"""`dataset: ct-rate`: CT-RATE on disk, or any data set in its folders and tables.

Folders, file names and columns are those of the public data set: `train_fixed/train_1/train_1_a/
train_1_a_1.nii.gz` (in `train/` before the correction of 2025), `radiology_text_reports/`,
`multi_abnormality_labels/`, `metadata/`.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ctfw.errors import BadData
from ctfw.labels import CT_RATE_LABELS
from ctfw.types import Case, CaseTable
from ctfw_plugins.datasets import ct_rate_tables as tables
from ctfw_plugins.datasets.common import (
    NO_FILE,
    NO_LABELS,
    NO_REPORT,
    LeftOut,
    given,
    held_out,
    report_text,
    say,
    together,
)
from ctfw_plugins.datasets.configs import CTRateConfig

_SPLITS = {"train": "train", "validation": "train", "test": "valid"}
# the same two sets are spelt differently from table to table
_FILES = {
    "train": ("train_reports.csv", "train_predicted_labels.csv", "train_metadata.csv"),
    "valid": ("validation_reports.csv", "valid_predicted_labels.csv", "validation_metadata.csv"),
}
_NO_CHEST = "listed as no chest CT"
_OBLIQUE = "of the first version whose slices are not axial"


class CTRate:
    """Cases of CT-RATE: the training folder gives train and validation, `valid` gives test.

    The patients of `validation` are held out by a hash of their names, so that the split does
    not change when files come or go. Volumes whose file, report or labels are missing, and those
    listed as not a chest, are left out and counted in one warning.
    """

    label_names = CT_RATE_LABELS

    def __init__(self, config: CTRateConfig, context: Any = None) -> None:
        self.config = config
        self.context = context
        root = config.root.expanduser()
        nested, own = root / "dataset", (root / "radiology_text_reports").is_dir()
        self.root = nested if not own and nested.is_dir() else root
        self._found: dict[str, list[Case]] = {}
        self._left_out: dict[str, LeftOut] = {}

    @property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """Reason in words -> volumes that are not used; grows as cases are read."""
        return together(self._left_out.values())

    def prepare(self) -> None:
        """Check the folder and its tables. Raises BadData; writes nothing."""
        self._check_root()
        for source in ("train", "valid"):
            self._read(source)

    def cases(self, split: str) -> CaseTable:
        """The cases of "train", "validation" or "test". Raises BadData when there are none."""
        if split not in _SPLITS:
            raise BadData(f"CT-RATE: no split {split!r}; there are {', '.join(_SPLITS)}")
        self._check_root()
        source = _SPLITS[split]
        found = self._read(source)
        if source == "train":
            held = held_out((case.patient for case in found), self.config.validation_share)
            found = [case for case in found if (case.patient in held) == (split == "validation")]
        if not found:
            raise BadData(
                f"CT-RATE: no case of the {split} split is usable in {self._folder(source)[0]}; "
                "see the warning above for what was left out"
            )
        chosen = tuple(replace(case, split=split) for case in found[: self.config.limit])
        return CaseTable(chosen, CT_RATE_LABELS)

    def _check_root(self) -> None:
        if not self.root.is_dir():
            raise BadData(
                f"CT-RATE: the folder {self.root} does not exist; set data.root to the folder that "
                "holds train_fixed/, valid_fixed/ and radiology_text_reports/"
            )

    def _folder(self, source: str) -> tuple[Path, str]:
        """(folder of the volumes, "fixed" or "v1")."""
        fixed = self.root / f"{source}_fixed"
        if self.config.version == "fixed" or (self.config.version == "auto" and fixed.is_dir()):
            return fixed, "fixed"
        return self.root / source, "v1"

    def _read(self, source: str) -> list[Case]:
        """Every usable volume of a folder, in the order of the report table."""
        if source not in self._found:
            self._found[source] = self._collect(source)
        return self._found[source]

    def _collect(self, source: str) -> list[Case]:
        folder, version = self._folder(source)
        if not folder.is_dir():
            raise BadData(
                f"CT-RATE: the folder {folder} does not exist; check data.root and data.version "
                f"(now {self.config.version})"
            )
        text_file, label_file, facts_file = _FILES[source]
        texts = tables.Table(
            self.root / "radiology_text_reports" / text_file, ("Findings_EN", "Impressions_EN")
        )
        labels = tables.Table(self.root / "multi_abnormality_labels" / label_file, CT_RATE_LABELS)
        facts = self._metadata(self.root / "metadata" / facts_file, version)
        no_chest = tables.read_names(self.root / "metadata" / f"no_chest_{source}.txt")
        known = [table for table in (texts, labels, facts) if table is not None]
        cases: list[Case] = []
        left = self._left_out[source] = LeftOut()
        taken: set[str] = set()
        for volume in _volumes(known, folder):
            scan = tables.scan_of(volume)
            if self.config.reconstructions == "first" and scan in taken:
                continue
            case = self._case(volume, folder, texts.get(volume), labels)
            told = facts.get(volume) if facts else None
            if volume in no_chest:
                left.add(_NO_CHEST, volume)
            elif isinstance(case, str):
                left.add(case, volume)
            elif version == "v1" and not tables.is_axial(told):
                left.add(_OBLIQUE, volume)
            elif not case.image.is_file():
                left.add(NO_FILE, volume)
            else:
                taken.add(scan)
                hints = tables.scan_facts(told) | {"folder_version": version}
                cases.append(replace(case, hints=hints))
        if left:
            text = f"{len(cases)} volumes used, left out: {left.words()}"
            say(self.context, f"CT-RATE: {folder}: {text}")
        return cases

    def _case(
        self, volume: str, folder: Path, text: tables.Row | None, labels: tables.Table
    ) -> Case | str:
        """The case of a volume, or in words why there is none."""
        findings = given(text["Findings_EN"]) if text else ""
        impression = given(text["Impressions_EN"]) if text else ""
        report = report_text(findings, impression, self.config.sections)
        if not report:
            return NO_REPORT
        row = labels.get(volume)
        if row is None:
            return NO_LABELS
        scan, patient = tables.scan_of(volume), tables.patient_of(volume)
        return Case(
            id=volume,
            patient=patient,
            image=folder / patient / scan / f"{volume}.nii.gz",
            report=report,
            study=scan,
            findings=findings,
            impression=impression,
            labels=tables.label_vector(labels, row, CT_RATE_LABELS),
        )

    def _metadata(self, path: Path, version: str) -> tables.Table | None:
        """The metadata table; the raw values of v1 mean nothing without it."""
        if version == "fixed" and not path.is_file():
            return None
        return tables.Table(path, ("RescaleSlope", "RescaleIntercept", "XYSpacing", "ZSpacing"))


def _volumes(known: list[tables.Table], folder: Path) -> list[str]:
    """The volumes that the tables name, scan by scan; what is on disk where they name scans only.

    Reconstructions of a scan come in the order of their numbers.
    """
    names = dict.fromkeys(name for table in known for name in table.rows if tables.is_volume(name))
    if not names:
        names = dict.fromkeys(tables.bare(path.name) for path in sorted(folder.rglob("*.nii.gz")))
    scans: dict[str, list[str]] = {}
    for name in names:
        scans.setdefault(tables.scan_of(name), []).append(name)
    return [
        volume
        for group in scans.values()
        for volume in sorted(group, key=lambda name: int(name.rsplit("_", 1)[1]))
    ]
