"""A report is cut into sentences that cover it, each with its findings and its side."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.scoring.evidence import Evidence
from ctfw.scoring.sentences import Sentence, cut, sentences


def said(label: str, positive: bool, start: int, end: int) -> Evidence:
    return Evidence("", start, end, label, positive)


def texts_of(text: str, found: tuple[Sentence, ...]) -> list[str]:
    return [text[sentence.start : sentence.end] for sentence in found]


def test_pieces_cover_the_whole_text_in_order() -> None:
    text = "Preface. Effusion. No nodule. End."
    evidence = [
        said("n", False, 19, 29),
        said("e", True, 9, 18),
        said("f", False, 9, 18),
    ]
    pieces = cut(text, evidence)
    assert [text[a:b] for a, b, _ in pieces] == [
        "Preface. ", "Effusion.", " ", "No nodule.", " End.",
    ]  # fmt: skip
    assert [[e.label for e in found] for *_, found in pieces] == [[], ["e", "f"], [], ["n"], []]


def test_overlapping_pieces_repeat_no_letter() -> None:
    pieces = cut("abcdefghij", [said("x", True, 0, 6), said("y", True, 4, 8)])
    assert [(a, b) for a, b, _ in pieces] == [(0, 6), (6, 8), (8, 10)]


@given(
    st.text(st.sampled_from("ab1 .!?;\n"), max_size=60),
    st.lists(st.tuples(st.integers(0, 59), st.integers(1, 20), st.booleans()), max_size=4),
)
def test_sentences_cover_any_text_once(text: str, spans: list[tuple[int, int, bool]]) -> None:
    evidence = [
        said("x", positive, start, min(start + length, len(text)))
        for start, length, positive in spans
        if start < len(text)
    ]
    found = sentences(text, evidence)
    assert "".join(texts_of(text, found)) == text
    assert all(sentence.end > sentence.start for sentence in found)


def test_text_without_findings_is_cut_at_full_stops_and_line_breaks() -> None:
    text = "Heart normal. A cyst of 4.6 mm, see image 3.\nNo change!"
    assert texts_of(text, sentences(text)) == [
        "Heart normal.", " A cyst of 4.6 mm, see image 3.\n", "No change!",
    ]  # fmt: skip
    assert sentences("") == ()


def test_what_has_no_letter_joins_the_sentence_before() -> None:
    text = "Effusion . . Nodule."
    evidence = [said("e", True, 0, 8), said("n", True, 13, 19)]
    assert texts_of(text, sentences(text, evidence)) == ["Effusion . . ", "Nodule."]


@pytest.mark.parametrize(
    ("findings", "kind"),
    [
        ((), "other"),
        ((("a", True),), "positive"),
        ((("a", False),), "negative"),
        ((("a", False), ("b", True)), "positive"),
    ],
)
def test_sentence_that_states_anything_is_positive(
    findings: tuple[tuple[str, bool], ...], kind: str
) -> None:
    assert Sentence(0, 1, findings).kind == kind


@pytest.mark.parametrize(
    ("text", "side"),
    [
        ("A nodule in the LEFT lung.", "left"),
        ("Right pleural effusion, right atelectasis.", "right"),
        ("Effusion on the right and on the left.", ""),
        ("Bilateral effusion.", ""),
        ("The copyright is leftover.", ""),
    ],
)
def test_side_is_the_only_one_that_is_named(text: str, side: str) -> None:
    (sentence,) = sentences(text)
    assert sentence.side == side
