"""Whether the reports are fit to be learnt: empty, repeated, cut, damaged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ctfw.doctor.finding import (
    Finding,
    by_split,
    count,
    note,
    ok,
    percent,
    problem,
    warning,
)

if TYPE_CHECKING:
    from ctfw.doctor.scene import Scene
    from ctfw.types import Case

FEWEST_WORDS = 5
LONG_WORDS, LONG_TIMES = 1000, 5
"""A report is long when it has more words than both 1,000 and five times the median."""
MOST_ALIKE = 0.1
"""Share of the most frequent report above which it is pointed at."""
_NOTHING = r"not given\.?|nan|none|null|n/a"
_SECTION = r"\b(?:findings|impressions?)\s*:\s*"
_PLACEHOLDER = re.compile(rf"(?:{_NOTHING})\Z", re.IGNORECASE)
_INSIDE = re.compile(
    rf"\bnot given\.|{_SECTION}(?:{_NOTHING})\.?\s*(?=\Z|{_SECTION})", re.IGNORECASE
)
_THINKING = re.compile(r"</?think(?:ing)?>", re.IGNORECASE)
_MARKUP = re.compile(
    r"</?(?:p|br|div|span|b|i|u|ul|ol|li|table|tr|td|h[1-6]|html|body)\b[^<>]*>"
    r"|&(?:nbsp|lt|gt|amp|quot|apos|#\d{1,6});",
    re.IGNORECASE,
)
_FOREIGN = re.compile(r"[^\x00-\x7f]{2,}")
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")


def check(scene: Scene) -> Iterator[Finding]:
    """Texts of every case of every split."""
    cases = scene.cases
    findings = [*_empty(cases), *_odd(cases), *_repeated(cases)]
    yield from findings
    if not any(found.level in ("problem", "warning") for found in findings):
        yield ok(f"{count(len(cases), 'report')}, none empty, damaged or of odd length")


def _empty(cases: Sequence[Case]) -> Iterator[Finding]:
    advice = "leave these cases out; a model would learn to write nothing, or these words"
    empty = [case for case in cases if not case.report.strip()]
    if empty:
        where = by_split(case.split for case in empty)
        text = f"{count(len(empty), 'report is', 'reports are')} empty ({where})"
        yield problem(text, _ids(empty), "leave these cases out; a run stops at them")
    placeholder = [case for case in cases if _PLACEHOLDER.match(case.report.strip())]
    if placeholder:
        words = _most_common(case.report.strip() for case in placeholder)
        text = _reports(placeholder, f"nothing but {words!r}")
        yield problem(text, _ids(placeholder), advice)
    known = set(_ids(placeholder))
    inside = [case for case in cases if case.id not in known and _says_nothing(case)]
    if inside:
        text = _reports(inside, "a section that says 'Not given.', 'nan' or the like")
        yield warning(text, _ids(inside), "it is a gap of the table, and should be empty text")


def _says_nothing(case: Case) -> bool:
    sections = (case.findings, case.impression)
    return bool(_INSIDE.search(case.report)) or any(_PLACEHOLDER.match(s.strip()) for s in sections)


def _odd(cases: Sequence[Case]) -> Iterator[Finding]:
    words = np.array([len(case.report.split()) for case in cases])
    median = float(np.median(words))
    longest = max(LONG_WORDS, LONG_TIMES * median)
    short = [case for case, n in zip(cases, words) if 0 < n < FEWEST_WORDS]
    long = [case for case, n in zip(cases, words) if n > longest]
    short = [case for case in short if not _PLACEHOLDER.match(case.report.strip())]
    if short:
        text = _reports(short, f"fewer than {FEWEST_WORDS} words")
        yield warning(text, _ids(short), "read them: are they cut, or of another examination?")
    if long:
        text = _reports(long, f"more than {longest:,.0f} words")
        yield warning(text, _ids(long), "read them: do they hold several reports?")
    for what, damaged, advice in _DAMAGE:
        found = [case for case in cases if damaged(case.report)]
        if found:
            yield warning(_reports(found, what), _ids(found), advice)
    low, high = np.percentile(words, [1, 99])
    yield note(
        f"words per report: median {median:,.0f}, 1 to 99 %: {low:,.0f} to {high:,.0f}, longest "
        f"{words.max():,}",
        median=median,
        longest=int(words.max()),
    )


def mis_decoded(text: str) -> bool:
    """Whether a text is UTF-8 that was read as Windows-1252 or Latin-1, such as `Ã©` for `é`.

    Told by trying it: letters beyond ASCII that turn into valid UTF-8 when they are written in
    one of these encodings are almost never meant.
    """
    for run in _FOREIGN.findall(text):
        for encoding in ("cp1252", "latin-1"):
            try:
                run.encode(encoding).decode("utf-8")
            except UnicodeError:
                continue
            return True
    return False


_DAMAGE: tuple[tuple[str, Callable[[str], object], str], ...] = (
    (
        "letters in the wrong encoding, such as 'Ã©' for 'é'",
        mis_decoded,
        "the table is UTF-8 and was read or saved as another encoding: save it anew",
    ),
    (
        "characters that stand for lost ones (U+FFFD) or control characters",
        _CONTROL.search,
        "the letters are lost: make the table anew from its source",
    ),
    (
        "`<think>` marks",
        _THINKING.search,
        "that is a language model's scratch text, not a report: cut it out",
    ),
    ("HTML marks", _MARKUP.search, "turn them into plain text"),
)


def _repeated(cases: Sequence[Case]) -> Iterator[Finding]:
    """How many reports are different, and how many of the test are word for word in training."""
    written = [case for case in cases if case.report.strip()]
    if not written:
        return
    texts = Counter(_plain(case.report) for case in written)
    (_, often), total = texts.most_common(1)[0], len(written)
    values: dict[str, Any] = {"reports": total, "distinct": len(texts), "most_frequent": often}
    text = f"{len(texts):,} of {count(total, 'report')} are different"
    if often > 1:
        text += f"; the most frequent stands {often:,} times ({percent(often, total)})"
    if often > max(2, MOST_ALIKE * total):
        advice = "a model that writes this one report scores well without looking"
        yield warning(text, advice=advice, **values)
    else:
        yield note(text, **values)
    train = {_plain(case.report) for case in written if case.split == "train"}
    test = [case for case in written if case.split == "test"]
    known = [case for case in test if _plain(case.report) in train]
    if known:
        yield warning(
            f"{len(known):,} of {count(len(test), 'test report')} ({percent(len(known), len(test))}"
            ") stand word for word in the training split",
            _ids(known),
            "they can be written from memory: read the floors beside the scores",
            known=len(known),
        )


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _ids(cases: Sequence[Case]) -> list[str]:
    return [case.id for case in cases]


def _reports(cases: Sequence[Case], what: str) -> str:
    """`2 reports have ... (train 1, test 1)`."""
    where = by_split(case.split for case in cases)
    return f"{count(len(cases), 'report has', 'reports have')} {what} ({where})"


def _most_common(texts: Iterator[str]) -> str:
    return Counter(texts).most_common(1)[0][0]
