"""Splits: their sizes, and who is in two of them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.doctor.splits import check, in_two_splits

NAMES = st.lists(st.sampled_from("abcdef"), max_size=8)


def test_a_patient_in_two_splits_is_a_problem(look: Any, make_scene: Any, make_case: Any) -> None:
    cases = [make_case("a", patient="P1"), make_case("b", "test", patient="P1"), make_case("c")]
    found = look(check, make_scene(cases)).the("two splits")
    assert found.level == "problem"
    assert found.names == ("P1 (train and test)",)
    assert "1 patient is" in found.text


def test_table_counts_cases_studies_and_patients(
    look: Any, make_scene: Any, make_case: Any
) -> None:
    cases = [
        make_case("a1", patient="P1", study="s1"),
        make_case("a2", patient="P1", study="s1"),
        make_case("a3", patient="P1", study="s2"),
        make_case("b", "test", patient="P2"),
        make_case("c", "test", patient="P3"),
    ]
    findings = look(check, make_scene(cases))
    assert findings.the("cases per split").table[1:] == (
        ("train", "3", "2", "1"),
        ("test", "2", "2", "2"),
    )
    assert findings.bad == []
    assert findings.the("no patient is in two splits").level == "ok"


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_of_one_patient_is_a_problem(
    split: str, look: Any, make_scene: Any, make_case: Any
) -> None:
    cases = [make_case("a"), make_case("b", split, patient="P"), make_case("c", split, patient="P")]
    found = look(check, make_scene(cases)).the("of one patient")
    assert found.level == "problem"
    assert split in found.text


def test_a_data_set_that_names_no_patient_is_pointed_at(
    look: Any, make_scene: Any, make_case: Any
) -> None:
    findings = look(check, make_scene([make_case("a"), make_case("b", "test")]))
    assert "cannot be seen" in findings.the("patient of its own").advice


@given(st.dictionaries(st.sampled_from(("train", "validation", "test")), NAMES))
def test_in_two_splits_is_what_two_sets_share(members: dict[str, list[str]]) -> None:
    sets = [set(names) for names in members.values()]
    shared = {n for i, one in enumerate(sets) for other in sets[i + 1 :] for n in one & other}
    found = in_two_splits(members)
    assert set(found) == shared
    for name, where in found.items():
        assert where == [split for split, names in members.items() if name in names]
