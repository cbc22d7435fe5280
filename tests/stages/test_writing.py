"""Generation of many cases goes on after a kill with the same batches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ctfw.engine.generation import FromWeights
from ctfw.engine.images import TokenBank
from ctfw.engine.reliance import Swaps, write_all
from ctfw.runs.files import read_lines
from ctfw.settings import Generation
from ctfw.types import CaseTable

SETTINGS = Generation(batch_size=5)


def write(
    echo: Any, bank: TokenBank, cases: CaseTable, file: Path, settings: Generation = SETTINGS
) -> list[tuple[str, str]]:
    swaps = Swaps.of(bank, list(cases), 100)
    return write_all(FromWeights(echo), swaps, "own", settings, file, "write")


def test_lines_are_in_the_order_of_the_cases(
    echo: Any, bank: TokenBank, cases: CaseTable, tmp_path: Path
) -> None:
    texts = write(echo, bank, cases, tmp_path / "g.jsonl")
    lines = read_lines(tmp_path / "g.jsonl")
    assert [line["image"] for line in lines] == [case.id for case in cases]
    assert [(line["text"], line["finish"]) for line in lines] == texts
    assert texts[7] == ("0.070 of 5 seed 105", "stop")
    assert echo.batches == [5, 5, 2]


@pytest.mark.parametrize("kept", range(13))
@pytest.mark.parametrize("torn", [False, True])
def test_killed_job_writes_the_same_file(
    kept: int, torn: bool, echo: Any, bank: TokenBank, cases: CaseTable, tmp_path: Path
) -> None:
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    expected = write(echo, bank, cases, whole)
    lines = whole.read_text().splitlines(keepends=True)
    broken.write_text("".join(lines[:kept]) + (lines[min(kept, 11)][:9] if torn else ""))
    echo.batches.clear()
    assert write(echo, bank, cases, broken) == expected
    assert broken.read_text() == whole.read_text()
    finished = 12 if kept == 12 else kept // 5 * 5
    assert sum(echo.batches) == 12 - finished


def test_finished_job_generates_nothing(
    echo: Any, bank: TokenBank, cases: CaseTable, tmp_path: Path
) -> None:
    expected = write(echo, bank, cases, tmp_path / "g.jsonl")
    echo.batches.clear()
    assert write(echo, bank, cases, tmp_path / "g.jsonl") == expected
    assert echo.batches == []


DAMAGE = {
    "garbage": lambda line: "garbage\n",
    "another object": lambda line: "{}\n",
    "no object": lambda line: "7\n",
    "removed": lambda line: "",
    "empty": lambda line: "\n",
    "of another case": lambda line: line.replace("case-", "cose-"),
    "no text": lambda line: line.replace('"text": "', '"text": 3, "was": "'),
}


@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("at", [0, 4, 6, 10])
def test_damaged_line_never_moves_a_report_to_another_case(
    damage: str,
    at: int,
    echo: Any,
    bank: TokenBank,
    cases: CaseTable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, broken = tmp_path / "whole.jsonl", tmp_path / "broken.jsonl"
    expected = write(echo, bank, cases, whole)
    lines = whole.read_text().splitlines(keepends=True)
    changed = DAMAGE[damage](lines[at])
    assert changed != lines[at]
    broken.write_text("".join([*lines[:at], changed, *lines[at + 1 :]]))
    echo.batches.clear()
    capsys.readouterr()
    assert write(echo, bank, cases, broken) == expected
    assert broken.read_text() == whole.read_text()
    assert sum(echo.batches) == 12 - at // 5 * 5  # what stood before the damage is kept
    assert f"{broken}, line {at + 1}: damaged, or of another case" in capsys.readouterr().err


def test_line_that_a_kill_cut_is_done_again_without_a_word(
    echo: Any,
    bank: TokenBank,
    cases: CaseTable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "g.jsonl"
    write(echo, bank, cases, file)
    file.write_text(file.read_text()[:-30])
    capsys.readouterr()
    write(echo, bank, cases, file)
    assert "damaged" not in capsys.readouterr().err
