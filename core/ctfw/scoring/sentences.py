"""A report cut into sentences, each with its findings and the side that it names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ctfw.scoring.evidence import Evidence

_CLOSING = re.compile(r"\s?[.;!?]+")
_END = re.compile(r"[.;!?]+(?=\s|\Z)|\n+")
SIDE = re.compile(r"\b(left|right)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Sentence:
    """One sentence of a report; the sentences of a report cover all of its text.

    start, end  character offsets
    findings    (label, stated) of each label that the labeler found mentioned in it
    side        "left" or "right" where it names one of the two, else empty
    """

    start: int
    end: int
    findings: tuple[tuple[str, bool], ...] = ()
    side: str = ""

    @property
    def kind(self) -> str:
        """`positive` states a finding, `negative` denies what it mentions, `other` does neither."""
        if not self.findings:
            return "other"
        return "positive" if any(stated for _, stated in self.findings) else "negative"


def sentences(text: str, evidence: Sequence[Evidence] = ()) -> tuple[Sentence, ...]:
    """The sentences of a text; those of `evidence` stay whole, what lies between is cut at full
    stops and line breaks. What has no letter joins the sentence before it."""
    pieces: list[tuple[int, int, list[Evidence]]] = []
    for start, end, found in cut(text, evidence):
        parts = [(start, end)] if found else list(_between(text, start, end))
        for first, last in parts:
            if pieces and not any(map(str.isalpha, text[first:last])):
                pieces[-1] = (pieces[-1][0], last, pieces[-1][2])
            else:
                pieces.append((first, last, found))
    return tuple(
        Sentence(
            start,
            end,
            tuple((item.label, item.positive) for item in found),
            _side(text[start:end]),
        )
        for start, end, found in pieces
    )


def cut(text: str, evidence: Sequence[Evidence]) -> list[tuple[int, int, list[Evidence]]]:
    """(start, end, findings) of the sentences with evidence and of what lies between them,
    covering the whole text in order."""
    spans: dict[tuple[int, int], list[Evidence]] = {}
    for item in evidence:
        closing = _CLOSING.match(text, item.end)  # the full stop stays with its sentence
        spans.setdefault((item.start, closing.end() if closing else item.end), []).append(item)
    pieces: list[tuple[int, int, list[Evidence]]] = []
    at = 0
    for (start, stop), found in sorted(spans.items()):
        if start > at:
            pieces.append((at, start, []))
        if stop > at:
            pieces.append((max(start, at), stop, found))
            at = stop
    if at < len(text):
        pieces.append((at, len(text), []))
    return pieces


def _between(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    at = start
    for match in _END.finditer(text, start, end):
        yield at, match.end()
        at = match.end()
    if at < end:
        yield at, end


def _side(sentence: str) -> str:
    named = {match.group().lower() for match in SIDE.finditer(sentence)}
    return named.pop() if len(named) == 1 else ""
