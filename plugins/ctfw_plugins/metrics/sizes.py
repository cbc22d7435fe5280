"""Lengths that a report states, in millimetres."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

_NUMBER = r"\d{1,4}(?:[.,]\d{1,3})?"
_UNIT = r"-?(?:mm|cm|milli?met(?:er|re)s?|milimet(?:er|re)s?|centimet(?:er|re)s?)"
_JOIN = r"\s*(?:x|\u00d7|\*|by|-|\u2013|to)\s*"
_SIZE = re.compile(
    rf"(?<![\w.,])(?P<bound><|\u2264|(?:less|smaller|lower) than |under |below )?\s*"
    rf"(?P<numbers>{_NUMBER}(?:\s*{_UNIT})?(?:{_JOIN}{_NUMBER}(?:\s*{_UNIT})?){{0,3}})"
    rf"(?P<tail>\s*{_UNIT})?(?![\w\u00b2\u00b3^])",
    re.IGNORECASE,
)
_PART = re.compile(rf"({_NUMBER})\s*({_UNIT})?", re.IGNORECASE)
# A length that is no size of the finding: where it lies, how the scan was made, what it was.
_NO_SIZE_AFTER = re.compile(
    r"(?: (?:\w+ )?(?:from|away|(?:above|below)(?! normal)|"
    r"(?:distal|proximal|caudal|cranial|superior|inferior|deep|lateral|medial) to)\b|"
    r"[ -](?:(?:thick|thin) )?(?:slices?|sections?|collimation|intervals?)\b|"
    r"\W{0,2}(?:in (?:the )?(?:\w+ )?(?:diameter|size|thickness|axis) )?"
    r"(?:in|on|at) (?:the |his |her )?(?:previous|prior|earlier|former|old)\b|"
    r"\W{0,2}previously\b(?!\W+\d))",
    re.IGNORECASE,
)
_NO_SIZE_BEFORE = re.compile(
    r"\b(?:(?:slice|section) (?:thickness|interval)|collimation)\W+(?:\w+ ){0,2}$|"
    r"\b(?:previously|formerly|used to be)\W+(?:\w+ ){0,3}$|"
    r"\b(?:previous|prior|earlier) (?:\w+ ){0,2}(?:measured|measuring|was|were|is|of) "
    r"(?:\w+ ){0,2}$",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Size:
    """One stated size: its place in the text, and its largest dimension in millimetres.

    "less than 3 mm" is the largest number below 3, so that it falls into the bin below 3.
    """

    start: int
    end: int
    mm: float


def sizes_mm(text: str) -> Iterator[Size]:
    """The sizes in a text, in order: "4.6 mm", "12x9 mm", "1,2 cm", "3-5 mm", "<3 mm".

    Of several dimensions, and of a range, the largest counts. Areas and volumes are no sizes, nor
    are distances ("3 cm above the carina"), slice thicknesses, and sizes of an earlier
    examination. Text must be raw: cleaning for BLEU turns "4.6 mm" into "46 mm".
    """
    for match in _SIZE.finditer(text):
        found = _largest(match["numbers"], match["tail"])
        if found is None or found <= 0:
            continue
        if _NO_SIZE_AFTER.match(text, match.end()):
            continue
        if _NO_SIZE_BEFORE.search(text, max(0, match.start() - 60), match.start()):
            continue
        mm = math.nextafter(found, 0.0) if match["bound"] else found
        yield Size(match.start(), match.end(), mm)


def _largest(numbers: str, tail: str | None) -> float | None:
    """Millimetres of the largest number; None where no unit is given."""
    parts: list[tuple[str, str]] = _PART.findall(numbers)
    unit = tail or ""
    values = []
    for number, own in reversed(parts):  # a unit holds for the numbers ahead of it: "12 x 9 mm"
        unit = own or unit
        if not unit.strip():
            return None
        values.append(float(number.replace(",", ".")) * (10.0 if _is_cm(unit) else 1.0))
    return max(values, default=None)


def _is_cm(unit: str) -> bool:
    return unit.strip("- \n\t").lower().startswith("c")
