"""`dataset: amos-mm`: AMOS-MM on disk, a `dataset.json` beside the images.

`{"training": [..], "validation": [..]}`; each entry has `image` ("./imagesTr/amos_0001.nii.gz")
and `labels.report` with `findings` by region and, for some, `impression`. `labels.qa` and `meta`
are not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from ctfw.errors import BadData
from ctfw.types import Case, CaseTable
from ctfw_plugins.datasets.common import (
    NO_FILE,
    NO_REPORT,
    SPLITS,
    LeftOut,
    check_ids,
    given,
    held_out,
    read_json,
    report_text,
    say,
    together,
)
from ctfw_plugins.datasets.configs import AmosMMConfig

_LISTS = {"train": "training", "validation": "training", "test": "validation"}
_WHAT = "AMOS-MM's list of images and reports, with `training` and `validation`"


class AmosMM:
    """Cases of AMOS-MM: `training` gives train and validation, the official `validation` gives
    test, because the file has no list of test reports.

    Each image is a patient of its own. There are no labels: `label_names` is empty.
    """

    label_names: tuple[str, ...] = ()

    def __init__(self, config: AmosMMConfig, context: Any = None) -> None:
        self.config = config
        self.context = context
        self.root = config.root.expanduser()
        self.file = self.root / config.annotation.expanduser()
        self._content: Mapping[str, Any] | None = None
        self._found: dict[str, list[Case]] = {}
        self._left_out: dict[str, LeftOut] = {}

    @property
    def left_out(self) -> dict[str, tuple[str, ...]]:
        """Reason in words -> ids of the entries that are not used; grows as cases are read."""
        return together(self._left_out.values())

    def prepare(self) -> None:
        """Read and check the file. Raises BadData; writes nothing."""
        for part in dict.fromkeys(_LISTS.values()):
            self._read(part)

    def cases(self, split: str) -> CaseTable:
        """The cases of "train", "validation" or "test". Raises BadData when there are none."""
        if split not in SPLITS:
            raise BadData(f"AMOS-MM: no split {split!r}; there are {', '.join(SPLITS)}")
        part = _LISTS[split]
        found = self._read(part)
        if part == "training":
            held = held_out((case.patient for case in found), self.config.validation_share)
            found = [case for case in found if (case.patient in held) == (split == "validation")]
        if not found:
            raise BadData(
                f"AMOS-MM: no entry of {part!r} in {self.file} is usable for the {split} split: "
                f"{self._left_out[part].words() or 'the list is empty'}"
            )
        chosen = tuple(replace(case, split=split) for case in found[: self.config.limit])
        return CaseTable(chosen)

    def _read(self, part: str) -> list[Case]:
        """Every usable entry of a list, in its order."""
        if part not in self._found:
            self._found[part] = self._collect(part)
        return self._found[part]

    def _collect(self, part: str) -> list[Case]:
        left = self._left_out[part] = LeftOut()
        cases: list[Case] = []
        places: dict[str, list[str]] = {}
        for number, entry in enumerate(self._list(part), 1):
            case = self._case(entry, f"entry {number} of {part!r}")
            places.setdefault(case.id, []).append(f"entry {number}")
            if not case.report:
                left.add(f"{NO_REPORT} of {' and '.join(self.config.regions)}", case.id)
            elif not case.image.is_file():
                left.add(NO_FILE, case.id)
            else:
                cases.append(case)
        check_ids(f"AMOS-MM: {self.file}, {part!r}", places, "Remove the double entries.")
        if left:
            text = f"{len(cases)} of {part!r} used, left out: {left.words()}"
            say(self.context, f"AMOS-MM: {self.file}: {text}")
        return cases

    def _list(self, part: str) -> list[Any]:
        if self._content is None:
            self._content = read_json("AMOS-MM", self.file, _WHAT)
        content = self._content
        if not isinstance(content, dict) or not isinstance(content.get(part), list):
            raise BadData(f"AMOS-MM: {self.file} has no list {part!r}: it should be {_WHAT}")
        found: list[Any] = content[part]
        return found

    def _case(self, entry: Any, place: str) -> Case:
        """The case of an entry; its report is empty where the regions asked for have none."""
        labels = entry.get("labels") if isinstance(entry, dict) else None
        image = entry.get("image") if isinstance(entry, dict) else None
        if not isinstance(image, str) or not image.strip():
            raise BadData(f"AMOS-MM: {self.file}: {place} names no image")
        report = labels.get("report") if isinstance(labels, dict) else None
        sections = report if isinstance(report, dict) else {}
        findings = self._regions(sections.get("findings"))
        impression = self._regions(sections.get("impression"))
        name = Path(image).name.removesuffix(".gz").removesuffix(".nii")
        return Case(
            id=name,
            patient=name,
            image=self.root / image,
            report=report_text(findings, impression, self.config.sections) if findings else "",
            study=name,
            findings=findings,
            impression=impression,
        )

    def _regions(self, section: Any) -> str:
        """The text of the regions asked for; the region is named where there are several."""
        if isinstance(section, str):
            return given(section)
        if not isinstance(section, dict):
            return ""
        texts = {region: given(section.get(region)) for region in self.config.regions}
        if len(self.config.regions) == 1:
            return texts[self.config.regions[0]]
        return " ".join(f"{name.capitalize()}: {text}" for name, text in texts.items() if text)
