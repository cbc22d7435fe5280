"""The report: grouped, aligned, short; and the same as data."""

from __future__ import annotations

import io
import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from ctfw.doctor.finding import Finding, by_split, count, evenly, percent
from ctfw.doctor.report import as_data, as_text, names, verdict
from ctfw.runs.files import clean

FINDINGS = [
    Finding("ok", "all there", subject="Files"),
    Finding("problem", "2 images are in two splits", ("a = b", "c = d"), "one", subject="Twice"),
    Finding("note", "cases", table=(("split", "n"), ("train", "1,204")), subject="Twice"),
    Finding("warning", "odd", tuple("abcdefg"), values={"odd": float("nan")}, subject="Reports"),
]  # fmt: skip


def printed(findings: list[Finding]) -> str:
    stream = io.StringIO()
    Console(file=stream, width=80).print(as_text(findings))
    return "\n".join(line.rstrip() for line in stream.getvalue().splitlines())


def test_report_groups_and_aligns() -> None:
    assert printed(FINDINGS) == (
        "Files\n"
        "  ok      all there\n"
        "\n"
        "Twice\n"
        "  problem 2 images are in two splits\n"
        "          a = b; c = d\n"
        "          -> one\n"
        "  note    cases\n"
        "          split      n\n"
        "          train  1,204\n"
        "\n"
        "Reports\n"
        "  warning odd\n"
        "          a; b; c; and 4 more\n"
    )


def test_square_brackets_of_a_name_are_no_markup() -> None:
    found = Finding("note", "size [3, 4] of [bold]", ("[red]a[/red]",), subject="Files")
    text = printed([found])
    assert "size [3, 4] of [bold]" in text
    assert "[red]a[/red]" in text


def test_verdict_says_where_to_look() -> None:
    assert verdict(FINDINGS) == "1 problem (Twice), 1 warning (Reports), 1 note"
    assert verdict([]) == "0 problems, 0 warnings, 0 notes"


def test_data_has_every_name_and_number(make_scene: Any) -> None:
    recipe = make_scene().recipe
    data = json.loads(json.dumps(clean(as_data(recipe, FINDINGS))))
    assert data["counts"] == {"problem": 1, "warning": 1, "note": 1, "ok": 1}
    assert data["hash"] == recipe.hash
    assert data["findings"][3]["names"] == list("abcdefg")
    assert data["findings"][3]["values"] == {"odd": None}
    assert data["findings"][1]["subject"] == "Twice"


@pytest.mark.parametrize(
    ("part", "whole", "text"),
    [(0, 5, "0 %"), (1, 3, "33 %"), (1, 4000, "under 0.1 %"), (5, 5, "100 %"), (1, 80, "1.2 %"),
     (999, 1000, "99 %"), (0, 0, "0 %")],
)  # fmt: skip
def test_percent_never_rounds_to_none_or_all(part: int, whole: int, text: str) -> None:
    assert percent(part, whole) == text


def test_counts_are_words() -> None:
    assert count(1, "case") == "1 case"
    assert count(24_128, "study", "studies") == "24,128 studies"
    assert by_split(["train", "test", "train"]) == "train 2, test 1"


def test_names_are_the_first_few_and_long_ones_have_lines_of_their_own() -> None:
    assert names(Finding("note", "", tuple("abc"))) == "a; b; c"
    assert names(Finding("note", "", tuple("abcde"))) == "a; b; c; and 2 more"
    long = ("x" * 50, "b", "c", "d")
    assert names(Finding("note", "", long)) == f"{long[0]}\nb\nc\nand 1 more"


@given(st.integers(0, 200), st.integers(0, 50))
def test_evenly_keeps_order_ends_and_number(total: int, number: int) -> None:
    items = list(range(total))
    chosen = evenly(items, number)
    assert chosen == sorted(set(chosen))
    assert len(chosen) == (total if number == 0 else min(total, number))
    if len(chosen) > 1:
        assert (chosen[0], chosen[-1]) == (0, total - 1)
        steps = [b - a for a, b in pairwise(chosen)]
        assert max(steps) - min(steps) <= 1
