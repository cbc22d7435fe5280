"""Labels: dead ones, missing ones, and what the sampler and the labeler say of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ctfw.doctor.labels import check
from ctfw.labels import CT_RATE_LABELS

NAMES = ("Nodule", "Effusion", "Emphysema")
TABLE = {
    "a": ("train", (1, 0, 0)),
    "b": ("train", (1, 1, 0)),
    "c": ("validation", (1, 1, 0)),
    "d": ("test", (1, 0, 0)),
}


@pytest.fixture
def labelled(make_case: Any) -> list[Any]:
    return [
        make_case(name, split, labels=np.array(row, np.int8))
        for name, (split, row) in TABLE.items()
    ]


def test_positive_cases_are_counted_per_label_and_split(
    look: Any, make_scene: Any, labelled: list[Any]
) -> None:
    found = look(check, make_scene(labelled, labels=NAMES)).the("positive cases per split")
    assert found.table == (
        ("label", "train (2)", "validation (1)", "test (1)"),
        ("Nodule", "2", "1", "1"),
        ("Effusion", "1", "1", "0"),
        ("Emphysema", "0", "0", "0"),
    )
    assert found.values["positives"]["train"] == {"Nodule": 2, "Effusion": 1, "Emphysema": 0}


def test_labels_that_never_or_always_occur_are_named(
    look: Any, make_scene: Any, labelled: list[Any]
) -> None:
    scene = make_scene(labelled, "synthetic=false", labels=NAMES)
    findings = look(check, scene)
    never = findings.the("in any split")
    assert (never.level, never.names) == ("warning", ("Emphysema",))
    assert findings.the("positive in every case").names == ("Nodule",)
    assert findings.the("without a positive case in test").names == ("Effusion",)


def test_labels_that_phantoms_do_not_plant_are_a_note(
    look: Any, make_scene: Any, labelled: list[Any]
) -> None:
    scene = make_scene(labelled, labels=NAMES)
    assert scene.recipe.synthetic
    assert look(check, scene).the("in any split").level == "note"


def test_cases_without_labels_and_uncertain_labels_are_named(
    look: Any, make_scene: Any, make_case: Any, labelled: list[Any]
) -> None:
    cases = [*labelled, make_case("bare"), make_case("odd", labels=np.array([-1, 0, 1]))]
    findings = look(check, make_scene(cases, labels=NAMES))
    assert findings.the("no labels").names == ("bare",)
    assert findings.the("other than 0 and 1").names == ("odd",)
    assert findings.the("other than 0 and 1").level == "problem"


def test_all_zero_rows_are_a_warning_when_they_are_nearly_all(
    look: Any, make_scene: Any, make_case: Any
) -> None:
    rows = [(0, 0, 0)] * 19 + [(1, 1, 1)]
    cases = [make_case(str(i), labels=np.array(row)) for i, row in enumerate(rows)]
    found = look(check, make_scene(cases, labels=NAMES)).the("no positive label")
    assert found.level == "warning"
    assert "95 %" in found.text


def test_a_sampler_that_cannot_work_is_a_problem(
    look: Any, make_scene: Any, make_case: Any
) -> None:
    scene = make_scene([make_case("a"), make_case("b")], "stages.tune.negatives={use: heter}")
    findings = look(check, scene)
    assert findings.the("no labels").level == "note"
    found = findings.the("stages.tune.negatives")
    assert found.level == "problem"
    assert "heter needs the labels" in found.text


def test_a_sampler_that_can_work_is_ok(look: Any, make_scene: Any, labelled: list[Any]) -> None:
    scene = make_scene(labelled, "stages.tune.negatives={use: heter}", labels=NAMES)
    assert look(check, scene).the("stages.tune.negatives").level == "ok"


REPORTS = ("A nodule is observed in the right lung.", "There is no nodule. The heart is enlarged.")
TRUTH = {"Lung nodule": (1, 0), "Cardiomegaly": (0, 1)}


def ct_rate_rows(flipped: Sequence[str] = ()) -> np.ndarray:
    """(2, 18) the labels of `REPORTS`, with some columns the other way round."""
    rows = np.zeros((2, len(CT_RATE_LABELS)), np.int8)
    for name, values in TRUTH.items():
        rows[:, CT_RATE_LABELS.index(name)] = values
    for name in flipped:
        rows[:, CT_RATE_LABELS.index(name)] ^= 1
    return rows


@pytest.mark.parametrize(
    ("flipped", "level"), [((), "ok"), (("Lung nodule", "Emphysema"), "warning")]
)
def test_labeler_is_compared_with_the_labels(
    flipped: Sequence[str], level: str, look: Any, make_scene: Any, make_case: Any
) -> None:
    rows = ct_rate_rows(flipped)
    cases = [make_case(str(i), report=REPORTS[i], labels=rows[i]) for i in range(2)]
    found = look(check, make_scene(cases, labels=CT_RATE_LABELS)).the("labeler")
    assert found.level == level
    if flipped:
        assert {name.rsplit(" ", 1)[0] for name in found.names[:2]} == set(flipped)
        assert found.values["agreement"]["Lung nodule"] == 0
        assert found.values["agreement"]["Cardiomegaly"] == 1


def test_labeler_is_compared_whatever_the_order_of_the_labels(
    look: Any, make_scene: Any, make_case: Any
) -> None:
    rows = ct_rate_rows()[:, ::-1]
    cases = [make_case(str(i), report=REPORTS[i], labels=rows[i]) for i in range(2)]
    assert look(check, make_scene(cases, labels=CT_RATE_LABELS[::-1])).the("labeler").level == "ok"


def test_labeler_of_another_label_set_is_not_compared(
    look: Any, make_scene: Any, labelled: list[Any]
) -> None:
    assert "not compared" in look(check, make_scene(labelled, labels=NAMES)).the("labeler").text
