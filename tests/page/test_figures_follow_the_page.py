"""Figures take the page's colours and fonts, and survive odd logs."""

from __future__ import annotations

import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw.page import figures, validation
from ctfw.page.records import LabelScore, Negatives, TrainLog

LABELS = [
    LabelScore(name="Nodule of $x_1$ & <b>", support=4, coverage=0.5, coverage_another=0.1),
    LabelScore(name="Effusion", support=9, coverage=1.0),
    LabelScore(name="Hernia", support=0, coverage=None),
]


def log(steps: int, **terms: Any) -> TrainLog:
    lines = tuple({"step": i + 1, "positive": 1 / (i + 1)} | terms for i in range(steps))
    return TrainLog("tune", lines, ())


def test_colours_are_variables_of_the_style_sheet() -> None:
    picture = figures.loss_curves(log(50, negative=1.2, bound=1.5, at_bound=0.4))
    assert picture is not None
    assert "var(--blue)" in picture.svg
    assert "var(--orange)" in picture.svg
    assert not re.findall(r"#[0-9a-f]{6}\b", picture.svg)
    assert "font-family" not in picture.svg
    assert "<style" not in picture.svg


def test_labels_are_text_not_mathematics_or_markup() -> None:
    picture = figures.label_dumbbells(LABELS, "coverage", "Coverage")
    assert picture is not None
    texts = [e.text for e in ElementTree.fromstring(picture.svg).iter() if e.tag.endswith("text")]
    assert "Nodule of $x_1$ & <b> (4)" in texts
    assert not any(text and text.startswith("Hernia") for text in texts)


def test_long_log_stays_a_small_picture() -> None:
    picture = figures.loss_curves(log(20_000, negative=1.2, at_bound=0.4))
    assert picture is not None
    assert len(picture.svg) < 60_000


def test_same_log_gives_the_same_svg() -> None:
    assert figures.loss_curves(log(9)) == figures.loss_curves(log(9))


@given(st.lists(st.floats(-1e6, 1e6, allow_nan=False), min_size=1, max_size=12))
@settings(max_examples=8, deadline=None)
def test_any_finite_loss_can_be_drawn(values: list[float]) -> None:
    steps = tuple({"step": i, "positive": v, "negative": -v} for i, v in enumerate(values))
    picture = figures.loss_curves(TrainLog("tune", steps, ()))
    assert picture is not None
    ElementTree.fromstring(picture.svg)


def test_nothing_logged_gives_no_picture() -> None:
    empty = TrainLog("tune", (), ())
    assert figures.loss_curves(empty) is None
    assert figures.reliance_curve(empty) is None
    assert figures.validation_curve(empty) is None
    assert figures.label_dumbbells([], "f1", "F1") is None
    assert figures.partner_use(Negatives(), "tune") is None
    assert figures.distances(Negatives(), "tune") is None


def test_reliance_is_the_other_image_minus_the_own_one() -> None:
    lines = (
        {"step": 10, "positive": 0.5, "another": 0.5},
        {"step": 20, "positive": 0.2, "another": 0.45},
    )
    picture = figures.reliance_curve(TrainLog("tune", (), lines))
    assert picture is not None
    assert picture.alt == "Reliance from 0 at step 10 to 0.25 at step 20."


def test_nested_validation_values_are_left_out() -> None:
    lines = (
        {"step": 5, "mean_auc": 0.6, "auc": {"a": 0.6}},
        {"step": 7, "mean_auc": 0.7},
        {"step": 9, "mean_auc": None},
    )
    picture = figures.validation_curve(TrainLog("see", (), lines))
    assert picture is not None
    assert picture.alt == "mean auc ends at 0.7"


def test_partner_use_counts_every_case() -> None:
    picture = figures.partner_use(Negatives(partner_use={"a": 1, "b": 300, "c": 2}), "tune")
    assert picture is not None
    assert "3 cases served as negatives, between 1 and 300 times." in picture.alt


def test_importing_the_page_draws_in_no_plotting_or_template_library() -> None:
    code = (
        "import sys, ctfw.page; "
        "print([m for m in ('matplotlib', 'jinja2', 'PIL', 'torch') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("key", ["8", "x", "-1"])
def test_distance_keys_that_are_no_numbers_are_left_out(key: str) -> None:
    assert (figures.distances(Negatives(distance={key: 3}), "t") is None) == (key == "x")


def ticks(picture: figures.Picture | None) -> list[str]:
    """Every text of a figure that is a number."""
    assert picture is not None
    texts = [e.text or "" for e in ElementTree.fromstring(picture.svg).iter()]
    return [text for text in texts if re.fullmatch(r"[-−]?\d+(\.\d+)?", text)]


@pytest.mark.parametrize("steps", [1, 2, 3, 5])
def test_short_logs_have_ticks_at_whole_steps_only(steps: int) -> None:
    lines = tuple({"step": 3 + i, "positive": 40.0, "another": 90.0} for i in range(steps))
    whole = {str(step) for step in range(3, 3 + steps)}
    drawn = [figures.loss_curves(TrainLog("tune", lines, ()))]
    drawn += [figures.reliance_curve(TrainLog("tune", (), lines))] * (steps > 1)
    for picture in drawn:
        shown = [text for text in ticks(picture) if float(text) < 10]
        assert whole & set(shown)
        assert [text for text in shown if "." in text] == []


@pytest.mark.parametrize("uses", [{"a": 1}, {"a": 1, "b": 2}, {"a": 1, "b": 1, "c": 3}])
def test_uses_and_cases_are_counted_in_whole_numbers(uses: dict[str, int]) -> None:
    for picture in (
        figures.partner_use(Negatives(partner_use=uses), "tune"),
        figures.distances(Negatives(distance={"4": 1, "5": 2}), "tune"),
    ):
        assert ticks(picture)
        assert [text for text in ticks(picture) if "." in text] == []


def test_lone_loss_is_drawn_as_a_point() -> None:
    drawn = []
    for terms in ({}, {"negative": 1.2}, {"negative": 1.2, "at_bound": 0.4}):
        picture = figures.loss_curves(log(1, **terms))
        assert picture is not None
        drawn.append(len(re.findall(r"<use [^>]*stroke: var\(--(?:blue|orange)\)", picture.svg)))
    assert drawn == [2, 4, 5]  # each term and its entry in the legend; the share has none


def test_what_was_measured_once_is_a_number_and_no_picture() -> None:
    lines = ({"step": 40, "positive": 0.5, "another": 0.25, "mean_auc": 0.91234, "map": 0.5},)
    once = TrainLog("tune", (), lines)
    assert figures.reliance_curve(once) is None
    assert figures.validation_curve(once) is None
    assert validation.sentences(once) == [
        "Likelihood reliance on validation cases, measured once, at step 40: "
        "−0.250 nats per token.",
        "Validation, measured once, at step 40: map 0.500, mean auc 0.912.",
    ]
    twice = TrainLog("tune", (), (*lines, lines[0] | {"step": 80}))
    assert validation.sentences(twice) == []
    assert figures.reliance_curve(twice) is not None
    assert figures.validation_curve(twice) is not None
