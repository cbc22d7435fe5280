"""What is told beside the scores: how the texts were made, which cases they are, case by case."""

from __future__ import annotations

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ctfw.scoring.cells import guarded
from ctfw.scoring.columns import column_names
from ctfw.scoring.sentences import sentences
from ctfw.types import Prediction

if TYPE_CHECKING:
    from ctfw.scoring.assess import Assessment

_FINISHED = ("stop", "length", "missing")


def generation_facts(predictions: Sequence[Prediction]) -> dict[str, Any]:
    """How many reports were cut, empty, missing, failed or alike, and what is repeated most.

    `failed` counts those whose `finish` is none of stop, length and missing. A model that ignores
    its image repeats itself: compare `top_sentence_reports`, the share of reports that hold the
    most frequent sentence, with the same of the references.
    """
    texts = [prediction.generated for prediction in predictions]
    finishes = Counter(prediction.finish for prediction in predictions)
    own, theirs = most_frequent(texts), most_frequent(p.reference for p in predictions)
    return {
        "of": len(texts),
        "truncated": finishes["length"],
        "missing": finishes["missing"],
        "failed": sum(count for finish, count in finishes.items() if finish not in _FINISHED),
        "empty": sum(not text.strip() for text in texts),
        "distinct": len(set(texts)),
        "distinct_references": len({p.reference for p in predictions}),
        "empty_references": sum(not p.reference.strip() for p in predictions),
        "top_sentence": own[0],
        "top_sentence_share": own[1],
        "top_sentence_reports": own[2],
        "top_sentence_reports_references": theirs[2],
    }


def most_frequent(texts: Iterable[str]) -> tuple[str, float | None, float | None]:
    """(sentence, share of all sentences that it makes up, share of texts that hold it).

    Case and blanks do not count. Without a sentence: an empty text and None twice.
    """
    every: Counter[str] = Counter()
    holding: Counter[str] = Counter()
    number = 0
    for text in texts:
        number += 1
        said = [" ".join(text[s.start : s.end].lower().split()) for s in sentences(text)]
        said = [sentence for sentence in said if any(map(str.isalpha, sentence))]
        every.update(said)
        holding.update(set(said))
    if not every:
        return "", None, None
    sentence, count = max(every.items(), key=lambda item: (item[1], item[0]))
    return sentence, count / every.total(), holding[sentence] / number


def fingerprint(predictions: Sequence[Prediction]) -> str:
    """Hash of the ids, patients and references that were scored, in any order: two systems with
    the same one were scored on the same cases."""
    lines = sorted("\0".join((p.case, p.patient, p.reference)) for p in predictions)
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]


def per_case_csv(assessment: Assessment, *, synthetic: bool = False) -> str:
    """One row per case: what each metric says of it, and the likelihoods of its reference.

    The likelihoods are the columns of `ctfw.scoring.likelihood.nll_columns`. `synthetic` adds a
    column of that name which says so. Words are written as `ctfw.scoring.cells.guarded`.
    """
    columns: dict[str, Any] = {
        "case": [guarded(p.case) for p in assessment.predictions],
        "patient": [guarded(p.patient) for p in assessment.predictions],
        "finish": [guarded(p.finish) for p in assessment.predictions],
    }
    model = assessment.scores["model"]
    names = column_names({"model": model})
    for metric, scores in model.items():
        for name, values in scores.per_case.items():
            columns[names.get((metric, name), name)] = np.round(values, 6)
    columns |= {name: np.round(values, 6) for name, values in assessment.nll.items()}
    if synthetic:
        columns["synthetic"] = [1] * len(assessment.predictions)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()
