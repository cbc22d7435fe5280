"""GREEN's prompt and parser: what is published, at the edges too, and what strict mode doubts."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw_plugins.metrics.green_parse import (
    INSIGNIFICANT,
    MATCHED,
    SIGNIFICANT,
    clean,
    doubt,
    error_counts,
    green,
    matched_findings,
)
from ctfw_plugins.metrics.green_prompt import chat_text, make_prompt

LINES = """(a) False report of a finding in the candidate: 2. Nodule; Mass
(b) Missing a finding present in the reference: 1. Effusion
(c) Misidentification of a finding's anatomic location/position: 0.
(d) Misassessment of the severity of a finding: 0.
(e) Mentioning a comparison that isn't in the reference: 0.
(f) Omitting a comparison detailing a change from a prior study: 3. All
"""


def answer(errors: str = LINES, matched: str = "4. A; B; C; D", insignificant: str = LINES) -> str:
    return (
        f"[Explanation]:\nThe two differ.\n\n[{SIGNIFICANT}]:\n{errors}\n"
        f"[{INSIGNIFICANT}]:\n{insignificant}\n[{MATCHED}]:\n{matched}"
    )


def read(text: str) -> tuple[float, int, tuple[int, ...]]:
    cleaned = clean(text)
    matched, errors = matched_findings(cleaned), error_counts(cleaned, SIGNIFICANT)
    return green(matched, errors), matched, errors


def test_score_is_matched_over_matched_and_significant_errors() -> None:
    assert read(answer()) == (4 / (4 + 6), 4, (2, 1, 0, 0, 0, 3))
    assert doubt(clean(answer())) == ""


def test_insignificant_errors_are_counted_and_do_not_enter() -> None:
    assert error_counts(answer(), INSIGNIFICANT) == (2, 1, 0, 0, 0, 3)
    assert read(answer(insignificant="No errors.\n"))[0] == read(answer())[0]


@pytest.mark.parametrize(
    ("text", "matched", "reason"),
    [
        ("0.", 0, ""),
        ("No matched findings.", 0, ""),
        ("None", 0, ""),
        ("12. many", 12, ""),
        ("**2**. A; B", 0, "the number of matched findings cannot be read"),
        ("2 A; B", 0, "the number of matched findings cannot be read"),
        ("A; B", 0, "the number of matched findings cannot be read"),
        ("A\n2. B", 0, "the number of matched findings cannot be read"),
        ("-1. A", 0, "the number of matched findings cannot be read"),
        (f"{'9' * 5000}. A", 0, "the number of matched findings cannot be read"),
        ("Normal heart size", 0, "the matched findings begin with a word that is read as none"),
    ],
)
def test_matched_findings_are_the_number_at_the_start(text: str, matched: int, reason: str) -> None:
    assert matched_findings(answer(matched=text)) == matched
    assert doubt(answer(matched=text)) == reason
    if not matched:
        assert read(answer(matched=text))[0] == 0


@pytest.mark.parametrize(
    ("errors", "counts", "reason"),
    [
        ("No errors.\n", (0, 0, 0, 0, 0, 0), ""),
        ("(b) Missing: 3. A; B; C\n", (0, 3, 0, 0, 0, 0), ""),
        ("(a) X: effusion: 2. A\n", (2, 0, 0, 0, 0, 0), ""),
        ("(d) Size: 4.5 cm\n", (0, 0, 0, 4, 0, 0), ""),
        ("(1) X: 1. A\n(6) Y: 2. B\n", (1, 0, 0, 0, 0, 2), ""),
        ("(a) X: 1\n", (0,) * 6, "the number of significant errors (a) cannot be read"),
        ("(c) X: one.\n", (0,) * 6, "the number of significant errors (c) cannot be read"),
        ("(a) X: **1**. A\n", (0,) * 6, "the number of significant errors (a) cannot be read"),
        ("(a) X: 1. A\n(a) X: 5. B\n", (5, 0, 0, 0, 0, 0), "the significant errors (a) have two"),
        ("(a) X: 1. A\n(1) Y: 2. B\n", (1, 0, 0, 0, 0, 0), ""),
        ("a) X: 1. A\n", (0,) * 6, "the significant errors are not listed by type"),
        ("Nodules: 3. A\n", (0,) * 6, "the significant errors are not listed by type"),
    ],
)
def test_error_counts_are_read_as_published(
    errors: str, counts: tuple[int, ...], reason: str
) -> None:
    assert error_counts(answer(errors), SIGNIFICANT) == counts
    assert doubt(answer(errors)).startswith(reason)
    assert bool(doubt(answer(errors))) == bool(reason)


def test_a_count_without_its_full_stop_gives_a_silent_one() -> None:
    text = answer("(a) False report: 7\n", "1. A")
    assert read(text)[0] == 1.0
    assert doubt(text)


def test_an_empty_section_reads_on_into_the_next_as_published() -> None:
    text = answer("\n", insignificant="(a) X: 3. A\n")
    assert error_counts(text, SIGNIFICANT) == (3, 0, 0, 0, 0, 0)
    assert doubt(text) == "the section [Clinically Significant Errors] is empty"


@pytest.mark.parametrize("section", [SIGNIFICANT, MATCHED])
def test_a_missing_section_counts_as_zeros_and_is_doubted(section: str) -> None:
    text = answer().replace(f"[{section}]:", "and then")
    score, matched, errors = read(text)
    assert (matched if section == MATCHED else sum(errors)) == 0
    assert score == (0.0 if section == MATCHED else 1.0)
    assert doubt(text) == f"the answer has no section [{section}]"


def test_a_section_ends_at_a_blank_line() -> None:
    text = answer("(a) X: 1. A\n \t\n(b) Y: 9. B\n")
    assert error_counts(text, SIGNIFICANT) == (1, 0, 0, 0, 0, 0)


def test_the_last_of_several_explanations_counts() -> None:
    assert clean("[Explanation]: a [Explanation]: b") == " b"
    assert clean("x<|assistant|>[Explanation]: a<|assistant|>no more") == "no more"
    assert clean("before<|assistant|>after") == "after"


def test_an_echoed_template_is_cut_as_published() -> None:
    indented = "[Explanation]:\n    <Explanation>\n\n[Explanation]:\nReal."
    assert clean(indented) == "\n    <Explanation>\n\n"
    flush = "[Explanation]:\n<Explanation>\n\n[Explanation]:\nReal."
    assert clean(flush) == "\nReal."


def test_blanks_before_punctuation_and_end_tokens_are_removed() -> None:
    assert clean("[Explanation]: it 's 2 . A , B</s><unk>") == " it's 2. A, B"


@given(st.text(max_size=200))
def test_any_text_has_a_score_between_0_and_1(text: str) -> None:
    score, matched, errors = read(text)
    assert 0 <= score <= 1
    assert matched >= 0
    assert len(errors) == 6
    assert doubt(clean(text))  # no random text is a readable answer


@given(st.tuples(*[st.integers(0, 40)] * 6), st.integers(0, 60))
def test_counts_that_are_written_are_read(errors: tuple[int, ...], matched: int) -> None:
    lines = "".join(f"({k}) Type: {n}. x; y\n" for k, n in zip("abcdef", errors, strict=True))
    score, read_matched, read_errors = read(answer(lines, f"{matched}. m"))
    assert (read_matched, read_errors) == (matched, errors)
    assert score == pytest.approx(matched / (matched + sum(errors)) if matched else 0)


def test_the_prompt_holds_both_texts_where_they_belong() -> None:
    text = make_prompt("Effusion  {candidate}\non the left.", "No {reference} effusion.")
    before, found, after = text.partition("    2. Reference Report:\n")
    assert found
    assert before.startswith("Objective: Evaluate the accuracy of a candidate radiology report in")
    assert after.startswith(
        "    Effusion {candidate} on the left.\n\n    3. Candidate Report:\n"
        "    No {reference} effusion.\n\n    4. Reporting Your Assessment:\n\n"
    )
    assert text.endswith("...; <Finding n>\n    ```\n")


def test_the_prompt_is_the_published_one_to_the_letter() -> None:
    # SHA-256 of the authors' make_prompt("", ""), green_score/utils.py at commit d72c195
    digest = hashlib.sha256(make_prompt("", "").encode()).hexdigest()
    assert digest.startswith("f851bb093a7af2a5")


def test_each_text_is_cut_after_300_words() -> None:
    long = " ".join(f"w{i}" for i in range(301))
    text = make_prompt(long, long)
    assert text.count(" w299\n") == 2
    assert "w300" not in text
    assert make_prompt(long, long, None).count(" w300\n") == 2


def test_the_chat_template_opens_the_answer_twice_as_published() -> None:
    # rendered from the authors' template with jinja2 (trim_blocks, lstrip_blocks)
    assert chat_text("PROMPT", "</s>") == (
        "<|user|>\nPROMPT</s>\n<|assistant|>\n</s>\n<|assistant|>\n"
    )
