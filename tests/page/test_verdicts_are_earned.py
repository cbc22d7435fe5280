"""What the page claims follows from intervals and floors, and from nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from fabricate_scores import make_scores
from hypothesis import given
from hypothesis import strategies as st

from ctfw.page.headlines import Headline, best_floor, headlines
from ctfw.page.negatives import bound_sentence, negative_sentences
from ctfw.page.overview import (
    generation_sentences,
    ordered_rows,
    protocols,
    split_columns,
)
from ctfw.page.records import Decoding, Negatives, ScoreFile, Table, TrainLog
from ctfw.scoring.table import Cell, Column, ScoreTable
from ctfw.scoring.table import Row as SystemRow

numbers = st.floats(-1, 1, allow_nan=False)


def tops(**changes: Any) -> list[Headline]:
    return headlines(ScoreFile.model_validate(make_scores() | changes))


def row(kind: str, name: str, **values: float | None) -> dict[str, Any]:
    cells = {key.replace("_", "-"): {"value": value} for key, value in values.items()}
    return {"name": name, "kind": kind, "values": cells}


@given(numbers, numbers, numbers)
def test_image_is_called_used_only_if_the_interval_lies_above_0(
    a: float, b: float, c: float
) -> None:
    low, value, high = sorted((a, b, c))
    gain, *_ = tops(reliance={"grounded_gain": {"value": value, "low": low, "high": high}})
    assert (gain.verdict == "The image is used.") == (low > 0)
    assert (gain.tone == "good") == (low > 0)
    assert ("Not shown" in gain.verdict) == (low <= 0 <= high)


@given(numbers)
def test_nothing_is_claimed_without_an_interval(value: float) -> None:
    gain, likelihood, _ = tops(reliance={"grounded_gain": {"value": value}})
    assert gain.verdict == "No interval: nothing is claimed."
    assert likelihood.verdict == "Not measured in this run."


@given(numbers, numbers, numbers)
def test_places_of_the_interval_bar_keep_their_order(a: float, b: float, c: float) -> None:
    low, value, high = sorted((a, b, c))
    gain, *_ = tops(reliance={"grounded_gain": {"value": value, "low": low, "high": high}})
    bar = gain.bar
    assert bar is not None
    assert 0 <= bar["low"] <= bar["value"] + 1e-9
    assert bar["value"] <= bar["high"] + 1e-9 <= 100 + 1e-6
    assert (bar["reference"] <= bar["low"] + 1e-9) == (low >= 0) or low == pytest.approx(0)


@pytest.mark.parametrize(
    ("value", "low", "words"),
    [
        (0.5, 0.45, "Above every floor"),
        (0.4, 0.37, "the interval does not exclude it"),
        (0.381, 0.36, "Not above the best floor, all labels positive (0.381)"),
        (0.1, 0.05, "Not above the best floor"),
    ],
)
def test_macro_f1_is_judged_against_its_best_floor(value: float, low: float, words: str) -> None:
    scores = make_scores()
    scores["table"]["rows"][0]["values"]["macro-f1"] = {"value": value, "low": low, "high": 0.9}
    assert words in tops(table=scores["table"])[2].verdict


def test_floor_that_is_perfect_by_construction_is_not_the_one_to_beat() -> None:
    table = Table.model_validate(
        {
            "columns": [
                {"name": "accuracy"},
                {"name": "coverage"},
                {"name": "specificity"},
                {"name": "nll", "higher_is_better": False},
                {"name": "positives-generated", "higher_is_better": None},
            ],
            "rows": [
                row("floor", "all-negative", accuracy=0.8, coverage=0.0, specificity=1.0),
                row("floor", "all-positive", accuracy=0.2, coverage=1.0, specificity=0.0),
                row("floor", "constant", accuracy=0.7, coverage=0.4, specificity=0.9, nll=2.0),
                row("floor", "random", accuracy=0.6, nll=1.0, positives_generated=3),
            ],
        }
    )
    best = {column.name: best_floor(table, column.name) for column in table.columns}
    assert {name: floor and floor.name for name, floor in best.items()} == {
        "accuracy": "all-negative",
        "coverage": "constant",
        "specificity": None,
        "nll": "random",
        "positives-generated": None,
    }


def test_floors_stand_beneath_the_model() -> None:
    table = ScoreFile.model_validate(make_scores()).table
    shuffled = table.model_copy(update={"rows": table.rows[::-1]})
    kinds = [item["row"].kind for item in ordered_rows(shuffled)]
    assert kinds == ["model", "reliance", "floor", "floor", "floor", "floor"]


def test_table_of_the_scorer_can_be_shown() -> None:
    written = ScoreTable(
        (Column("macro-f1", "macro F1", "p"), Column("positives-generated", "n", "p", None)),
        (SystemRow("model", "model", {"macro-f1": Cell(0.4, below_floor=True)}),),
        ("a note",),
    )
    table = Table.model_validate_json(written.to_json())
    assert table.rows[0].values["macro-f1"].below_floor
    assert table.rows[0].values["macro-f1"].low is None
    assert table.columns[1].higher_is_better is None
    assert table.notes == ("a note",)


def test_each_protocol_has_one_footnote() -> None:
    table = ScoreFile.model_validate(make_scores()).table
    assert list(protocols(table).values()) == ["a", "b", "c"]
    many = Table.model_validate(
        {"columns": [{"name": str(i), "protocol": str(i)} for i in range(30)]}
    )
    assert len(set(protocols(many).values())) == 30


def test_long_tables_show_the_headline_columns_first() -> None:
    names = ["bleu-1", "bleu-2", "macro-f1", "precision"]
    table = Table.model_validate({"columns": [{"name": name} for name in names]})
    shown, every = split_columns(table)
    assert [column.name for column in shown] == ["bleu-1", "macro-f1"]
    assert len(every) == 4


@pytest.mark.parametrize(("share", "warned"), [(0.99, True), (0.13, False)])
def test_negatives_at_the_bound_are_called_useless(share: float, warned: bool) -> None:
    log = TrainLog("tune", tuple({"step": i, "at_bound": share} for i in range(8)), ())
    assert ("taught next to nothing" in bound_sentence(log)) == warned


def test_negatives_that_contradict_no_sentence_are_called_useless() -> None:
    step = {"step": 1, "without_scope": 1.0}
    assert "100% of the cases the negative contradicted no sentence" in bound_sentence(
        TrainLog("tune", (step,) * 4, ())
    )
    other = {"step": 2, "at_bound": 0.5, "without_scope": 0.2}
    some = bound_sentence(TrainLog("tune", (step, other) * 4, ()))
    assert "In 60% of the cases the negative contradicted no sentence" in some
    assert "50% of the other negatives were at the bound, where they give no gradient" in some


def test_hub_among_the_partners_is_pointed_out() -> None:
    use = {"hub": 360, "other": 40, "third": 400}
    told = " ".join(negative_sentences(Negatives(partner_use=use, draws=800, relaxed=8)))
    assert "may learn that one case" in told
    assert "8 times (1.0%)" in told


def test_reasons_for_relaxing_are_told_in_words() -> None:
    why = {"no free partner has a burden within 1 of the anchor's": 8}
    negatives = Negatives(
        partner_use={"a": 400, "b": 400}, draws=800, relaxed=8, relaxed_because=why, over_cap=3
    )
    told = " ".join(negative_sentences(negatives))
    assert "(no free partner has a burden within 1 of the anchor's: 8)" in told
    assert "3 draws took a partner that had served as often as it may" in told


def test_negatives_of_the_anchor_itself_have_no_partners_and_no_gap() -> None:
    told = negative_sentences(Negatives(draws=50, relaxed=0, burden_gap=0.0, without_side=9))
    assert told[0] == "The sampler drew 50 negatives."
    assert "made of the anchors' own scans" in told[1]
    assert "9 of the mirrored anchors name no side" in told[2]
    assert not any("relaxed" in text or "findings than" in text for text in told)


def test_likeness_of_mined_negatives_is_told() -> None:
    told = negative_sentences(Negatives(draws=5, partner_use={"a": 5}, similarity=0.734))
    assert any("look alike by 0.73" in text for text in told)


def test_one_text_for_all_is_a_warning() -> None:
    told = generation_sentences(Decoding(distinct=1, of=120, truncated=3, empty=0))
    assert told[0] == ("1 distinct reports of 120: the model repeats itself.", True)
    assert told[1][1]
    assert not told[2][1]
