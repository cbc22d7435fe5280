"""A table opened in a spreadsheet runs nothing that a case id or a report holds."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.runs.systems import read_per_case
from ctfw.scoring.cells import guarded, unguarded


@given(st.one_of(st.text(), st.text(alphabet="'=+-@\t\ra1", max_size=6)))
def test_every_text_is_read_back_and_none_begins_a_formula(text: str) -> None:
    assert unguarded(guarded(text)) == text
    assert not guarded(text).startswith(("=", "+", "-", "@", "\t", "\r"))


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", "=cmd|' /C calc'!A0", "-2", "+1", "'=1"])
def test_formula_gets_an_apostrophe(text: str) -> None:
    assert guarded(text) == f"'{text}"


@pytest.mark.parametrize("text", ["test_1_a", "", "valid_2_b_1.nii.gz", "O'Neill", "'quoted'"])
def test_other_words_stay_what_they_are(text: str) -> None:
    assert guarded(text) == unguarded(text) == text


def test_comparison_reads_back_the_ids_that_a_table_was_given(tmp_path: Path) -> None:
    file = tmp_path / "per_case.csv"
    ids = ["=1+1", "@SUM(A1)", "test_1_a", "'=1"]
    file.write_text("case,bleu-4\n" + "".join(f"{guarded(case)},0.5\n" for case in ids))
    assert list(read_per_case(file)["bleu-4"]) == ids
