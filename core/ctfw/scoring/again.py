"""What a report stage has kept, so that its numbers can be made again without a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ctfw.contracts import Labeler
from ctfw.errors import BadData
from ctfw.runs.files import each_line, read_json
from ctfw.scoring.likelihood import IMAGES, OWN, Marks, ReferenceNLL, marks
from ctfw.settings import Generation
from ctfw.types import Prediction

SPANS = "spans.jsonl"
_KEPT = ("split", "checkpoint", "fingerprint", "labeler_agreement")


def read_tokens(
    folder: Path, predictions: Sequence[Prediction], labeler: Labeler | None
) -> ReferenceNLL | None:
    """The likelihood of every token of the references, as `nll.IMAGE.jsonl` and `spans.jsonl` hold
    it; None where they are not there or are of other cases.

    Raises BadData that names the file where one is damaged.
    """
    read = [p.case for p in predictions if p.reference.strip()]
    found = {}
    for name in IMAGES:
        file = _nll(folder, name)
        if not file.is_file():
            continue
        lines = _by_case(file, "nll", is_numbers)
        if list(lines) != read:
            return None
        found[name] = [np.asarray(lines.get(p.case, []), float) for p in predictions]
    if OWN not in found:
        return None
    told = ReferenceNLL(found, _marks(folder / SPANS, predictions, labeler))
    return checked(told, [p.case for p in predictions], folder)


def checked(nll: ReferenceNLL, cases: Sequence[str], folder: Path) -> ReferenceNLL:
    """`nll` as it is. Raises BadData where the files of `folder` have not the same tokens."""
    for place, case in enumerate(cases):
        count = len(nll.tokens[OWN][place])
        for name, values in nll.tokens.items():
            if len(values[place]) != count:
                raise BadData(
                    f"{_nll(folder, name)} has {len(values[place])} tokens of case '{case}' and "
                    f"{_nll(folder, OWN)} has {count}: one of them is damaged. {_WITHOUT}"
                )
        if nll.marks and len(nll.marks[place].spans) != count:
            raise BadData(
                f"{folder / SPANS} has the places of {len(nll.marks[place].spans)} tokens of case "
                f"'{case}' and {_nll(folder, OWN)} has {count}: one of them is damaged. {_WITHOUT}"
            )
    return nll


def is_numbers(value: Any) -> bool:
    """Whether it is a list of numbers, as a line of `nll.IMAGE.jsonl` holds one."""
    return isinstance(value, list) and all(
        isinstance(each, (int, float)) and not isinstance(each, bool) for each in value
    )


_WITHOUT = (
    "Bring it back from a copy, or remove it: an audit makes it again, and `ctfw score` goes on "
    "without what it holds"
)


def _nll(folder: Path, image: str) -> Path:
    return folder / f"nll.{image}.jsonl"


def _is_spans(value: Any) -> bool:
    return isinstance(value, list) and all(is_numbers(pair) and len(pair) == 2 for pair in value)


def _by_case(file: Path, key: str, fits: Callable[[Any], bool]) -> dict[str, Any]:
    """Case -> what its line has under `key`; a last line that a kill cut is left out.

    Raises BadData that names the first other line which is damaged.
    """
    lines = each_line(file)
    if lines and lines[-1] is None:
        lines.pop()
    found = {}
    for number, line in enumerate(lines, 1):
        if line is None or not isinstance(line.get("case"), str) or not fits(line.get(key)):
            raise BadData(f"{file}, line {number}: damaged, no 'case' with '{key}'. {_WITHOUT}")
        found[line["case"]] = line[key]
    return found


def _marks(file: Path, predictions: Sequence[Prediction], labeler: Labeler | None) -> list[Marks]:
    spans = _by_case(file, "spans", _is_spans)
    if not spans:
        return []
    return [
        marks(p.reference, np.asarray(spans.get(p.case, []), np.int64), labeler)
        for p in predictions
    ]


def kept_facts(folder: Path) -> dict[str, Any]:
    """What scores.json tells of the run and predictions do not: split, checkpoint, fingerprint of
    the data, how far the labeler agrees with it, and under `generation` decoding and prompt."""
    file = folder / "scores.json"
    if not file.is_file():
        return {}
    facts = read_json(file)
    decoding = facts.get("generation") or {}
    settings = (*Generation.model_fields, "prompt")
    return {key: facts[key] for key in _KEPT if key in facts} | {
        "generation": {key: decoding[key] for key in settings if key in decoding}
    }
