"""The nearest training report, the label prior, and the notes that say how floors were made."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.scoring.floors import label_floors, text_floors
from ctfw.scoring.memo import Remembering
from ctfw.types import Case, Prediction


class Letters:
    """One label per letter of "abc" in a text."""

    names = ("a", "b", "c")
    signature = "letters"

    def __init__(self) -> None:
        self.read: list[str] = []

    def label(self, texts: Sequence[str]) -> np.ndarray:
        self.read += texts
        rows = [[letter in text for letter in "abc"] for text in texts]
        return np.array(rows, np.int8).reshape(len(texts), 3)


def train(*texts: str) -> list[Case]:
    return [Case(f"t{i}", f"t{i}", Path("x"), text) for i, text in enumerate(texts)]


def wanted_of(*labels: str) -> list[Prediction]:
    rows = Letters().label(labels)
    return [
        Prediction(f"c{i}", f"p{i}", "x", text, reference_labels=row)
        for i, (text, row) in enumerate(zip(labels, rows, strict=True))
    ]


def nearest(pool: list[Case], wanted: list[Prediction]) -> list[str]:
    rows = text_floors(pool, wanted, Letters()).rows["nearest"]
    return [row.generated for row in rows]


def test_nearest_report_has_the_labels_that_differ_least() -> None:
    pool = train("one: a", "two: a b", "three: c", "none")
    assert nearest(pool, wanted_of("a", "abc", "bc", "")) == [
        "one: a",
        "two: a b",
        "three: c",
        "none",
    ]


def test_more_frequent_of_equally_near_reports_is_taken() -> None:
    pool = train("first: a", "other: a", "second: a", "other: a")
    assert nearest(pool, wanted_of("a")) == ["other: a"]
    assert nearest(pool[:1] + pool[2:3], wanted_of("a")) == ["first: a"]


@given(st.lists(st.text("abc", max_size=3), min_size=1, max_size=12), st.text("abc", max_size=3))
def test_no_training_report_is_nearer_than_the_nearest(texts: list[str], wanted: str) -> None:
    pool = train(*(f"{i} {text}" for i, text in enumerate(texts)))
    labeler = Letters()
    (target,) = wanted_of(wanted)
    (chosen,) = text_floors(pool, [target], labeler).rows["nearest"]
    distances = np.abs(labeler.label([c.report for c in pool]) - target.reference_labels).sum(1)
    assert np.abs(chosen.labels - target.reference_labels).sum() == distances.min()  # type: ignore[operator]


def test_label_prior_draws_each_label_with_its_share() -> None:
    pool = train(*(["a"] * 30 + ["ab"] * 10))
    rows = text_floors(pool, wanted_of(*["a"] * 4000), Letters(), seed=1).rows["label-prior"]
    drawn = np.stack([row.labels for row in rows])  # type: ignore[misc]
    assert drawn.mean(0) == pytest.approx([1, 0.25, 0], abs=0.03)
    assert {row.generated for row in rows} == {""}
    again = text_floors(pool, wanted_of(*["a"] * 4000), Letters(), seed=1).rows["label-prior"]
    assert all((x.labels == y.labels).all() for x, y in zip(rows, again))  # type: ignore[union-attr]
    other = text_floors(pool, wanted_of(*["a"] * 4000), Letters(), seed=2).rows["label-prior"]
    assert any((x.labels != y.labels).any() for x, y in zip(rows, other))  # type: ignore[union-attr]


def test_without_labels_of_both_sides_neither_is_made() -> None:
    unlabelled = [Prediction("c", "p", "x", "y")]
    assert set(text_floors(train("a"), unlabelled, Letters()).rows) == {
        "constant", "frequent", "random",
    }  # fmt: skip
    assert set(text_floors(train("a"), wanted_of("a"), None).rows) == {
        "constant", "frequent", "random",
    }  # fmt: skip


def test_notes_say_how_many_reports_were_tried_and_with_what_seed() -> None:
    pool = train(*(f"{i} {'a' * (i % 2)}" for i in range(50)), "0 ")
    notes = text_floors(pool, wanted_of("a"), Letters(), seed=7, sample=20, labelled=30).notes
    assert notes == (
        "best constant report: the best of 20 training reports against 20, of 51, seed 7",
        "most frequent report: 2 times among 51",
        "nearest training report and label prior: from 30 of 51 training reports, seed 7; the "
        "first is an oracle: it is told the labels of the test case",
    )


def test_only_the_sample_is_labelled() -> None:
    labeler = Letters()
    pool = train(*(f"{i}" for i in range(500)))
    text_floors(pool, wanted_of("a"), Remembering(labeler), labelled=40)
    assert len(labeler.read) <= 40 + 3  # the sample, and the three reports of the text floors
    assert len(labeler.read) == len(set(labeler.read))


def test_labels_that_are_remembered_are_those_of_the_labeler() -> None:
    plain, memo = Letters(), Remembering(Letters())
    for texts in (["a", "b", "a"], ["b"], [], ["c", "a"]):
        assert np.array_equal(memo.label(texts), plain.label(texts))
    assert (memo.names, memo.signature) == (plain.names, plain.signature)


def test_floors_that_know_no_training_reports_are_all_or_nothing() -> None:
    rows = label_floors(wanted_of("a", "bc"))
    assert list(rows) == ["all-negative", "all-positive"]
    assert [int(row.labels.sum()) for row in rows["all-positive"]] == [3, 3]  # type: ignore[union-attr]
