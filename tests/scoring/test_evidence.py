"""Evidence goes with the text that it was read from, through predictions and floors."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ctfw.scoring.assess import with_labels
from ctfw.scoring.evidence import Evidence, evidence_of
from ctfw.scoring.floors import label_floors, text_floors
from ctfw.types import Case, Prediction


class OneWord:
    """Label "cat", set by the word; counts how often evidence is asked for."""

    names: tuple[str, ...] = ("cat",)
    signature = "one-word"

    def __init__(self) -> None:
        self.asked = 0

    def label(self, texts: Sequence[str]) -> np.ndarray:
        return np.array([["cat" in text] for text in texts], np.int8).reshape(len(texts), 1)

    def evidence(self, text: str) -> list[Evidence]:
        self.asked += 1
        return [Evidence(text, 0, len(text), "cat", True)] if "cat" in text else []


class Silent:
    """A labeler without evidence."""

    names: tuple[str, ...] = ("cat",)
    signature = "silent"

    def label(self, texts: Sequence[str]) -> np.ndarray:
        return np.zeros((len(texts), 1), np.int8)


ROWS = [Prediction("a", "p", "a cat", "a dog"), Prediction("b", "q", "a dog", "a cat")]


def said(found: Sequence[Evidence] | None) -> list[str] | None:
    return None if found is None else [item.sentence for item in found]


def test_each_text_is_asked_about_once() -> None:
    labeler = OneWord()
    found = evidence_of(labeler, ["a cat", "a dog", "a cat"])
    assert [said(item) for item in found] == [["a cat"], [], ["a cat"]]
    assert labeler.asked == 2
    assert evidence_of(Silent(), ["a cat"]) == [None]
    assert evidence_of(None, ["a cat"]) == [None]


def test_both_texts_of_a_prediction_have_their_own_evidence() -> None:
    made = with_labels(ROWS, OneWord())
    assert [said(p.evidence) for p in made] == [["a cat"], []]
    assert [said(p.reference_evidence) for p in made] == [[], ["a cat"]]
    assert [p.evidence for p in with_labels(ROWS, Silent())] == [None, None]


def test_floors_have_the_evidence_of_their_text_and_none_without_a_text() -> None:
    labeler = OneWord()
    made = with_labels(ROWS, labeler)
    train = [Case("t", "t", Path("t"), "the cat of training")]
    constant = text_floors(train, made, labeler).rows["constant"]
    assert [said(p.evidence) for p in constant] == [["the cat of training"]] * 2
    assert [said(p.reference_evidence) for p in constant] == [[], ["a cat"]]
    for rows in label_floors(made).values():
        assert [p.evidence for p in rows] == [None, None]
