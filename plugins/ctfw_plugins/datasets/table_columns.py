"""Which column holds what: as the settings say, else by the names that tables usually have."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ctfw.errors import BadData, did_you_mean
from ctfw_plugins.datasets.configs import TableColumns
from ctfw_plugins.datasets.table_files import Rows

# In the order of preference; compared without case, spaces and punctuation.
USUAL: dict[str, tuple[str, ...]] = {
    "image": (
        "image", "image_path", "image_file", "img", "path", "file_path", "file", "file_name",
        "volume", "volume_name", "volume_path", "nifti", "scan", "scan_path", "dicom_folder",
    ),
    "report": ("report", "report_text", "full_report", "radiology_report", "text", "caption"),
    "findings": ("findings", "finding", "findings_en", "findings_text"),
    "impression": ("impression", "impressions", "impressions_en", "conclusion"),
    "patient": ("patient", "patient_id", "patient_no", "subject", "subject_id", "pid"),
    "study": ("study", "study_id", "accession", "accession_no", "accession_number", "exam_id"),
    "id": ("id", "case", "case_id", "uid"),
    "split": ("split", "set", "subset", "partition"),
    "slope": ("slope", "rescale_slope"),
    "intercept": ("intercept", "rescale_intercept"),
    "spacing": ("spacing", "spacing_mm", "voxel_spacing", "voxel_size"),
    "intensity": ("intensity",),
}  # fmt: skip
_LABELS = ("labels", "label", "finding_labels", "findings_labels", "abnormalities", "classes")
_TEXTS = ("report", "findings", "impression")


def plain(name: str) -> str:
    """`Patient ID`, `patient_id` and `PatientID` are one name."""
    return re.sub(r"[\W_]+", "", name.casefold())


def find_columns(rows: Rows, wanted: TableColumns) -> dict[str, int]:
    """Role -> index of its column. Raises BadData with everything that is missing.

    An image and a text (report, findings or impression) must be there. Where the settings name a
    text column, the other texts are not looked for by their usual names.
    """
    faults: list[str] = []
    found: dict[str, int] = {}
    told = {role: getattr(wanted, role) for role in USUAL}
    text_told = any(told[role] for role in _TEXTS)
    for role, usual in USUAL.items():
        if told[role] is not None:
            index = _named(rows.header, told[role], f"data.columns.{role}", faults)
        elif role in _TEXTS and text_told:
            continue
        else:
            index = first_of(rows.header, usual)
        if index is not None:
            found[role] = index
    if "image" not in found and wanted.image is None:
        faults.append(_lacking("image", "image", USUAL["image"]))
    if not any(role in found for role in _TEXTS) and not text_told:
        names = [USUAL[role][0] for role in _TEXTS]
        faults.append(_lacking("text of the report", "report", names))
    _raise(rows, faults)
    return found


def label_columns(rows: Rows, wanted: TableColumns, names: Sequence[str]) -> list[int] | int | None:
    """The columns of the labels `names` in their order, or the one column that lists them.

    None when no labels are asked for. Raises BadData for columns that are not there.
    """
    faults: list[str] = []
    told = wanted.labels
    found: list[int] | int | None = None
    if isinstance(told, str):
        found = _named(rows.header, told, "data.columns.labels", faults)
    elif told is not None:
        found = _all(rows.header, told, "data.columns.labels", faults)
    elif names:
        own = [first_of(rows.header, (name,)) for name in names]
        listing = first_of(rows.header, _LABELS)
        if listing is not None and any(index is None for index in own):
            found = listing
        else:
            found = _all(rows.header, names, "data.labels", faults)
    _raise(rows, faults)
    return found


def first_of(header: Sequence[str], names: Sequence[str]) -> int | None:
    """Index of the first of `names` that is a column, compared as `plain` does."""
    known = {plain(name): index for index, name in reversed(list(enumerate(header)))}
    return next((known[plain(name)] for name in names if plain(name) in known), None)


def _named(header: Sequence[str], name: str, setting: str, faults: list[str]) -> int | None:
    """The column of this very name, else of one that differs in spelling only."""
    index = header.index(name) if name in header else first_of(header, (name,))
    if index is None:
        close = did_you_mean(name, header)
        faults.append(f"{setting}: there is no column {name!r}" + (f", {close}" if close else ""))
    return index


def _all(header: Sequence[str], names: Sequence[str], setting: str, faults: list[str]) -> list[int]:
    found = [_named(header, name, setting, faults) for name in names]
    return [index for index in found if index is not None]


def _lacking(what: str, role: str, usual: Sequence[str]) -> str:
    shown = ", ".join(usual[:6])
    return f"no column for the {what} (looked for {shown}): name it with data.columns.{role}"


def _raise(rows: Rows, faults: Sequence[str]) -> None:
    if faults:
        columns = ", ".join(rows.header)
        raise BadData(f"{rows.file}: {'; '.join(faults)}. The table has: {columns}")
