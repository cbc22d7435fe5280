"""From the judge's answer to counts and GREEN, with the published code's behaviour at the edges.

GREEN = matched / (matched + significant errors), and 0 where nothing matched (Ostmeier et al.
2024, eq. 1). Insignificant errors do not enter. The published parser reads counts by regular
expressions and takes what it cannot read for 0, which gives a silent 0 (no matched findings) or a
silent 1 (no errors). `doubt` says in words where that happened.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

SIGNIFICANT = "Clinically Significant Errors"
INSIGNIFICANT = "Clinically Insignificant Errors"
MATCHED = "Matched Findings"
TYPES = "abcdef"

_ASSISTANT, _EXPLANATION = "<|assistant|>", "[Explanation]:"
_LARGEST = 18  # digits; a longer run is a model that repeats itself, and no number of findings
_NUMBER = re.compile(r"\b\d+\b(?=\.)")
_COUNT = re.compile(r"(?<=: )\b\d+\b(?=\.)")
_NONE = re.compile(r"(?:No|None|N/A)\b", re.IGNORECASE)
# What transformers' `clean_up_tokenization_spaces` does, which the authors switch on.
_GLUED = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")


def clean(answer: str) -> str:
    """The answer without the parts of the conversation and of the template that it repeats.

    Blanks before punctuation go first, as they do when the authors' tokenizer decodes.
    """
    for piece in _GLUED:
        answer = answer.replace(piece, piece.strip())
    if _EXPLANATION in answer:
        answer = answer.split(_ASSISTANT)[-1]
        # The published test means to look for two spellings of the template and looks for one.
        echoed = f"{_EXPLANATION}\n    <Explanation>\n" in answer
        answer = answer.split(_EXPLANATION)[1 if echoed else -1]
    return answer.split(_ASSISTANT)[-1].replace("</s>", "").replace("<unk>", "")


def green(matched: int, significant: tuple[int, ...]) -> float:
    """The score of one answer's counts."""
    return matched / (matched + sum(significant)) if matched else 0.0


def matched_findings(answer: str) -> int:
    """The number that opens the section of matched findings; 0 where there is none."""
    text = _section(answer, MATCHED)
    if text is None or text.startswith("No"):
        return 0
    return _number(_NUMBER.match(text)) or 0


def error_counts(answer: str, section: str) -> tuple[int, ...]:
    """(a) to (f) of a section; 0 for each type whose count is missing or cannot be read."""
    text = _section(answer, section)
    if text is None or text.startswith("No"):
        return (0,) * len(TYPES)
    counts = dict.fromkeys(TYPES, 0)
    for kind, line in _lines(text):
        if (count := _number(_COUNT.search(line))) is not None:
            counts[kind] = count  # of two lines with a count, the later in alphabetical order
    return tuple(counts.values())


def doubt(answer: str) -> str:
    """Why the counts of an answer cannot be relied on, in words; empty where they can."""
    if not answer.strip():
        return "the judge answered nothing"
    for section in (SIGNIFICANT, MATCHED):
        text = _section(answer, section)
        if text is None:
            return f"the answer has no section [{section}]"
        if text.startswith("["):  # the published pattern then reads on into the next section
            return f"the section [{section}] is empty"
        if _NONE.match(text):
            continue
        if reason := _doubt_matched(text) if section == MATCHED else _doubt_errors(text):
            return reason
    return ""


def _doubt_matched(text: str) -> str:
    if text.startswith("No"):
        return "the matched findings begin with a word that is read as none"
    if _number(_NUMBER.match(text)) is None:
        return "the number of matched findings cannot be read"
    return ""


def _doubt_errors(text: str) -> str:
    lines = list(_lines(text))
    if text.startswith("No") or not lines:
        return "the significant errors are not listed by type"
    seen: dict[str, int] = {}
    for kind, line in lines:
        count = _number(_COUNT.search(line))
        if count is None:
            return f"the number of significant errors ({kind}) cannot be read"
        if seen.setdefault(kind, count) != count:
            return f"the significant errors ({kind}) have two numbers"
    return ""


def _section(answer: str, name: str) -> str | None:
    """What follows `[name]:` up to the first blank line; None where there is no such heading."""
    found = re.search(rf"\[{name}\]:\s*(.*?)(?:\n\s*\n|\Z)", answer, re.DOTALL)
    return found[1] if found else None


def _lines(text: str) -> Iterator[tuple[str, str]]:
    """(type, line) of each line of errors, sorted; "(1)" to "(6)" where no line has a letter."""
    for marks in (TYPES, "123456"):
        if lines := sorted(re.findall(rf"\([{marks}]\) .*", text)):
            for line in lines:
                yield TYPES[marks.index(line[1])], line
            return


def _number(found: re.Match[str] | None) -> int | None:
    return int(found[0]) if found and len(found[0]) <= _LARGEST else None
