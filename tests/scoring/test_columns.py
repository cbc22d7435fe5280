"""Columns carry a protocol and a direction, and know which floors tell something."""

from __future__ import annotations

import math
from typing import ClassVar, cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.scoring.assess import Assessment
from ctfw.scoring.columns import Column, binding_floors
from ctfw.scoring.facts import per_case_csv
from ctfw.scoring.labels import accuracy_values, coverage_statistics, coverage_values, label_counts
from ctfw.scoring.table import ScoreTable, build_table
from ctfw.types import Prediction, Scores


def label_floor_values() -> dict[str, dict[str, float]]:
    """Value name -> the two label floors, for labels of which some are set."""
    reference = (np.random.default_rng(0).random((40, 5)) < 0.3).astype(np.int8)
    values: dict[str, dict[str, float]] = {}
    for floor, level in (("all-negative", 0), ("all-positive", 1)):
        made = np.full_like(reference, level)
        found = accuracy_values(label_counts(reference, made).sum(0))
        found |= coverage_values(coverage_statistics(reference, made).sum(0))
        for name, value in found.items():
            values.setdefault(name, {})[floor] = float(value)
    return values


def test_floors_that_say_nothing_do_not_bind() -> None:
    values = label_floor_values()
    binding = {
        name: binding_floors(name != "hallucination-rate", {**floors, "constant": 0.4})
        for name, floors in values.items()
    }
    for name in ("accuracy", "balanced-accuracy", "micro-f1", "macro-f1", "weighted-f1", "crg"):
        assert binding[name] == ["all-negative", "all-positive", "constant"], name
    for name in ("coverage", "coverage-report", "coverage-macro"):  # claiming all is perfect
        assert binding[name] == ["all-negative", "constant"], name
    for name in ("specificity", "precision", "hallucination-rate"):  # silence is perfect
        assert binding[name] == [], name


def test_column_without_a_direction_has_no_floor() -> None:
    assert binding_floors(None, {"constant": 3.0, "all-negative": 0.2}) == []


def test_undefined_floors_do_not_bind_and_text_floors_do() -> None:
    floors = {"constant": 0.2, "all-negative": math.nan, "all-positive": math.nan}
    assert binding_floors(True, floors) == ["constant"]


@given(st.dictionaries(st.sampled_from(["constant", "frequent", "random"]), st.floats(0, 1)))
def test_every_text_floor_binds_without_label_floors(floors: dict[str, float]) -> None:
    assert binding_floors(True, floors) == list(floors)


@pytest.mark.parametrize("protocol", ["", "  "])
def test_score_without_a_protocol_cannot_be_made(protocol: str) -> None:
    with pytest.raises(ValueError, match="without a protocol: bleu-4"):
        Scores({"bleu-4": 0.2}, protocol)
    with pytest.raises(ValueError, match="'bleu-4' has no protocol"):
        Column("bleu-4", "BLEU-4", protocol)


def third_party(value: float, **directions: frozenset[str]) -> dict[str, Scores]:
    parts = {"errors": np.array([value, value + 1])}
    return {"theirs": Scores({"errors": value + 0.5}, "theirs|v1", parts, **directions)}


def test_third_party_metric_says_itself_which_way_is_better() -> None:
    def below(**directions: frozenset[str]) -> bool:
        rows = {"model": third_party(5, **directions), "constant": third_party(2, **directions)}
        return build_table(rows, ["a", "b"]).row("model").cell("errors").below_floor

    assert below(lower_is_better=frozenset({"errors"}))
    assert not below()
    assert not below(lower_is_better=frozenset({"errors"}), without_direction=frozenset({"errors"}))


def test_row_below_a_floor_is_marked_by_name_and_cell() -> None:
    rows = {"model": third_party(1), "constant": third_party(2)}
    grid = build_table(rows, ["a", "b"]).grid()
    assert [row[0] for row in grid.rows] == ["model ▼", "constant"]
    assert [row[1].endswith("▼") for row in grid.rows] == [True, False]
    assert "▼ below the best floor" in grid.notes


def test_two_protocols_of_one_metric_are_two_columns() -> None:
    def bleu(value: float, protocol: str) -> Scores:
        return Scores({"bleu-4": value}, protocol, {"bleu-4": np.array([value, value])})

    metrics = {
        "bleu": bleu(0.2, "r2gen|corpus"),
        "bleu-2": bleu(0.3, "vlm3d|corpus"),
        "bleu-3": bleu(0.4, "vlm3d|corpus|smooth:coco"),
    }
    table = build_table({"model": metrics}, ["a", "b"])
    columns = {column.name: column.protocol for column in table.columns}
    assert columns == {
        "bleu-4": "r2gen|corpus",
        "bleu-4@vlm3d": "vlm3d|corpus",
        "bleu-4@2": "vlm3d|corpus|smooth:coco",
    }
    row = table.row("model")
    assert [row.cell(name).value for name in columns] == [0.2, 0.3, 0.4]


def test_two_protocols_of_one_metric_have_a_column_per_case_each() -> None:
    def made(value: float, protocol: str) -> Scores:
        return Scores({"bleu-4": value}, protocol, {"bleu-4": np.array([value, value])})

    class Assessed:
        predictions = (Prediction("1", "p", "", ""), Prediction("2", "q", "", ""))
        scores: ClassVar = {"model": {"bleu": made(0.2, "r2gen"), "bleu-2": made(0.3, "vlm3d")}}
        nll: ClassVar[dict[str, np.ndarray]] = {}

    header, first, _ = per_case_csv(cast(Assessment, Assessed)).splitlines()
    assert header == "case,patient,finish,bleu-4,bleu-4@vlm3d"
    assert first == "1,p,stop,0.2,0.3"


def test_every_shown_number_has_its_signature_beneath() -> None:
    table = build_table({"model": third_party(1)}, ["a", "b"])
    assert "errors: theirs|v1" in table.to_text().splitlines()
    assert "- errors: theirs|v1" in table.to_markdown().splitlines()
    assert ScoreTable.from_json(table.to_json()).columns == table.columns


def test_resamples_without_a_value_are_counted_beneath_the_table() -> None:
    reference = np.array([[1], [0], [0], [0]], np.int8)
    statistics = label_counts(reference, reference)
    values = {k: float(v) for k, v in accuracy_values(statistics.sum(0)).items()}
    scores = Scores(values, "test", statistics=statistics, reduce=accuracy_values)
    table = build_table({"model": {"accuracy": scores}}, list("abcd"), n=1000)
    (note,) = [note for note in table.notes if note.startswith("macro F1: undefined in")]
    number = int(note.split()[4])  # (3/4)^4 of the resamples lack the only positive
    assert 270 < number < 365
    assert note.endswith(" of 1000 resamples, which its interval leaves out")


def test_reliance_row_needs_a_column_with_a_protocol() -> None:
    table = build_table({"model": third_party(1)}, ["a", "b"])
    with pytest.raises(KeyError, match="elsewhere"):
        table.with_row("gain", "reliance", {"elsewhere": table.row("model").cell("errors")})


def test_metric_without_numbers_per_case_has_no_interval_and_says_so() -> None:
    rows = {"model": {"bare": Scores({"hub": 0.3}, "hub|v1"), **third_party(1)}}
    table = build_table(rows, ["a", "b"])
    assert table.row("model").cell("hub").value == 0.3
    assert math.isnan(table.row("model").cell("hub").low)
    assert not math.isnan(table.row("model").cell("errors").low)
    assert "hub: no interval, this metric gives no numbers per case" in table.notes


def test_note_of_a_floor_names_the_floor_and_one_of_all_rows_stands_once() -> None:
    everywhere, alone = "labels left out: Hernia", "2 of 2 generated texts are empty"
    rows = {
        "model": {"bare": Scores({"hub": 0.3}, "hub|v1", notes=(everywhere,))},
        "constant": {"bare": Scores({"hub": 0.1}, "hub|v1", notes=(everywhere, alone))},
    }
    notes = build_table(rows, ["a", "b"]).notes
    assert notes.count(everywhere) == 1
    assert f"best constant report: {alone}" in notes
    assert alone not in notes
