"""GREEN: a language model reads both reports and counts errors and matched findings.

Ostmeier et al., "GREEN: Generative Radiology Report Evaluation and Error Notation", Findings of
EMNLP 2024, 374-390. Made for and checked on chest X-ray; docs/explanation/model_metrics.md says
what it cannot tell on CT.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ctfw.answers import AnswerCache
from ctfw.scoring.labels import mean_defined
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics import green_parse as parse
from ctfw_plugins.metrics.configs import GreenConfig
from ctfw_plugins.metrics.green_judges import Judge, make_judge
from ctfw_plugins.metrics.green_prompt import CUT, make_prompt

ERRORS = {
    "a": "green-false-finding",
    "b": "green-missed-finding",
    "c": "green-wrong-location",
    "d": "green-wrong-severity",
    "e": "green-false-comparison",
    "f": "green-missed-comparison",
}
EMPTY_CANDIDATE = "the candidate is empty: 0, not judged"
EMPTY_REFERENCE = "the reference is empty: NaN, not judged"
CUT_ANSWER = "the answer was cut at the limit of tokens"
_NONE = (float("nan"),) * len(ERRORS)


@dataclass(frozen=True)
class GreenResult:
    """What the judge found in one pair of reports.

    score          matched / (matched + significant errors), 0 to 1; NaN where there is none
    significant    counts of the error types (a) to (f); `insignificant` likewise
    reason         why the numbers cannot be relied on, or why the pair was not judged; else empty
    answer         the judge's own words, without the parts of the prompt that it repeats
    """

    score: float
    matched: float
    significant: tuple[float, ...]
    insignificant: tuple[float, ...]
    reason: str = ""
    answer: str = ""


class Green:
    """Value `green`, the mean over cases; `green-matched` and the error counts, per report.

    Deterministic: greedy answers, kept on disk by the question's hash, so that a run that was
    killed goes on and scoring again asks nothing.
    """

    needs_labels = False
    needs_model = True

    def __init__(
        self, config: GreenConfig, context: Any = None, judge: Judge | None = None
    ) -> None:
        self.config = config
        self._judge = judge or make_judge(config.generator)
        self._cache = AnswerCache(config.cache)
        self._cut = CUT if config.cut == "300-words" else None

    def judge(self, references: Sequence[str], candidates: Sequence[str]) -> list[GreenResult]:
        """What is found in each pair, in order; to rank samples of one reference as well.

        Identical pairs are judged once. A pair with an empty text is not judged: an empty
        candidate has score 0 and an empty reference NaN. Raises ValueError when the lengths
        differ, UserError when the judge cannot be used.
        """
        pairs = list(zip(references, candidates, strict=True))
        asked = {i: make_prompt(*p, self._cut) for i, p in enumerate(pairs) if all(map(_full, p))}
        replies = self._judge.answers(list(asked.values()), self._cache) if asked else []
        found = {
            i: self._read(reply.text, reply.finish) for i, reply in zip(asked, replies, strict=True)
        }
        return [found[i] if i in found else _unasked(*pair) for i, pair in enumerate(pairs)]

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """Means of the cases that have a number; what was cut or not readable is in the notes."""
        references = [p.reference for p in predictions]
        candidates = [p.generated for p in predictions]
        results = self.judge(references, candidates)
        per_case = {
            "green": np.array([r.score for r in results], float),
            "green-matched": np.array([r.matched for r in results], float),
            "green-errors": np.array([sum(r.significant) for r in results], float),
            **{
                name: np.array([r.significant[i] for r in results], float)
                for i, name in enumerate(ERRORS.values())
            },
            "green-insignificant": np.array([sum(r.insignificant) for r in results], float),
        }
        mode = "strict" if self.config.strict else "as published"
        notes = [*self._notes(results), *self._cuts(references, candidates)]
        return Scores(
            values={name: float(mean_defined(values)) for name, values in per_case.items()},
            protocol=f"mean of cases|cut:{self.config.cut}|{mode}|{self._judge.signature}",
            per_case=per_case,
            notes=tuple(notes) if results else ("no predictions to score",),
            lower_is_better=frozenset({*ERRORS.values(), "green-errors", "green-insignificant"}),
        )

    def _read(self, text: str, finish: str) -> GreenResult:
        """Counts and score of one answer."""
        answer = parse.clean(text)
        reason = CUT_ANSWER if finish == "length" else parse.doubt(answer)
        if reason and self.config.strict:
            return GreenResult(np.nan, np.nan, _NONE, _NONE, reason, answer)
        matched = parse.matched_findings(answer)
        significant = parse.error_counts(answer, parse.SIGNIFICANT)
        insignificant = parse.error_counts(answer, parse.INSIGNIFICANT)
        score = parse.green(matched, significant)
        return GreenResult(score, matched, significant, insignificant, reason, answer)

    def _notes(self, results: Sequence[GreenResult]) -> list[str]:
        """How many pairs have no number that can be relied on, by reason."""
        notes = []
        unasked = (EMPTY_CANDIDATE, EMPTY_REFERENCE)
        reading = "NaN" if self.config.strict else "read as published; strict: true gives NaN"
        for reason, count in Counter(r.reason for r in results if r.reason).most_common():
            how = "" if reason in unasked else f" ({reading})"
            notes.append(f"green: {count} of {len(results)} pairs: {reason}{how}")
        return notes

    def _cuts(self, references: Sequence[str], candidates: Sequence[str]) -> list[str]:
        """How many texts are longer than what the judge is shown."""
        if self._cut is None:
            return []
        long = [sum(len(t.split()) > CUT for t in texts) for texts in (references, candidates)]
        if not any(long):
            return []
        return [
            f"green: {long[0]} references and {long[1]} candidates of {len(references)} exceed "
            f"{CUT} words and were cut there: what they say later, often the impression, is not "
            "judged"
        ]


def _full(text: str) -> bool:
    return bool(text.strip())


def _unasked(reference: str, candidate: str) -> GreenResult:
    if not _full(reference):
        return GreenResult(np.nan, np.nan, _NONE, _NONE, EMPTY_REFERENCE)
    return GreenResult(0.0, 0, _NONE, _NONE, EMPTY_CANDIDATE)
