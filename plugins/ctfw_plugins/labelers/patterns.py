"""The patterns of a rules file, compiled, with the file and the entry named where one is wrong."""

from __future__ import annotations

import hashlib
import re
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from ctfw.errors import BadData

Span = tuple[int, int]
_MENTION = {"find", "with", "without"}
_ENTRY = {"include", "exclude", "absent"}


class Spans:
    """A union of spans that answers in logarithmic time: reports can be 100,000 words long."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        for start, end in sorted(span for span in spans if span[1] > span[0]):
            if self._ends and start <= self._ends[-1]:
                self._ends[-1] = max(self._ends[-1], end)
            else:
                self._starts.append(start)
                self._ends.append(end)

    def touch(self, span: Span) -> bool:
        """Whether any of the spans shares a character with this one."""
        first = bisect_right(self._ends, span[0])
        return first < len(self._starts) and self._starts[first] < span[1]


@dataclass(frozen=True, slots=True)
class Pattern:
    """A mention counts when its sentence also matches `needs` and does not match `bars`.

    In the file these are `find`, `with` and `without`; the last two may be lists.
    """

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
    """The patterns of one label; a mention that overlaps an excluded span does not count.

    absent  what denies the label in words of its own: "the heart size is normal"
    """

    name: str
    include: tuple[Pattern, ...]
    exclude: re.Pattern[str] | None
    absent: re.Pattern[str] | None

    def mentions(self, sentence: str) -> list[Span]:
        """Places where the sentence names the label, denied or not."""
        found = [span for pattern in self.include for span in pattern.spans(sentence)]
        if not found or self.exclude is None:
            return found
        barred = Spans([match.span() for match in self.exclude.finditer(sentence)])
        return [span for span in found if not barred.touch(span)]

    def says_absent(self, sentence: str) -> bool:
        """Whether the sentence denies the label without naming it."""
        return self.absent is not None and self.absent.search(sentence) is not None


class Compiler:
    """Turns the entries of one rules file into patterns. Every method raises BadData."""

    def __init__(self, source: str) -> None:
        self._source = source

    def rules(self, data: Mapping[str, Any]) -> tuple[LabelRule, ...]:
        """The rule of each label, in the order of the file."""
        labels = data.get("labels")
        if not isinstance(labels, Mapping) or not labels:
            raise BadData(f"{self._source}: 'labels' must map each label to its patterns")
        return tuple(self._rule(str(name), entry) for name, entry in labels.items())

    def joined(self, data: Mapping[str, Any], key: str, label: str = "") -> re.Pattern[str]:
        """One pattern that matches what any of a list matches."""
        items = self._list(data, key, label)
        where = label or key
        for item in items:
            self._compile(item, where)  # so that a mistake names its own pattern
        return self._compile("|".join(f"(?:{item})" for item in items), where)

    def _rule(self, name: str, entry: Any) -> LabelRule:
        if not isinstance(entry, Mapping) or set(entry) - _ENTRY:
            raise BadData(
                f"{self._source}: label '{name}' needs 'include' and may have 'exclude' and "
                "'absent'"
            )
        include = tuple(self._pattern(name, item) for item in self._list(entry, "include", name))
        exclude, absent = (
            self.joined(entry, key, name) if entry.get(key) else None
            for key in ("exclude", "absent")
        )
        return LabelRule(name, include, exclude, absent)

    def _pattern(self, name: str, item: Any) -> Pattern:
        if isinstance(item, str):
            return Pattern(self._compile(item, name))
        if not isinstance(item, Mapping) or "find" not in item or set(item) - _MENTION:
            raise BadData(
                f"{self._source}: label '{name}': an include is a pattern or a mapping of "
                f"'find', 'with', 'without', not {item!r}"
            )
        needs, bars = (self._one_or_list(item, key, name) for key in ("with", "without"))
        return Pattern(self._compile(item["find"], name), needs, bars)

    def _one_or_list(self, item: Mapping[str, Any], key: str, name: str) -> re.Pattern[str] | None:
        value = item.get(key)
        if value is None or isinstance(value, list):
            return None if value is None else self.joined(item, key, name)
        return self._compile(value, name)

    def _list(self, data: Mapping[str, Any], key: str, where: str = "") -> Sequence[Any]:
        value = data.get(key)
        if not isinstance(value, list) or not value:
            place = f"label '{where}': " if where else ""
            raise BadData(
                f"{self._source}: {place}'{key}' must be a list with at least one pattern"
            )
        return value

    def _compile(self, pattern: Any, where: str) -> re.Pattern[str]:
        try:
            return re.compile(pattern, re.IGNORECASE)
        except (re.error, TypeError) as error:
            raise BadData(
                f"{self._source}: '{where}': {pattern!r} is not a regular expression: {error}"
            ) from error


def read_rules(labeler: str, builtin: str, own: Path | None) -> tuple[str, str, dict[str, Any]]:
    """(name for messages, hash, content) of a labeler's rules: its labels and the shared lists.

    A file of one's own holds `labels`, and may hold shared lists that replace the built-in ones.
    Raises BadData.
    """
    shared = _packaged("english.yaml")
    if own is None:
        source, text = builtin, _packaged(builtin)
    else:
        source = str(own)
        try:
            text = own.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BadData(f"{own}: cannot read the rules of {labeler}: {error}") from error
    digest = hashlib.sha256((shared + text).encode()).hexdigest()[:8]
    return source, digest, _parsed("english.yaml", shared) | _parsed(source, text)


def _packaged(name: str) -> str:
    return (resources.files(__package__) / name).read_text("utf-8")


def _parsed(source: str, text: str) -> dict[str, Any]:
    try:
        data = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise BadData(f"{source}: not valid YAML: {error}") from error
    if not isinstance(data, dict):
        raise BadData(f"{source}: must be a mapping with 'labels'")
    return data
