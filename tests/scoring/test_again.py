"""Likelihoods that a stage has kept are read back token by token, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ctfw.errors import BadData
from ctfw.runs.files import write_json, write_lines
from ctfw.scoring.again import kept_facts, read_tokens
from ctfw.types import Prediction

MADE = [Prediction(c, c, "x", text) for c, text in (("a", "One two."), ("b", " "), ("c", "Left."))]


def keep(folder: Path, image: str = "own", cases: tuple[str, ...] = ("a", "c")) -> None:
    values = {"a": [0.5, 1.5, 0.25], "c": [2.0, 0.0]}
    lines = [{"case": case, "image": case, "nll": values.get(case, [])} for case in cases]
    write_lines(folder / f"nll.{image}.jsonl", lines)


def test_tokens_are_read_in_the_order_of_the_predictions(tmp_path: Path) -> None:
    keep(tmp_path, "noise")
    keep(tmp_path)
    spans = {"a": [[0, 3], [3, 8], [8, 8]], "c": [[0, 5], [5, 5]]}
    write_lines(tmp_path / "spans.jsonl", ({"case": k, "spans": v} for k, v in spans.items()))
    found = read_tokens(tmp_path, MADE, None)
    assert found is not None
    assert list(found.tokens) == ["own", "noise"]
    assert [each.tolist() for each in found.tokens["own"]] == [[0.5, 1.5, 0.25], [], [2.0, 0.0]]
    assert found.per_case("own", "sided").tolist()[2] == 2.0
    assert np.isnan(found.per_case("own", "sided")[:2]).all()


def test_without_spans_there_are_no_sentences(tmp_path: Path) -> None:
    keep(tmp_path)
    found = read_tokens(tmp_path, MADE, None)
    assert found is not None
    assert found.groups == ("all",)


def test_likelihoods_of_other_cases_or_of_a_killed_stage_are_not_taken(tmp_path: Path) -> None:
    assert read_tokens(tmp_path, MADE, None) is None
    keep(tmp_path, "another")
    assert read_tokens(tmp_path, MADE, None) is None
    keep(tmp_path, cases=("a",))
    assert read_tokens(tmp_path, MADE, None) is None
    keep(tmp_path, cases=("c", "a"))
    assert read_tokens(tmp_path, MADE, None) is None


def test_facts_that_predictions_cannot_tell_are_kept(tmp_path: Path) -> None:
    assert kept_facts(tmp_path) == {}
    told = {
        "split": "test", "fingerprint": "f", "cases": 3, "table": {},
        "generation": {"temperature": 0, "prompt": "Describe.", "distinct": 2},
    }  # fmt: skip
    write_json(tmp_path / "scores.json", told)
    assert kept_facts(tmp_path) == {
        "split": "test", "fingerprint": "f",
        "generation": {"temperature": 0, "prompt": "Describe."},
    }  # fmt: skip


SPANS = (
    '{"case": "a", "spans": [[0, 3], [3, 8], [8, 8]]}',
    '{"case": "c", "spans": [[0, 5], [5, 5]]}',
)


@pytest.mark.parametrize(
    "line", ["{}", "garbage", "[]", '{"case": "a"}', '{"case": "a", "nll": 3}']
)
def test_damaged_likelihoods_are_named_with_their_line(line: str, tmp_path: Path) -> None:
    keep(tmp_path)
    file = tmp_path / "nll.own.jsonl"
    file.write_text(line + "\n" + file.read_text())
    with pytest.raises(BadData, match=r"nll.own.jsonl, line 1: damaged.*remove it"):
        read_tokens(tmp_path, MADE, None)


@pytest.mark.parametrize("line", ["{}", '{"case": "a", "spans": [[0, 3], [3]]}', '{"case": "a"}'])
def test_damaged_places_of_tokens_are_named_with_their_line(line: str, tmp_path: Path) -> None:
    keep(tmp_path)
    (tmp_path / "spans.jsonl").write_text("\n".join((SPANS[1], line, SPANS[0])))
    with pytest.raises(BadData, match=r"spans.jsonl, line 2: damaged.*remove it"):
        read_tokens(tmp_path, MADE, None)


@pytest.mark.parametrize("text", [SPANS[0], SPANS[0] + "\n" + SPANS[1][:25]])
def test_half_of_the_places_of_tokens_are_refused_with_the_file(text: str, tmp_path: Path) -> None:
    keep(tmp_path)
    (tmp_path / "spans.jsonl").write_text(text)
    with pytest.raises(BadData, match=r"spans.jsonl has the places of 0 tokens of case 'c'"):
        read_tokens(tmp_path, MADE, None)


def test_likelihoods_of_fewer_tokens_than_the_own_are_refused(tmp_path: Path) -> None:
    keep(tmp_path)
    keep(tmp_path, "noise")
    file = tmp_path / "nll.noise.jsonl"
    file.write_text(file.read_text().replace("0.5, ", ""))
    with pytest.raises(BadData, match=r"nll.noise.jsonl has 2 tokens of case 'a'"):
        read_tokens(tmp_path, MADE, None)
