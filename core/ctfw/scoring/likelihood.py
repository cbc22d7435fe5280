"""How likely the reference report is under each image: per token, per sentence, per finding.

The likelihood of every token is kept, so that any group of tokens can be looked at afterwards
without the model: the sentences that state a finding, those that deny one, those that name a side.
Numbers are means over cases of a mean within the case, so that a long report weighs as much as a
short one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctfw.scoring.resample import Estimate, mean_interval
from ctfw.scoring.sentences import SIDE, Sentence, sentences

OWN = "own"
IMAGES: Mapping[str, str] = {
    "own": "own image",
    "another": "another patient's image",
    "mirrored": "left and right exchanged",
    "shuffled": "slices shuffled",
    "blank": "blank image",
    "noise": "noise",
}
GROUPS: Mapping[str, str] = {
    "all": "all tokens",
    "positive": "sentences that state a finding",
    "negative": "sentences that only deny findings",
    "other": "sentences without a finding",
    "sided": "sentences that name one side",
    "side-words": "the words left and right in them",
}


@dataclass(frozen=True)
class Marks:
    """What the tokens of one report belong to.

    sentences  the report's sentences, in order
    spans      (T, 2) characters of each token
    sentence   (T,) index of each token's sentence; -1 for the end of the report
    side_word  (T,) bool, tokens of the word "left" or "right" in a sentence that names one side
    """

    sentences: tuple[Sentence, ...]
    spans: np.ndarray
    sentence: np.ndarray
    side_word: np.ndarray

    def group(self, name: str) -> np.ndarray:
        """(T,) bool, the tokens of a group of GROUPS."""
        if name == "all":
            return np.ones(len(self.sentence), bool)
        if name == "side-words":
            return self.side_word
        if name == "sided":
            chosen = [bool(sentence.side) for sentence in self.sentences]
        else:
            chosen = [sentence.kind == name for sentence in self.sentences]
        return np.asarray([*chosen, False], bool)[self.sentence]  # -1 is the last


def marks(text: str, spans: np.ndarray, labeler: Any = None) -> Marks:
    """The marks of a report whose tokens lie at `spans`, (T, 2) character offsets.

    A token belongs to the sentence of its first character that is no blank; a labeler without
    `evidence` finds no findings.
    """
    read = getattr(labeler, "evidence", None)
    found = sentences(text, read(text) if read is not None else ())
    spans = np.asarray(spans, np.int64).reshape(-1, 2)
    ends = np.asarray([sentence.end for sentence in found], np.int64)
    sides = [
        match.span()
        for sentence in found
        if sentence.side
        for match in SIDE.finditer(text, sentence.start, sentence.end)
    ]
    owner = np.full(len(spans), -1, np.int64)
    side_word = np.zeros(len(spans), bool)
    for place, (start, end) in enumerate(spans.tolist()):
        if end > start:
            first = start + len(text[start:end]) - len(text[start:end].lstrip())
            at = min(first, end - 1)
            owner[place] = min(int(np.searchsorted(ends, at, side="right")), len(found) - 1)
            side_word[place] = any(low <= at < high for low, high in sides)
    return Marks(found, spans, owner, side_word)


@dataclass(frozen=True)
class ReferenceNLL:
    """Negative log-likelihood of N reference reports under several images, nats.

    tokens  condition ("own", "another", ...) -> N arrays (T_i,), one value per token; an empty
            array where a case has no reference
    marks   N marks, or empty where the backbone cannot say where its tokens lie
    """

    tokens: Mapping[str, Sequence[np.ndarray]]
    marks: Sequence[Marks] = ()

    @property
    def groups(self) -> tuple[str, ...]:
        """The groups of tokens that can be told apart."""
        return tuple(GROUPS) if self.marks else ("all",)

    def per_case(self, condition: str, group: str = "all") -> np.ndarray:
        """(N,) mean per token of the group's tokens; NaN where the report has none."""
        values = self.tokens[condition]
        return np.asarray([_mean(v[self._mask(i, group)]) for i, v in enumerate(values)])

    def per_sentence(self, condition: str, group: str = "all") -> np.ndarray:
        """(N,) mean over the group's sentences of their summed NLL; NaN where there is none."""
        means = []
        for values, mark in zip(self.tokens[condition], self.marks, strict=True):
            sums = self._sums(values, mark)
            chosen = np.zeros(len(sums), bool)
            inside = mark.sentence[mark.group(group)]
            chosen[inside[inside >= 0]] = True
            means.append(_mean(sums[chosen]))
        return np.asarray(means)

    def counts(self, group: str) -> dict[str, int]:
        """How many cases, sentences and tokens the group has."""
        masks = [self._mask(i, group) for i in range(len(self.tokens[OWN]))]
        found = {"cases": sum(bool(m.any()) for m in masks), "tokens": int(sum(map(np.sum, masks)))}
        if self.marks:
            owners = [m.sentence[mask] for m, mask in zip(self.marks, masks, strict=True)]
            found["sentences"] = sum(len(set(o[o >= 0].tolist())) for o in owners)
        return found

    def _mask(self, case: int, group: str) -> np.ndarray:
        if group == "all":
            return np.ones(len(self.tokens[OWN][case]), bool)
        return self.marks[case].group(group)

    @staticmethod
    def _sums(values: np.ndarray, mark: Marks) -> np.ndarray:
        inside = mark.sentence >= 0
        return np.bincount(
            mark.sentence[inside], weights=values[inside], minlength=len(mark.sentences)
        )


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else np.nan


def by_group(
    nll: ReferenceNLL, patients: Sequence[str], n: int = 2000, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Group -> its counts, and per image `nll` and `more` (than under the own image), each the
    mean over cases per token with its interval, and `per_sentence`, the mean per sentence."""
    told: dict[str, dict[str, Any]] = {}
    for group in nll.groups:
        own = nll.per_case(OWN, group)
        images = {}
        for condition in nll.tokens:
            values = nll.per_case(condition, group)
            shown: dict[str, Any] = {"nll": mean_interval(values, patients, n, seed)._asdict()}
            if condition != OWN:
                shown["more"] = mean_interval(values - own, patients, n, seed)._asdict()
            if nll.marks and group != "side-words":
                each = nll.per_sentence(condition, group)
                shown["per_sentence"] = float(np.nanmean(each)) if np.isfinite(each).any() else None
            images[condition] = shown
        told[group] = {"label": GROUPS[group], **nll.counts(group), "images": images}
    return told


def by_finding(nll: ReferenceNLL) -> list[dict[str, Any]]:
    """One row per label and polarity: sentences, and per image the NLL per token over them all."""
    sums: dict[tuple[str, bool], dict[str, float]] = {}
    for case, mark in enumerate(nll.marks):
        for index, sentence in enumerate(mark.sentences):
            inside = mark.sentence == index
            for finding in dict.fromkeys(sentence.findings):
                row = sums.setdefault(finding, {"sentences": 0, "tokens": 0})
                row["sentences"] += 1
                row["tokens"] += int(inside.sum())
                for condition, values in nll.tokens.items():
                    row[condition] = row.get(condition, 0.0) + float(values[case][inside].sum())
    return [
        {"label": label, "stated": stated, "sentences": int(row["sentences"])}
        | {c: row[c] / row["tokens"] if row["tokens"] else None for c in nll.tokens}
        for (label, stated), row in sorted(sums.items(), key=lambda item: (item[0][0], -item[0][1]))
    ]


def reliance(
    values: Mapping[str, np.ndarray], patients: Sequence[str], n: int = 2000, seed: int = 0
) -> dict[str, Estimate]:
    """Image -> mean over cases of (N,) NLL per token under it minus under the own image."""
    return {
        name: mean_interval(each - values[OWN], patients, n, seed)
        for name, each in values.items()
        if name != OWN
    }


def nll_columns(
    nll: Mapping[str, np.ndarray], tokens: ReferenceNLL | None = None
) -> dict[str, np.ndarray]:
    """Column -> (N,) means per token, nats: `nll-IMAGE` of the whole reference and, with `tokens`,
    `GROUP-nll-IMAGE` of the tokens of a group. An image that nothing is known of has none."""
    columns = {f"nll-{name}": values for name, values in nll.items()}
    if tokens is not None:
        columns |= {
            f"{group}-nll-{name}": tokens.per_case(name, group)
            for group in tokens.groups[1:]
            for name in tokens.tokens
        }
    known = {name for name, values in nll.items() if not np.isnan(values).all()}
    return {key: column for key, column in columns.items() if key.rpartition("nll-")[2] in known}
