"""Floors are what they say, and the table marks what falls below them."""

from __future__ import annotations

import dataclasses
import io
import math
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from ctfw.cli.tables import score_table
from ctfw.errors import BadData
from ctfw.scoring.floors import ORACLES, TEXT_FLOORS, label_floors, score_all, text_floors
from ctfw.scoring.resample import Estimate
from ctfw.scoring.table import Cell, ScoreTable, build_table
from ctfw.types import Case, CaseTable, Prediction, Scores
from ctfw_plugins.metrics.accuracy import Accuracy
from ctfw_plugins.metrics.bleu import Bleu
from ctfw_plugins.metrics.configs import AccuracyConfig, BleuConfig, CoverageConfig, RougeLConfig
from ctfw_plugins.metrics.coverage import Coverage
from ctfw_plugins.metrics.rouge_l import RougeL

METRICS = {
    "bleu": Bleu(BleuConfig()),
    "rouge-l": RougeL(RougeLConfig()),
    "coverage": Coverage(CoverageConfig()),
    "accuracy": Accuracy(AccuracyConfig()),
}
FINDINGS = ("nodule", "effusion", "atelectasis")
NORMAL = "The heart size is normal. The trachea is open. Bone structures are natural."


class WordLabeler:
    """One label per word of FINDINGS."""

    names = FINDINGS
    signature = "words"

    def label(self, texts: list[str]) -> np.ndarray:
        return np.array([[f"{w} is" in text for w in FINDINGS] for text in texts], np.int8)


def report(labels: np.ndarray) -> str:
    parts = [f"A {w} is seen." if on else f"No {w} was seen." for w, on in zip(FINDINGS, labels)]
    return f"{NORMAL} {' '.join(parts)}"


def cases(number: int, seed: int, split: str) -> CaseTable:
    rng = np.random.default_rng(seed)
    rows = (rng.random((number, 3)) < 0.3).astype(np.int8)
    made = [
        Case(f"{split}{i}", f"{split}{i // 2}", Path("x"), report(row), labels=row)
        for i, row in enumerate(rows)
    ]
    return CaseTable(tuple(made), FINDINGS)


@pytest.fixture
def train() -> CaseTable:
    return cases(40, 0, "train")


@pytest.fixture
def truth() -> list[Prediction]:
    return [
        Prediction(c.id, c.patient, c.report, c.report, c.labels, c.labels)
        for c in cases(30, 1, "test")
    ]


def test_constant_floor_is_the_best_single_training_report(
    train: CaseTable, truth: list[Prediction]
) -> None:
    floors = text_floors(train, truth, WordLabeler(), sample=len(train)).rows
    assert len({row.generated for row in floors["constant"]}) == 1
    chosen = floors["constant"][0].generated

    def bleu4(text: str) -> float:
        rows = [Prediction(c.id, c.patient, text, c.report) for c in train]
        return METRICS["bleu"].score(rows).values["bleu-4"]

    assert bleu4(chosen) == pytest.approx(max(bleu4(text) for text in set(train.reports)))


def test_frequent_and_random_floors_use_training_reports_only(
    train: CaseTable, truth: list[Prediction]
) -> None:
    floors = text_floors(train, truth, WordLabeler(), seed=5).rows
    most = max(train.reports.count(text) for text in train.reports)
    assert train.reports.count(floors["frequent"][0].generated) == most
    drawn = [row.generated for row in floors["random"]]
    assert set(drawn) <= set(train.reports)
    assert len(set(drawn)) > 1
    assert drawn == [row.generated for row in text_floors(train, truth, seed=5).rows["random"]]
    assert drawn != [row.generated for row in text_floors(train, truth, seed=6).rows["random"]]


def test_floor_labels_belong_to_the_floor_report(train: CaseTable, truth: list[Prediction]) -> None:
    labelled = text_floors(train, truth, WordLabeler()).rows
    from_table = text_floors(train, truth).rows
    for name, rows in labelled.items():
        for row, other, reference in zip(rows, from_table[name], truth, strict=True):
            assert row.labels is not None
            assert other.labels is not None
            if name in TEXT_FLOORS + ORACLES:
                assert row.generated == report(row.labels) == report(other.labels)
            assert row.reference == reference.reference
            assert row.reference_labels is reference.reference_labels


def test_training_split_without_reports_is_refused(truth: list[Prediction]) -> None:
    empty = [Case("a", "a", Path("x"), " ")]
    with pytest.raises(BadData, match="no report to make floors from"):
        text_floors(empty, truth)


@pytest.fixture
def table(train: CaseTable, truth: list[Prediction]) -> ScoreTable:
    floors = text_floors(train, truth, WordLabeler()).rows
    blind = [
        dataclasses.replace(row, generated=NORMAL, labels=np.zeros(3, np.int8)) for row in truth
    ]
    rows = {"perfect": score_all(METRICS, truth), "blind": score_all(METRICS, blind)}
    rows |= {name: score_all(METRICS, floors[name]) for name in TEXT_FLOORS}
    rows |= {
        name: score_all(METRICS, preds, labels_only=True)
        for name, preds in label_floors(truth).items()
    }
    return build_table(rows, [row.patient for row in truth], n=200)


def test_cells_below_the_best_floor_are_marked(table: ScoreTable) -> None:
    kinds = {row.name: row.kind for row in table.rows}
    assert kinds["perfect"] == kinds["blind"] == "model"
    assert {name for name, kind in kinds.items() if kind == "floor"} == set(kinds) - {
        "perfect",
        "blind",
    }
    assert not any(cell.below_floor for cell in table.row("perfect").values.values())
    blind = table.row("blind")
    assert blind.cell("bleu-4").below_floor
    assert blind.cell("macro-f1").below_floor  # all-positive beats it
    assert not blind.cell("specificity").below_floor
    assert not blind.cell("positives-generated").below_floor
    assert not any(cell.below_floor for cell in table.row("random").values.values())


def test_lower_is_better_columns_turn_the_comparison_round() -> None:
    def one(value: float) -> dict[str, Scores]:
        per_case = {"nll": np.array([value, value])}
        return {"m": Scores({"nll": value}, "test", per_case, lower_is_better=frozenset({"nll"}))}

    rows = {"good": one(1.0), "bad": one(3.0), "constant": one(2.0)}
    made = build_table(rows, ["a", "b"])
    assert not made.row("good").cell("nll").below_floor
    assert made.row("bad").cell("nll").below_floor


def test_label_only_floors_show_a_dash_in_text_columns(table: ScoreTable) -> None:
    row = table.row("all-positive")
    assert math.isnan(row.cell("bleu-4").value)
    assert row.cell("coverage").value == 1
    expected = "– BLEU-1, BLEU-4, ROUGE-L undefined for all labels negative, all labels positive: "
    assert any(note.startswith(expected) for note in table.notes)
    header, rows, _ = table.grid()
    shown = dict(zip(header, rows[[r.name for r in table.rows].index("all-positive")]))
    assert shown["BLEU-4"] == "–"
    assert shown["coverage"].startswith("1.000")


def test_labeler_joins_the_protocol_of_what_reads_labels(truth: list[Prediction]) -> None:
    scores = score_all(METRICS, truth, labeler="words|v1")
    assert scores["accuracy"].protocol.endswith("|words|v1")
    assert "words" not in scores["bleu"].protocol


def test_table_survives_json(table: ScoreTable) -> None:
    full = table.with_row("grounded gain", "reliance", {"macro-f1": Estimate(0.2, 0.1, 0.3)})
    text = full.to_json()
    assert "NaN" not in text
    again = ScoreTable.from_json(text)
    assert again.to_json() == text
    assert again.to_text() == full.to_text()
    assert again.row("grounded gain").cell("macro-f1") == Cell(0.2, 0.1, 0.3)


def test_text_and_markdown_align_and_name_the_protocol(table: ScoreTable) -> None:
    names = ["bleu-4", "macro-f1"]
    lines = table.to_text(names).splitlines()[: len(table.rows) + 1]
    ends = [line.rindex("]") for line in lines[1:4] if line.endswith("]")]
    assert lines[0].split() == ["system", "BLEU-4", "macro", "F1"]
    assert len(set(ends)) <= 1
    markdown = table.to_markdown(names, interval=False)
    assert markdown.splitlines()[:2] == ["| system | BLEU-4 | macro F1 |", "| --- | ---: | ---: |"]
    assert "- BLEU-4: r2gen|corpus|smooth:none|refs:1" in markdown
    assert "| blind ▼ |" in markdown
    assert "▼" in markdown


def test_one_patient_table_says_why_it_has_no_intervals(truth: list[Prediction]) -> None:
    made = build_table({"model": score_all(METRICS, truth[:2])}, ["p", "p"])
    assert math.isnan(made.row("model").cell("bleu-1").low)
    assert "no intervals: one patient only: nothing to resample" in made.notes


def test_rich_table_shows_every_row_and_note(table: ScoreTable) -> None:
    console = Console(file=io.StringIO(), width=200, record=True)
    console.print(score_table(table, "Scores", ["bleu-4", "macro-f1"]))
    text = console.export_text()
    assert "Scores" in text
    for row in table.rows:
        assert row.name in text
        assert row.cell("macro-f1").text() in text
    assert all(note in text.replace("\n", "") for note in table.notes[:1])
