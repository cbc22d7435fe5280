"""PTB tokens of the phrases of CT reports are what Stanford's program makes of them."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.errors import MissingPackage, UserError
from ctfw.scoring import ptb_java
from ctfw.scoring.ptb import LONGEST, PUNCTUATION, ptb


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Heart contour, size are normal.", "heart contour size are normal"),
        ("Nodule (4 mm).", "nodule -lrb- 4 mm -rrb-"),
        ("the patient's wall wasn't seen", "the patient 's wall was n't seen"),
        ("4.5mm, 36mm, 3.5x4 mm", "4.5 mm 36mm 3.5 x4 mm"),
        ("effusion-thickening and/or T12-L1", "effusion-thickening and/or t12-l1"),
        ("Lungs clear.Heart normal", "lungs clear.heart normal"),
        ("segment IV B. The heart", "segment iv b the heart"),
        ("segment IV B. Heart", "segment iv b. heart"),
        ("fig. 3 and fig. three", "fig. 3 and fig three"),
        ("etc. vs. Dr. approx.", "etc. vs. dr. approx"),
        ("seen in lungs., and", "seen in lungs. and"),
        ("cannot and can't", "can not and ca n't"),
        ("2 1/2 cm and 1/2/2020", "2 1/2 cm and 1/2/2020"),
        ("37°C ±5 <3 mm 5%", "37 ° c ± 5 < 3 mm 5 %"),
        ("“quoted” ‘text’ … –", "quoted text"),
    ],
)
def test_ptb_tokens_of_report_phrases(text: str, tokens: str) -> None:
    assert ptb(text) == tokens.split()


@given(st.text(max_size=80))
def test_tokens_have_no_blank_and_no_dropped_punctuation(text: str) -> None:
    for token in ptb(text):
        assert token
        assert token.split() == [token]
        assert token not in PUNCTUATION


@given(st.text(alphabet="abc AB.,-'1", max_size=40), st.text(alphabet="xyz", min_size=1))
def test_what_follows_changes_no_token_but_the_full_stop(text: str, after: str) -> None:
    alone, before = ptb(text), ptb(f"{text} {after}")
    assert before[: len(alone)] == alone or before[-1] == after


@pytest.mark.parametrize("piece", ["a,", "a.", "(", "a-", "1.", "<a ", "n't", "www.", "a@", "&amp"])
def test_long_runs_take_linear_time(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    assert len(ptb(text)) <= len(text)
    assert max(map(len, ptb(text)), default=0) <= LONGEST


def test_java_that_fails_is_an_error_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(command: list[str], **_: Any) -> Any:
        return subprocess.CompletedProcess(command, 1, b"", b"no such class")

    monkeypatch.setattr(ptb_java, "find_java", lambda: ("java", Path("a.jar")))
    monkeypatch.setattr(ptb_java.subprocess, "run", fails)
    with pytest.raises(UserError, match="no such class"):
        ptb_java.ptb_java(["a text"])


def test_missing_java_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ptb_java.shutil, "which", lambda name: None)
    with pytest.raises(MissingPackage, match="Java runtime"):
        ptb_java.find_java()
    monkeypatch.setattr(ptb_java.shutil, "which", lambda name: "/usr/bin/java")
    monkeypatch.setattr(ptb_java, "find_spec", lambda name: None)
    with pytest.raises(MissingPackage, match="pip install pycocoevalcap"):
        ptb_java.find_java()
