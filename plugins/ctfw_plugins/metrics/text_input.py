"""What the text metrics share: encoded predictions, and what is said of empty texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ctfw.scoring.corpus import EncodedPairs, encode_predictions
from ctfw.scoring.protocols import PROTOCOLS
from ctfw.scoring.ptb_java import find_java
from ctfw.types import Prediction, Scores

NOTHING = "no predictions to score"


class NamedProtocol:
    """A protocol with the choices that a recipe makes inside it."""

    def __init__(self, name: str, ptb: str = "python", stem: bool = False) -> None:
        """Raises MissingPackage where Stanford's tokeniser is asked for and cannot be had."""
        self.frozen = PROTOCOLS[name]
        self.name, self.smoothing = name, self.frozen.smoothing
        self.beta, self.best_of = self.frozen.beta, self.frozen.best_of
        self.tokeniser = self.frozen.stemmed if stem else self.frozen.tokeniser
        self.variant: tuple[str, ...] = ()
        self.stemming = (f"stem:{'yes' if stem else 'no'}",) if self.frozen.stemmed else ()
        if self.tokeniser == "ptb":
            self.variant = (f"ptb:{ptb}",)
            if ptb == "java":
                find_java()
                self.tokeniser = "ptb-java"

    def encode(self, predictions: Sequence[Prediction], for_rouge_l: bool = False) -> EncodedPairs:
        """The predictions as token ids, shared with the other metrics of the protocol."""
        other = self.frozen.for_rouge_l if for_rouge_l else ""
        return encode_predictions(predictions, other or self.tokeniser)

    def signature(self, level: str, *details: str) -> str:
        """The signature of a number, e.g. `r2gen|corpus|smooth:none|refs:1|v1`."""
        return self.frozen.signature(level, *details, *self.variant)


def is_defined(pairs: EncodedPairs) -> bool:
    """Whether there is a reference with a token, without which no text metric means anything."""
    return bool(pairs.lengths[pairs.references].any())


def notes_on_empty(predictions: Sequence[Prediction], pairs: EncodedPairs) -> tuple[str, ...]:
    """How many texts have no token; why a score is undefined."""
    number = len(predictions)
    if not number:
        return (NOTHING,)
    if not is_defined(pairs):
        return (f"text metrics are undefined: all {number} references are empty",)
    notes = []
    missing = sum(prediction.finish == "missing" for prediction in predictions)
    empty = int((pairs.lengths[pairs.hypotheses] == 0).sum())
    if empty:
        notes.append(
            f"{empty} of {number} generated texts are empty ({missing} of them missing): each is "
            "scored as an empty text"
        )
    if without := int((pairs.lengths[pairs.references] == 0).sum()):
        notes.append(f"{without} of {number} references are empty: no text scores against them")
    return tuple(notes)


def mean_of_cases(
    predictions: Sequence[Prediction],
    pairs: EncodedPairs,
    per_case: Mapping[str, np.ndarray],
    protocol: str,
    notes: Sequence[str] = (),
) -> Scores:
    """Scores whose values are means over cases; NaN where undefined, with the reason."""
    if not is_defined(pairs):
        per_case = {name: np.full(len(values), np.nan) for name, values in per_case.items()}
    return Scores(
        values={
            name: float(values.mean()) if len(values) else np.nan
            for name, values in per_case.items()
        },
        protocol=protocol,
        per_case=per_case,
        notes=(*notes_on_empty(predictions, pairs), *notes),
    )
