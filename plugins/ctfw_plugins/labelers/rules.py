"""The rule engine: sentences, mentions, negation and doubt, all of it read from a YAML file.

A sentence is cut into clauses at the boundaries of the rules file. A finding is denied when its
mention lies after a `before` trigger ("no ...") or ahead of an `after` trigger ("... was not
observed") with no boundary between the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from ctfw.errors import BadData

Span = tuple[int, int]
_KEYS = {"find", "with", "without"}
_SHARED = ("sentence_end", "not_negation", "before", "after", "resolved", "boundary", "doubt")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A mention counts when its sentence also matches `needs` and does not match `bars`."""

    find: re.Pattern[str]
    needs: re.Pattern[str] | None = None
    bars: re.Pattern[str] | None = None

    def spans(self, sentence: str) -> Iterator[Span]:
        """Places of the mention in the sentence."""
        if self.needs is not None and not self.needs.search(sentence):
            return
        if self.bars is not None and self.bars.search(sentence):
            return
        for match in self.find.finditer(sentence):
            yield match.span()


@dataclass(frozen=True, slots=True)
class LabelRule:
    """The patterns of one label; a mention that overlaps an excluded span does not count."""

    name: str
    include: tuple[Pattern, ...]
    exclude: re.Pattern[str] | None

    def mentions(self, sentence: str) -> list[Span]:
        """Places where the sentence speaks of the label, denied or not."""
        found = [span for pattern in self.include for span in pattern.spans(sentence)]
        if not found or self.exclude is None:
            return found
        barred = [match.span() for match in self.exclude.finditer(sentence)]
        return [span for span in found if not any(_overlap(span, other) for other in barred)]


class RuleSet:
    """Compiled rules. Raises BadData naming the file and the entry that is wrong."""

    def __init__(self, data: Mapping[str, Any], source: str, uncertain: str = "positive") -> None:
        self._source = source
        self._uncertain_is_positive = uncertain == "positive"
        shared = {
            key: self._join(self._list(data, key), key)
            for key in (
                "sentence_end",
                "not_negation",
                "before",
                "after",
                "resolved",
                "boundary",
                "doubt",
            )
        }
        self._sentence_end = shared["sentence_end"]
        self._not_negation = shared["not_negation"]
        self._before, self._after = shared["before"], shared["after"]
        self._boundary, self._doubt = shared["boundary"], shared["doubt"]
        self._resolved = shared["resolved"]
        labels = data.get("labels")
        if not isinstance(labels, Mapping) or not labels:
            raise BadData(f"{source}: 'labels' must map each label to its patterns")
        self.rules = tuple(self._rule(str(name), entry) for name, entry in labels.items())
        self.names = tuple(rule.name for rule in self.rules)
        # Reports repeat their sentences: half of those in CT-RATE are copies of another.
        self.read = lru_cache(maxsize=1 << 16)(self._read)

    def sentences(self, text: str) -> Iterator[Span]:
        """Offsets of the sentences of a raw report, or of one cleaned for scoring (" . ")."""
        start = 0
        for match in self._sentence_end.finditer(text):
            yield from _trimmed(text, start, match.start())
            start = match.end()
        yield from _trimmed(text, start, len(text))

    def _read(self, sentence: str) -> tuple[tuple[int, bool], ...]:
        """(label index, positive) for each label that the sentence mentions."""
        found = [
            (i, spans) for i, rule in enumerate(self.rules) if (spans := rule.mentions(sentence))
        ]
        if not found:
            return ()
        denied = self._denied(sentence)
        return tuple(
            (i, any(not any(_overlap(span, other) for other in denied) for span in spans))
            for i, spans in found
        )

    def _denied(self, sentence: str) -> list[Span]:
        """Spans whose findings are denied, or doubted where doubt counts as absence."""
        boundaries = [match.span() for match in self._boundary.finditer(sentence)]
        starts = [*(start for start, _ in boundaries), len(sentence)]
        ends = [0, *(end for _, end in boundaries)]
        masked = [match.span() for match in self._not_negation.finditer(sentence)]
        spans: list[Span] = []
        for match in self._before.finditer(sentence):
            if not any(_overlap(match.span(), other) for other in masked):
                spans.append((match.end(), min(s for s in starts if s >= match.end())))
        for match in self._after.finditer(sentence):
            if not any(_overlap(match.span(), other) for other in masked):
                spans.append((max(e for e in ends if e <= match.start()), match.start()))
        spans += [(0, match.start()) for match in self._resolved.finditer(sentence)]
        if not self._uncertain_is_positive:
            for match in self._doubt.finditer(sentence):
                low = max(e for e in ends if e <= match.start())
                spans.append((low, min(s for s in starts if s >= match.end())))
        return [span for span in spans if span[1] > span[0]]

    def _rule(self, name: str, entry: Any) -> LabelRule:
        if not isinstance(entry, Mapping) or set(entry) - {"include", "exclude"}:
            raise BadData(f"{self._source}: label '{name}' needs 'include' and may have 'exclude'")
        include = tuple(self._pattern(name, item) for item in self._list(entry, "include", name))
        exclude = entry.get("exclude")
        barred = None if not exclude else self._join(self._list(entry, "exclude", name), name)
        return LabelRule(name, include, barred)

    def _pattern(self, name: str, item: Any) -> Pattern:
        if isinstance(item, str):
            return Pattern(self._compile(item, name))
        if not isinstance(item, Mapping) or "find" not in item or set(item) - _KEYS:
            raise BadData(
                f"{self._source}: label '{name}': an include is a pattern or a mapping of "
                f"'find', 'with', 'without', not {item!r}"
            )
        needs, bars = item.get("with"), item.get("without")
        return Pattern(
            self._compile(item["find"], name),
            self._compile(needs, name) if needs else None,
            self._compile(bars, name) if bars else None,
        )

    def _list(self, data: Mapping[str, Any], key: str, where: str = "") -> Sequence[Any]:
        value = data.get(key)
        if not isinstance(value, list) or not value:
            place = f"label '{where}': " if where else ""
            raise BadData(
                f"{self._source}: {place}'{key}' must be a list with at least one pattern"
            )
        return value

    def _join(self, items: Sequence[Any], where: str) -> re.Pattern[str]:
        for item in items:
            self._compile(item, where)  # so that a mistake names its own pattern
        return self._compile("|".join(f"(?:{item})" for item in items), where)

    def _compile(self, pattern: Any, where: str) -> re.Pattern[str]:
        try:
            return re.compile(pattern, re.IGNORECASE)
        except (re.error, TypeError) as error:
            raise BadData(
                f"{self._source}: '{where}': {pattern!r} is not a regular expression: {error}"
            ) from error


def _overlap(a: Span, b: Span) -> bool:
    return a[0] < b[1] and b[0] < a[1]


def _trimmed(text: str, start: int, end: int) -> Iterator[Span]:
    """The span without the blanks and bullets at its ends; nothing when that is all there is."""
    while start < end and not text[start].isalnum():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    if end > start:
        yield start, end
