"""Likelihoods that a stage has kept are read back token by token, or not at all."""

from __future__ import annotations

from pathlib import Path

import numpy as np

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
