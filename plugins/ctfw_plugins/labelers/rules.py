"""The rule engine: sentences, mentions, negation and doubt, all of it read from a YAML file.

A finding is denied when its mention lies after a `before` trigger ("no ...") or ahead of an
`after` trigger ("... was not observed") with no boundary between the two, and doubted in the same
way by the triggers of doubt. Denial is stronger than doubt.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

from ctfw_plugins.labelers.patterns import Compiler, LabelRule, Span, Spans

# Ordered: a report states what any of its sentences states, else doubts what any doubts.
UNMENTIONED, DENIED, DOUBTED, STATED = range(4)
_SHARED = (
    "sentence_end",
    "not_negation",
    "before",
    "after",
    "denied",
    "resolved",
    "boundary",
    "doubt_before",
    "doubt_after",
    "doubted",
)


class RuleSet:
    """Compiled rules. Raises BadData naming the file and the entry that is wrong.

    names  of the labels, in the order of the file
    """

    def __init__(self, data: Mapping[str, Any], source: str) -> None:
        compiler = Compiler(source)
        shared = {key: compiler.joined(data, key) for key in _SHARED}
        self._sentence_end = shared["sentence_end"]
        self._not_negation = shared["not_negation"]
        self._before, self._after = shared["before"], shared["after"]
        self._denied, self._doubted = shared["denied"], shared["doubted"]
        self._resolved, self._boundary = shared["resolved"], shared["boundary"]
        self._doubt_before, self._doubt_after = shared["doubt_before"], shared["doubt_after"]
        self._rules: tuple[LabelRule, ...] = compiler.rules(data)
        self.names = tuple(rule.name for rule in self._rules)
        # Reports repeat their sentences: half of those in CT-RATE are copies of another.
        self.read = lru_cache(maxsize=1 << 16)(self._read)

    def sentences(self, text: str) -> Iterator[Span]:
        """Offsets of the sentences of a raw report, or of one cleaned for scoring (" . ")."""
        start = 0
        for match in self._sentence_end.finditer(text):
            yield from _trimmed(text, start, match.start())
            start = match.end()
        yield from _trimmed(text, start, len(text))

    def mentions(self, text: str) -> Iterator[tuple[int, int, int, int]]:
        """(start, end, label index, state) of each label in each sentence, in order.

        The state is STATED where any mention in the sentence is stated, else DOUBTED where any
        is doubted, else DENIED.
        """
        for start, end in self.sentences(text):
            for index, state in self.read(text[start:end]):
                yield start, end, index, state

    def _read(self, sentence: str) -> tuple[tuple[int, int], ...]:
        """(label index, state) of each label that the sentence mentions."""
        found = [
            (i, spans)
            for i, rule in enumerate(self._rules)
            if (spans := rule.mentions(sentence)) or rule.says_absent(sentence)
        ]
        if not any(spans for _, spans in found):
            return tuple((i, DENIED) for i, _ in found)
        denied, doubted = self._scopes(sentence)
        read = []
        for i, spans in found:
            left = [span for span in spans if not denied.touch(span)]
            stated = any(not doubted.touch(span) for span in left)
            read.append((i, STATED if stated else DOUBTED if left else DENIED))
        return tuple(read)

    def _scopes(self, sentence: str) -> tuple[Spans, Spans]:
        """Where findings are denied, and where they are doubted."""
        boundaries = [match.span() for match in self._boundary.finditer(sentence)]
        reach = _Reach(boundaries, len(sentence))
        masked = Spans([match.span() for match in self._not_negation.finditer(sentence)])
        denied = [match.span() for match in self._denied.finditer(sentence)]
        denied += [(0, match.start()) for match in self._resolved.finditer(sentence)]
        for match in self._before.finditer(sentence):
            if not masked.touch(match.span()):
                denied.append((match.end(), reach.ahead(match.end())))
        for match in self._after.finditer(sentence):
            if not masked.touch(match.span()):
                denied.append((reach.back(match.start()), match.start()))
        doubted = [match.span() for match in self._doubted.finditer(sentence)]
        for match in self._doubt_before.finditer(sentence):
            doubted.append((match.end(), reach.ahead(match.end())))
        for match in self._doubt_after.finditer(sentence):
            doubted.append((reach.back(match.start()), match.start()))
        return Spans(denied), Spans(doubted)


class _Reach:
    """How far a trigger reaches: to the next boundary, or back to the last one."""

    def __init__(self, boundaries: Sequence[Span], length: int) -> None:
        self._starts = [*(start for start, _ in boundaries), length]
        self._ends = [0, *(end for _, end in boundaries)]

    def ahead(self, at: int) -> int:
        """Start of the first boundary at or after `at`; the sentence's end where there is none."""
        return self._starts[bisect_left(self._starts, at)]

    def back(self, at: int) -> int:
        """End of the last boundary at or before `at`; 0 where there is none."""
        return self._ends[bisect_right(self._ends, at) - 1]


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    """The span without the blanks and bullets at its ends; nothing when that is all there is."""
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if end > start:
        yield start, end
