"""The case browser's sentences, verdicts and choice of cases."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from ctfw.scoring.evidence import Evidence
from ctfw.testing import tiny_cases
from ctfw_plugins.stages.browse import TYPICAL, Browser, safe_name, spread, verdict


def said(label: str, positive: bool, start: int = 0, end: int = 5) -> Evidence:
    return Evidence("", start, end, label, positive)


@pytest.mark.parametrize(
    ("found", "other", "role", "expected"),
    [
        ([said("x", True)], {"x"}, "reference", "agree"),
        ([said("x", True)], set(), "reference", "missed"),
        ([said("x", True)], set(), "generated", "hallucinated"),
        ([said("x", False)], {"x"}, "reference", "conflict"),
        ([said("x", False)], {"x"}, "generated", "conflict"),
        ([said("x", False)], set(), "generated", ""),
        ([], {"x"}, "generated", ""),
        ([said("x", True), said("y", True)], {"x"}, "generated", "hallucinated"),
        ([said("x", True), said("y", False)], {"y"}, "reference", "conflict"),
        ([said("x", True), said("y", False)], {"x"}, "reference", "agree"),
    ],
)
def test_worst_finding_of_a_sentence_counts(
    found: list[Evidence], other: set[str], role: str, expected: str
) -> None:
    assert verdict(found, other, role) == expected


def test_labeler_without_evidence_gives_one_sentence() -> None:
    class Plain:
        names = ("x",)

        def label(self, texts: list[str]) -> np.ndarray:
            return np.array([[1 if "x" in text else 0] for text in texts], np.int8)

    bank: Any = None
    browser = Browser(None, bank, Plain(), ("x",))  # type: ignore[arg-type]
    assert browser.labels_of("x here") == {"x"}
    assert browser.sentences("x here. no.", set(), "reference") == [
        {"text": "x here. no.", "findings": [], "verdict": ""}
    ]


def test_spread_shows_one_case_per_patient_with_few_and_many_findings_a_typical_one_first() -> None:
    cases = tiny_cases(20)
    shown = spread(cases.cases, 4)
    counts = [int(np.sum(case.labels)) for case in shown]  # type: ignore[arg-type]
    assert len(shown) == 4
    assert len({case.patient for case in shown}) == 4
    assert counts[0] == min(counts, key=lambda count: abs(count - TYPICAL))
    firsts = {case.patient: case for case in reversed(cases.cases)}.values()
    every = [int(np.sum(case.labels)) for case in firsts]  # type: ignore[arg-type]
    assert (min(counts), max(counts)) == (min(every), max(every))
    assert len(spread(cases.cases, 99)) == 10
    assert spread([replace(case, labels=None) for case in cases], 2)
    assert spread(cases.cases, 0) == []


def test_names_of_pictures_stay_in_their_folder() -> None:
    assert safe_name("../a/b c.nii") == ".._a_b_c.nii"
