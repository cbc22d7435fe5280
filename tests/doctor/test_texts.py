"""Reports: empty, repeated, cut and damaged ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.doctor.texts import check, mis_decoded

LONG = "The lungs are clear and the heart is not enlarged in this study. "


def test_sound_reports_have_no_finding_to_act_on(
    look: Any, make_scene: Any, make_case: Any
) -> None:
    cases = [make_case(name, split) for name, split in zip("abcd", ("train",) * 3 + ("test",))]
    findings = look(check, make_scene(cases))
    assert findings.bad == []
    assert findings.the("none empty, damaged").level == "ok"
    assert findings.the("words per report").values["median"] == 13


@pytest.mark.parametrize("text", ["", "   ", "\n\t"])
def test_an_empty_report_is_a_problem(
    text: str, look: Any, make_scene: Any, make_case: Any
) -> None:
    findings = look(check, make_scene([make_case("a"), make_case("b", "test", report=text)]))
    found = findings.the("is empty")
    assert (found.level, found.names) == ("problem", ("b",))
    assert "(test 1)" in found.text


@pytest.mark.parametrize("text", ["Not given.", "nan", " none ", "N/A"])
def test_a_report_that_only_says_that_there_is_none_is_a_problem(
    text: str, look: Any, make_scene: Any, make_case: Any
) -> None:
    findings = look(check, make_scene([make_case("a"), make_case("b", report=text)]))
    assert findings.the("nothing but").level == "problem"
    assert [found.names for found in findings.bad] == [("b",)]


@pytest.mark.parametrize(
    "more",
    [
        {"report": LONG + "Impression: Not given."},
        {"report": LONG + "Impression: nan"},
        {"report": "Findings: nan Impression: " + LONG},
        {"impression": "Not given."},
        {"findings": "nan"},
    ],
)
def test_a_section_that_says_that_there_is_none_is_a_warning(
    more: dict[str, str], look: Any, make_scene: Any, make_case: Any
) -> None:
    findings = look(check, make_scene([make_case("a"), make_case("b", **more)]))
    assert findings.the("a section that says").names == ("b",)


@pytest.mark.parametrize(
    "text", ["Financial advice: none of it.", "Impression: None of the nodules has grown."]
)
def test_such_words_in_a_sentence_are_no_gap(
    text: str, look: Any, make_scene: Any, make_case: Any
) -> None:
    assert look(check, make_scene([make_case("a"), make_case("b", report=text)])).bad == []


def test_reports_of_odd_length_are_named(look: Any, make_scene: Any, make_case: Any) -> None:
    cases = [make_case(str(i)) for i in range(20)]
    cases += [make_case("cut", report="No finding."), make_case("book", report=LONG * 200)]
    findings = look(check, make_scene(cases))
    assert findings.the("fewer than 5 words").names == ("cut",)
    assert findings.the("more than 1,000 words").names == ("book",)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("L\u00c3\u00a9sion nodulaire du lobe sup\u00c3\u00a9rieur droit.", "wrong encoding"),
        ("The patient\u00e2\u20ac\u2122s lungs are clear today.", "wrong encoding"),
        ("A 5 mm nodule \ufffd in the right upper lobe.", "lost ones"),
        ("A 5 mm nodule \x00 in the right upper lobe.", "lost ones"),
        ("<think>Let me see.</think> The lungs are clear.", "<think>"),
        ("The lungs are clear.<br>No effusion is seen today.", "HTML"),
        ("Heart &amp; great vessels are of normal size.", "HTML"),
    ],
)
def test_damaged_text_is_a_warning(
    text: str, words: str, look: Any, make_scene: Any, make_case: Any
) -> None:
    findings = look(check, make_scene([make_case("a"), make_case("b", report=text)]))
    assert findings.the(words).names == ("b",)
    assert findings.the(words).level == "warning"


@pytest.mark.parametrize(
    "text",
    ["Nodules <5 mm and >3 mm are seen in p<0.05 of both lungs.", "Größe 5 µm, T2–T3 “clear”"],
)
def test_sound_text_with_signs_and_accents_is_left_alone(
    text: str, look: Any, make_scene: Any, make_case: Any
) -> None:
    findings = look(check, make_scene([make_case("a"), make_case("b", report=text)]))
    assert findings.bad == []


@given(st.text(st.sampled_from("àâäçéèêëîïôöùûüßñáíóúÀÉÖÜİığşŞ"), min_size=1, max_size=4))
def test_mis_decoded_sees_every_accent_that_was_read_wrongly(word: str) -> None:
    wrong = word.encode("utf-8").decode("latin-1")
    assert mis_decoded(f"some {wrong} text")


@given(st.text(st.characters(codec="ascii")))
def test_mis_decoded_leaves_plain_text_alone(text: str) -> None:
    assert not mis_decoded(text)


def test_repeated_reports_are_counted_without_regard_to_case_and_spaces(
    look: Any, make_scene: Any, make_case: Any
) -> None:
    cases = [make_case(str(i)) for i in range(30)]
    cases += [make_case("x", report="The chest is normal today."),
              make_case("y", report="the chest  is NORMAL today.")]  # fmt: skip
    found = look(check, make_scene(cases)).the("are different")
    assert found.level == "note"
    assert found.values["distinct"] == 31
    assert found.values["most_frequent"] == 2


def test_one_report_for_many_is_a_warning(look: Any, make_scene: Any, make_case: Any) -> None:
    cases = [make_case(str(i)) for i in range(10)]
    cases += [make_case(f"n{i}", report="The chest is normal today.") for i in range(5)]
    found = look(check, make_scene(cases)).the("are different")
    assert found.level == "warning"
    assert "stands 5 times (33 %)" in found.text


def test_test_reports_that_stand_in_training_are_a_warning(
    look: Any, make_scene: Any, make_case: Any
) -> None:
    normal = "The chest is normal today."
    cases = [make_case("a"), make_case("b", report=normal), make_case("v", "validation"),
             make_case("t", "test", report=normal), make_case("u", "test")]  # fmt: skip
    found = look(check, make_scene(cases)).the("word for word")
    assert (found.level, found.names) == ("warning", ("t",))
    assert "1 of 2 test reports (50 %)" in found.text
