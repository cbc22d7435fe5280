"""`dataset: iu-xray` and `dataset: mimic-cxr`: chest X-rays in the annotation file of R2Gen.

`{"train": [..], "val": [..], "test": [..]}`; each entry has `id`, `report` and `image_path`, a
list of files below `images/`. A study's views go through the preprocessing one by one and are
stacked along z.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.errors import BadData
from ctfw.types import Case, CaseTable
from ctfw_plugins.datasets.common import (
    NO_FILE,
    NO_LABELS,
    NO_REPORT,
    SPLITS,
    LeftOut,
    check_ids,
    check_patients,
    given,
    read_json,
    say,
)
from ctfw_plugins.datasets.configs import XrayConfig
from ctfw_plugins.datasets.label_values import LabelCells
from ctfw_plugins.datasets.table_columns import first_of
from ctfw_plugins.datasets.table_files import read_table
from ctfw_plugins.datasets.table_rows import as_text

_LISTS = {"train": ("train",), "validation": ("val", "validation"), "test": ("test",)}
_WHAT = "R2Gen's annotation file with the lists train, val and test"
_KEYS = ("id", "dicom_id", "study_id", "study")
_MIMIC_SUBJECT = re.compile(r"p\d{8}")


class AnnotatedXrays:
    """Cases of an annotation file; its splits are taken as they are.

    Entries without a report, without a row in `labels_file`, or with a missing view are left out,
    counted and named.
    """

    title = "X-rays"

    def __init__(self, config: XrayConfig, context: Any = None) -> None:
        self.config = config
        self.context = context
        self.label_names = config.labels
        self.root = config.root.expanduser()
        self.file = self.root / config.annotation.expanduser()
        images = self.root / "images"
        self.folders = [images, self.root] if images.is_dir() else [self.root]
        self._left_out = LeftOut()
        self._missing: set[Path] = set()
        self._read: list[Case] | None = None

    def patient_of(self, entry: dict[str, Any], views: list[str]) -> str:
        """The patient of an entry. Raises BadData when nothing names one."""
        raise BadData(f"{self.title}: nothing names the patient of entry {entry.get('id')!r}")

    @property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """Reason in words -> ids of the entries that are not used; empty until cases were read."""
        return self._left_out.reasons()

    def prepare(self) -> None:
        """Read and check the file. Raises BadData; writes nothing."""
        self._everything()

    def cases(self, split: str) -> CaseTable:
        """The cases of "train", "validation" or "test". Raises BadData when there are none."""
        if split not in SPLITS:
            raise BadData(f"{self.title}: no split {split!r}; there are {', '.join(SPLITS)}")
        chosen = tuple(case for case in self._everything() if case.split == split)
        if not chosen:
            raise BadData(
                f"{self.title}: no entry of the {split} split in {self.file} is usable: "
                f"{self._left_out.words() or 'the list is empty'}"
            )
        return CaseTable(chosen[: self.config.limit], self.label_names)

    def _everything(self) -> list[Case]:
        if self._read is None:
            self._read = self._collect()
            if self._left_out:
                text = f"{len(self._read)} studies used, left out: {self._left_out.words()}"
                say(self.context, f"{self.title}: {self.file}: {text}")
        return self._read

    def _collect(self) -> list[Case]:
        self._left_out = LeftOut()
        content = read_json(self.title, self.file, _WHAT)
        labels = self._labels()
        cases: list[Case] = []
        places: dict[str, list[str]] = {}
        for split, names in _LISTS.items():
            for number, entry in enumerate(self._list(content, names), 1):
                place = f"entry {number} of {names[0]!r}"
                case = self._case(entry, split, place, labels)
                places.setdefault(case.id, []).append(place)
                cases.append(case)
        check_ids(f"{self.title}: {self.file}", places, "Remove the double entries.")
        if not self.config.allow_patient_overlap:
            check_patients(f"{self.title}: {self.file}", cases)
        return [case for case in cases if self._usable(case)]

    def _usable(self, case: Case) -> bool:
        """Whether the case has all it needs; if not, it is noted."""
        if not case.report:
            self._left_out.add(NO_REPORT, case.id)
        elif self.label_names and case.labels is None:
            self._left_out.add(NO_LABELS, case.id)
        elif not self._missing.isdisjoint(case.views):
            self._left_out.add(NO_FILE, case.id)
        else:
            return True
        return False

    def _list(self, content: Any, names: tuple[str, ...]) -> list[Any]:
        found = content if isinstance(content, dict) else {}
        for name in names:
            if isinstance(found.get(name), list):
                return list(found[name])
        raise BadData(f"{self.title}: {self.file} has no list {names[0]!r}: it should be {_WHAT}")

    def _case(
        self, entry: Any, split: str, place: str, labels: dict[str, np.ndarray] | None
    ) -> Case:
        """The case of an entry; what it lacks is left empty. Raises BadData without id, image."""
        fields = entry if isinstance(entry, dict) else {}
        name, paths = as_text(fields.get("id")), fields.get("image_path")
        listed = [paths] if isinstance(paths, str) else paths
        if not name or not listed or not all(isinstance(path, str) for path in listed):
            raise BadData(f"{self.title}: {self.file}: {place} has no `id` or no `image_path`")
        views = tuple(self._path(path) for path in listed)
        if self.config.views == "first":
            views = views[:1]
        study = as_text(fields.get("study_id")) or name
        keys = (name, study)
        return Case(
            id=name,
            patient=self.patient_of(fields, listed),
            image=views[0],
            report=given(fields.get("report")),
            split=split,
            study=study,
            labels=next((labels[k] for k in keys if k in labels), None) if labels else None,
            views=views,
        )

    def _path(self, text: str) -> Path:
        """Where a view is: below images/, else below the root; noted when it is in neither."""
        candidates = [os.path.join(folder, text) for folder in self.folders]
        for candidate in candidates:
            if os.path.isfile(candidate):
                return Path(candidate)
        missing = Path(candidates[0])
        self._missing.add(missing)
        return missing

    def _labels(self) -> dict[str, np.ndarray] | None:
        """id or study -> (L,) labels. Raises BadData for columns and values that do not fit."""
        if self.config.labels_file is None:
            return None
        file = self.config.labels_file.expanduser()
        below = self.config.root / file
        rows = read_table(below if below.is_file() else file)
        key = first_of(rows.header, _KEYS)
        columns = {name: first_of(rows.header, (name,)) for name in self.label_names}
        missing = [name for name, index in columns.items() if index is None]
        if key is None or missing:
            lacks = ", ".join(map(repr, missing)) or f"{' or '.join(_KEYS)} to tell the study"
            raise BadData(
                f"{self.title}: {rows.file} has no column {lacks}; it has {', '.join(rows.header)}"
            )
        cells = LabelCells(
            str(rows.file), self.label_names, self.config.blank_labels, self.config.uncertain_labels
        )
        at = [index for index in columns.values() if index is not None]
        found: dict[str, np.ndarray] = {}
        places: dict[str, list[str]] = {}
        for number, row in enumerate(rows.rows):
            name, place = as_text(row[key]), rows.place(number)
            places.setdefault(name, []).append(place)
            found[name] = cells.row([row[index] for index in at], place)
        check_ids(f"{self.title}: {rows.file}", places, "Keep one row of labels for each.")
        cells.check()
        return found


class IUXray(AnnotatedXrays):
    """IU X-Ray: `images/CXR2384_IM-0942/0.png`; the patient is `CXR2384`."""

    title = "IU X-Ray"

    def patient_of(self, entry: dict[str, Any], views: list[str]) -> str:
        """What stands before `_IM` in the id."""
        return as_text(entry["id"]).partition("_IM")[0]


class MimicCXR(AnnotatedXrays):
    """MIMIC-CXR: `images/p10/p10000001/s50000001/NAME.jpg`; the patient is the subject's folder."""

    title = "MIMIC-CXR"

    def patient_of(self, entry: dict[str, Any], views: list[str]) -> str:
        """The folder `p` with eight digits, else the entry's `subject_id`."""
        for part in Path(views[0]).parts:
            if _MIMIC_SUBJECT.fullmatch(part):
                return part
        if subject := as_text(entry.get("subject_id")):
            return f"p{subject}"
        return super().patient_of(entry, views)
