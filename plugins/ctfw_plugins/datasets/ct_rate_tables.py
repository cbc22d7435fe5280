"""The tables of CT-RATE: reports, labels, metadata and the lists of volumes that are no chest."""

from __future__ import annotations

import ast
import csv
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.errors import BadData, did_you_mean

_SUFFIXES = (".nii.gz", ".nii", ".npz", ".mha")
_KEYS = ("VolumeName", "AccessionNo")
_AXIAL = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
_TILT = math.sin(math.radians(20))

Row = Mapping[str, str]


def bare(name: str) -> str:
    """`train_1_a_1.nii.gz` -> `train_1_a_1`; some tables give other suffixes, or none."""
    name = name.strip()
    for suffix in _SUFFIXES:
        if name.endswith(suffix):
            return name[: -len(suffix)]
    return name


def scan_of(volume: str) -> str:
    """`train_1_a_10` -> `train_1_a`: the scan that a reconstruction belongs to."""
    return volume.rsplit("_", 1)[0]


def patient_of(volume: str) -> str:
    """`train_1_a_10` -> `train_1`."""
    return volume.rsplit("_", 2)[0]


def is_volume(name: str) -> bool:
    """Whether a name has all four parts: split, patient, scan letter, reconstruction number."""
    parts = name.rsplit("_", 2)
    return len(parts) == 3 and parts[2].isdigit() and parts[1].isalpha() and "_" in parts[0]


class Table:
    """A CSV keyed on the volume or, in older files, on the scan (`AccessionNo`)."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        """Raises BadData when the file or one of `columns` is missing."""
        self.path = path
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                reader = csv.DictReader(file)
                header = reader.fieldnames or []
                key = self._check(header, columns)
                self.rows: dict[str, Row] = {}
                for row in reader:
                    self.rows.setdefault(bare(row[key] or ""), row)
        except FileNotFoundError:
            raise BadData(
                f"CT-RATE: {path} does not exist; download it, or set data.root to the folder "
                "that holds radiology_text_reports/ and multi_abnormality_labels/"
            ) from None
        except (UnicodeDecodeError, csv.Error) as error:
            raise BadData(
                f"CT-RATE: {path} is not a UTF-8 CSV file ({error}); download it again"
            ) from error

    def _check(self, header: Sequence[str], columns: Sequence[str]) -> str:
        """The key column; every column that is missing goes into one message."""
        missing = [name for name in columns if name not in header]
        if missing:
            hints = [hint for name in missing if (hint := did_you_mean(name, header))]
            raise BadData(
                f"CT-RATE: {self.path} has no column {', '.join(map(repr, missing))}; it has "
                f"{', '.join(header) or 'no header'}" + (f" ({'; '.join(hints)})" if hints else "")
            )
        key = next((name for name in _KEYS if name in header), None)
        if key is None:
            raise BadData(
                f"CT-RATE: {self.path} has neither of the columns {' and '.join(_KEYS)} that name "
                "the volume"
            )
        return key

    def get(self, volume: str) -> Row | None:
        """The row of a volume, or the one of its scan."""
        return self.rows.get(volume) or self.rows.get(scan_of(volume))


def label_vector(table: Table, row: Row, names: Sequence[str]) -> np.ndarray:
    """(L,) int8 in the order of `names`, found by column name. Raises BadData for other values."""
    values = []
    for name in names:
        value = _number(row[name])
        if value not in (0, 1):
            raise BadData(
                f"CT-RATE: {table.path}, column {name!r}: {row[name]!r} is neither 0 nor 1"
            )
        values.append(int(value))
    return np.array(values, np.int8)


def scan_facts(row: Row | None) -> dict[str, Any]:
    """What the metadata say about a volume: rescale, and spacing in mm; blanks are left out.

    XYSpacing is spelt as a Python list, e.g. `"[0.68, 0.68]"`.
    """
    facts: dict[str, Any] = {}
    if row is None:
        return facts
    for name in ("RescaleSlope", "RescaleIntercept", "ZSpacing"):
        if (value := _number(row.get(name))) is not None:
            facts[name] = value
    plane = _list(row.get("XYSpacing") or "")
    if len(plane) == 2:
        facts["XYSpacing"] = plane
    return facts


def is_axial(row: Row | None) -> bool:
    """Whether rows run to the patient's left and columns to the back, as far as the table says.

    ImageOrientationPatient is spelt `[1, 0, 0, 0, 1, 0]` or `[1.000000, ..., -0.000000]`; up to
    20 degrees of tilt count as axial, and so does a blank.
    """
    cosines = _list((row or {}).get("ImageOrientationPatient") or "")
    return len(cosines) != 6 or bool(np.allclose(cosines, _AXIAL, atol=_TILT))


def read_names(path: Path) -> frozenset[str]:
    """The volumes of a text file, one per line; empty when there is no such file."""
    if not path.is_file():
        return frozenset()
    return frozenset(bare(line) for line in path.read_text("utf-8").split() if line.strip())


def _number(text: str | None) -> float | None:
    """A finite number, or None."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@lru_cache(maxsize=4096)
def _list(text: str) -> tuple[float, ...]:
    """The numbers of a cell spelt as a Python list; empty for anything else."""
    try:
        return tuple(float(item) for item in ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError):
        return ()
