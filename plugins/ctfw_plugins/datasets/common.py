"""What the data sets share: texts, splits by patient, and what had to be left out."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ctfw.errors import BadData
from ctfw.types import Case

SPLITS = ("train", "validation", "test")
NO_FILE = "whose file is missing"
NO_REPORT = "without a report"
NO_LABELS = "without labels"
_MISSING = frozenset({"", "nan", "none", "null", "n/a", "not given", "not given."})
_NAMED = 5  # what a message names before it only counts


def given(text: Any) -> str:
    """A section without stray white space; empty where the table says that there is none."""
    clean = str(text or "").strip()
    if "  " in clean or not clean.isprintable():  # a fifth of the time of splitting every text
        clean = " ".join(clean.split())
    return "" if len(clean) < 12 and clean.lower() in _MISSING else clean


def report_text(findings: str, impression: str, sections: str) -> str:
    """`Findings: ... Impression: ...`, or the findings alone; a missing section is left out."""
    if sections == "findings":
        return findings
    parts = (("Findings", findings), ("Impression", impression))
    return " ".join(f"{name}: {text}" for name, text in parts if text)


def named(items: Sequence[str]) -> str:
    """`a, b, c, d, e, ...`: the first few."""
    return ", ".join(items[:_NAMED]) + (", ..." if len(items) > _NAMED else "")


def faults_said(faults: Mapping[str, Sequence[str]]) -> str:
    """`what is wrong (line 3, line 7); ...`, with the number where not all places are named."""
    parts = []
    for why, places in faults.items():
        more = f" {len(places)} in all" if len(places) > _NAMED else ""
        parts.append(f"{why} ({named(places)}{more})")
    return "; ".join(parts)


def say(context: Any, text: str) -> None:
    """Tell the person who waits: through the run's context, else as a warning."""
    log = getattr(context, "log", None)
    if callable(log):
        log(text)
    else:
        warnings.warn(text, stacklevel=3)


def fraction(patient: str) -> float:
    """A number in [0, 1) that depends on the patient's name alone."""
    digest = hashlib.sha256(f"validation|{patient}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64


def held_out(patients: Iterable[str], share: float) -> set[str]:
    """The patients of a validation split taken from training; at least one where there are two.

    A patient's place depends on the name alone, so files may come and go; a larger share keeps
    those that were held out.
    """
    ranked = sorted((fraction(patient), patient) for patient in set(patients))
    chosen = {patient for value, patient in ranked if value < share}
    if not chosen and len(ranked) > 1:
        chosen = {ranked[0][1]}
    return chosen


def check_patients(who: str, cases: Iterable[Case]) -> None:
    """Raise BadData when a patient is in two splits: the scores would be of patients seen."""
    seen: dict[str, str] = {}
    shared: dict[str, str] = {}
    for case in cases:
        first = seen.setdefault(case.patient, case.split)
        if first != case.split:
            shared.setdefault(case.patient, f"{case.patient} ({first} and {case.split})")
    if shared:
        raise BadData(
            f"{who}: {_count(len(shared), 'patient is', 'patients are')} in two splits: "
            f"{named(list(shared.values()))}. Scores on patients that were trained on mean "
            "little: mend the splits, or set data.allow_patient_overlap: true to accept it"
        )


def check_ids(who: str, ids: Mapping[str, Sequence[str]], advice: str) -> None:
    """Raise BadData when an id stands in two places; `ids` maps id -> places in words."""
    double = [
        f"{name!r} ({' and '.join(places[:2])})" for name, places in ids.items() if len(places) > 1
    ]
    if double:
        raise BadData(
            f"{who}: {_count(len(double), 'id stands', 'ids stand')} more than once: "
            f"{named(double)}. {advice}"
        )


class LeftOut:
    """Studies that are not used: reason in words -> ids, in the order they were found."""

    def __init__(self) -> None:
        self._found: dict[str, list[str]] = {}

    def add(self, reason: str, name: str) -> None:
        """Leave out one study."""
        self._found.setdefault(reason, []).append(name)

    def __bool__(self) -> bool:
        return bool(self._found)

    def reasons(self) -> dict[str, tuple[str, ...]]:
        """Reason -> ids."""
        return {reason: tuple(ids) for reason, ids in self._found.items()}

    def words(self) -> str:
        """`2 without a report (a, b); 1 whose file is missing (c)`."""
        return "; ".join(f"{len(ids)} {why} ({named(ids)})" for why, ids in self._found.items())


def together(parts: Iterable[LeftOut]) -> dict[str, tuple[str, ...]]:
    """The reasons of several in one mapping."""
    merged: dict[str, tuple[str, ...]] = {}
    for part in parts:
        for reason, ids in part.reasons().items():
            merged[reason] = merged.get(reason, ()) + ids
    return merged


def read_json(who: str, path: Path, what: str) -> Any:
    """The content of a JSON file. Raises BadData that says what the file should be."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise BadData(f"{who}: {path} does not exist; it should be {what}") from None
    except OSError as error:
        raise BadData(f"{who}: {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise BadData(f"{who}: {path} is not JSON in UTF-8 ({error}); fetch it again") from error


def _count(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
