"""Tokens are counted to the sentences and findings that they belong to."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.scoring.evidence import Evidence
from ctfw.scoring.likelihood import GROUPS, ReferenceNLL, by_finding, by_group, marks, reliance

TEXT = "Heart normal. Effusion on the left. No nodule."


class Labeler:
    """Reads "Effusion" and "nodule", the second one denied after "No"."""

    def evidence(self, text: str) -> list[Evidence]:
        found = []
        for word, label in (("Effusion", "effusion"), ("nodule", "nodule")):
            at = text.find(word)
            if at >= 0:
                start = text.rfind(".", 0, at) + 2 if "." in text[:at] else 0
                end = text.find(".", at)
                positive = not text[start:end].startswith("No ")
                found.append(Evidence(text[start:end], start, end, label, positive))
        return found


def words_of(text: str) -> np.ndarray:
    """Tokens as a byte-pair tokenizer makes them: a word with the blank before it, then the end."""
    spans, at = [], 0
    for word in text.split(" "):
        end = at + len(word)
        spans.append((max(at - 1, 0), end))
        at = end + 1
    return np.array([*spans, (len(text), len(text))])


@pytest.fixture
def nll() -> ReferenceNLL:
    """Token i of the text has NLL i under the own image; another's adds 1 to the effusion."""
    spans = words_of(TEXT)
    own = np.arange(len(spans), dtype=float)
    found = marks(TEXT, spans, Labeler())
    other = own + found.group("positive")
    return ReferenceNLL(
        {"own": [own, own, np.zeros(0)], "another": [other, own, np.zeros(0)]},
        [found, found, marks("", np.zeros((0, 2)), Labeler())],
    )


def test_tokens_belong_to_the_sentence_of_their_first_letter() -> None:
    found = marks(TEXT, words_of(TEXT), Labeler())
    assert found.sentence.tolist() == [0, 0, 1, 1, 1, 1, 2, 2, -1]
    told = {name: found.group(name).nonzero()[0].tolist() for name in GROUPS}
    assert told == {
        "all": list(range(9)), "positive": [2, 3, 4, 5], "negative": [6, 7], "other": [0, 1],
        "sided": [2, 3, 4, 5], "side-words": [5],
    }  # fmt: skip


@given(st.lists(st.integers(1, 5), min_size=1, max_size=20), st.text("ab .\n", max_size=40))
def test_every_token_has_one_sentence_in_the_order_of_the_text(cuts: list[int], text: str) -> None:
    ends = np.minimum(np.cumsum(cuts), len(text))
    spans = np.array([*zip([0, *ends[:-1]], ends, strict=True)])
    owner = marks(text, spans).sentence
    inside = owner[spans[:, 1] > spans[:, 0]]
    assert (inside >= 0).all()
    assert (np.diff(inside) >= 0).all()
    assert (owner[spans[:, 1] == spans[:, 0]] == -1).all()


def test_means_are_taken_within_a_case_first(nll: ReferenceNLL) -> None:
    assert nll.per_case("own").tolist()[:2] == [4.0, 4.0]
    assert nll.per_case("own", "positive").tolist()[:2] == [3.5, 3.5]
    assert nll.per_case("own", "negative").tolist()[:2] == [6.5, 6.5]
    assert math.isnan(nll.per_case("own", "positive")[2])
    assert nll.per_sentence("own", "all").tolist()[:2] == [pytest.approx(28 / 3)] * 2
    assert nll.per_sentence("own", "positive").tolist()[:2] == [14.0, 14.0]


def test_groups_say_how_much_more_each_image_costs(nll: ReferenceNLL) -> None:
    told = by_group(nll, ["a", "b", "c"], n=200)
    assert told["positive"]["images"]["own"]["nll"]["value"] == 3.5
    assert told["positive"]["images"]["another"]["more"]["value"] == 0.5
    assert told["negative"]["images"]["another"]["more"]["value"] == 0
    assert told["side-words"]["images"]["another"]["more"]["value"] == 0.5
    assert told["positive"]["images"]["another"]["per_sentence"] == 16.0
    assert "more" not in told["all"]["images"]["own"]
    assert {k: told["positive"][k] for k in ("cases", "sentences", "tokens")} == {
        "cases": 2, "sentences": 2, "tokens": 8,
    }  # fmt: skip
    assert told["all"]["tokens"] == 18


def test_all_tokens_give_the_reliance_that_is_the_headline(nll: ReferenceNLL) -> None:
    patients = ["a", "b", "c"]
    values = {name: nll.per_case(name) for name in nll.tokens}
    headline = reliance(values, patients, n=200)
    assert set(headline) == {"another"}
    group = by_group(nll, patients, n=200)["all"]["images"]["another"]["more"]
    assert headline["another"]._asdict() == group


def test_findings_are_pooled_by_label_and_polarity(nll: ReferenceNLL) -> None:
    assert by_finding(nll) == [
        {"label": "effusion", "stated": True, "sentences": 2, "own": 3.5, "another": 4.0},
        {"label": "nodule", "stated": False, "sentences": 2, "own": 6.5, "another": 6.5},
    ]


def test_without_marks_only_all_tokens_are_told() -> None:
    plain = ReferenceNLL({"own": [np.ones(3)], "noise": [np.full(3, 2.0)]})
    told = by_group(plain, ["a"], n=200)
    assert list(told) == ["all"]
    assert told["all"]["tokens"] == 3
    assert "sentences" not in told["all"]
    assert by_finding(plain) == []


def test_labeler_without_evidence_leaves_sentences_and_sides() -> None:
    found = marks(TEXT, words_of(TEXT), object())
    assert found.group("other").sum() == 8
    assert not found.group("positive").any()
    assert found.group("sided").sum() == 4
