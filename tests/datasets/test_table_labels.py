"""Labels of a table: one column each, or one column of names; 0, 1, and what is neither."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw.errors import BadData
from ctfw_plugins.datasets.configs import TableConfig
from ctfw_plugins.datasets.table import Table

NAMES = ("Emphysema", "Lung nodule", "Pleural effusion")
SPLITS = ("train", "validation", "test")


def labelled(folder: Path, cells: list[dict[str, Any]], **settings_: Any) -> Table:
    """A JSON table with one test case per entry of `cells`, and two others."""
    rows = [
        {"image": f"{i}.nii", "report": "r", "patient": i, "split": split, **extra}
        for i, (split, extra) in enumerate(
            [("train", cells[0]), ("val", cells[0]), *(("test", cell) for cell in cells)]
        )
    ]
    for i in range(len(rows)):
        (folder / f"{i}.nii").touch()
    (folder / "t.json").write_text(json.dumps(rows))
    return Table(
        TableConfig(file=folder / "t.json", **settings_), SimpleNamespace(log=lambda _: None)
    )


def vectors(data: Table) -> list[list[int]]:
    return np.asarray(data.cases("test").labels).tolist()


def one_hot(*values: Any) -> dict[str, Any]:
    return dict(zip(NAMES, values, strict=True))


def test_label_set_gives_the_order_not_the_table(tmp_path: Path) -> None:
    cells = [{"note": "x", **dict(reversed(one_hot(1, 0, 0).items()))}]
    data = labelled(tmp_path, cells, labels=NAMES)
    assert data.label_names == data.cases("test").label_names == NAMES
    assert vectors(data) == [[1, 0, 0]]


def test_columns_of_labels_are_the_label_set_when_none_is_given(tmp_path: Path) -> None:
    columns = {"labels": ["Pleural effusion", "emphysema"]}
    data = labelled(tmp_path, [one_hot(1, 0, 0)], columns=columns)
    assert data.label_names == ("Pleural effusion", "emphysema")
    assert vectors(data) == [[0, 1]]


def test_label_columns_can_have_other_names_than_the_labels(tmp_path: Path) -> None:
    columns = {"labels": ["Lung nodule", "Emphysema"]}
    data = labelled(tmp_path, [one_hot(0, 1, 0)], columns=columns, labels=("Nodule", "COPD"))
    assert data.label_names == ("Nodule", "COPD")
    assert vectors(data) == [[1, 0]]


@pytest.mark.parametrize("yes", [1, 1.0, "1", "1.0", True, "true", "Yes", " positive "])
@pytest.mark.parametrize("no", [0, 0.0, "0", "0.0", False, "FALSE", "no", "negative"])
def test_every_usual_spelling_of_yes_and_no_is_read(tmp_path: Path, yes: Any, no: Any) -> None:
    assert vectors(labelled(tmp_path, [one_hot(yes, no, yes)], labels=NAMES)) == [[1, 0, 1]]


@pytest.mark.parametrize("blank", [None, "", "nan", float("nan"), " NA "])
def test_blank_label_is_an_error_unless_it_means_negative(tmp_path: Path, blank: Any) -> None:
    cells = [one_hot(0, 0, 0), one_hot(1, blank, 1)]
    with pytest.raises(BadData, match=r"blank_labels: negative .*record 4, 'Lung nodule'"):
        labelled(tmp_path, cells, labels=NAMES).prepare()
    data = labelled(tmp_path, cells, labels=NAMES, blank_labels="negative")
    assert vectors(data)[1] == [1, 0, 1]


@pytest.mark.parametrize(("means", "value"), [("negative", 0), ("positive", 1)])
def test_uncertain_label_is_an_error_unless_its_meaning_is_chosen(
    tmp_path: Path, means: str, value: int
) -> None:
    cells = [one_hot(-1, "-1.0", 0)]
    with pytest.raises(BadData, match=r"set data\.uncertain_labels .*'Emphysema'"):
        labelled(tmp_path, cells, labels=NAMES).prepare()
    data = labelled(tmp_path, cells, labels=NAMES, uncertain_labels=means)
    assert vectors(data) == [[value, value, 0]]


@pytest.mark.parametrize("wrong", [2, "maybe", 0.5, [1]])
def test_other_label_values_are_named_with_their_row(tmp_path: Path, wrong: Any) -> None:
    with pytest.raises(BadData, match=r"neither 0 nor 1 .*record 1, 'Emphysema': ") as told:
        labelled(tmp_path, [one_hot(wrong, 0, 0)], labels=NAMES).prepare()
    assert repr(wrong) in str(told.value)


@pytest.mark.parametrize(
    ("cell", "expected"),
    [
        (["Lung nodule", "emphysema"], [1, 1, 0]),
        ([], [0, 0, 0]),
        ("Pleural effusion; Emphysema", [1, 0, 1]),
        ("pleural_effusion|emphysema", [1, 0, 1]),
        ("Lung nodule, Emphysema", [1, 1, 0]),
        ("['Lung nodule', \"Emphysema\"]", [1, 1, 0]),
        ("No finding", [0, 0, 0]),
    ],
)
def test_one_column_can_list_the_positive_labels(
    tmp_path: Path, cell: Any, expected: list[int]
) -> None:
    for settings_ in ({}, {"columns": {"labels": "labels"}}):
        data = labelled(tmp_path, [{"labels": cell}], labels=NAMES, **settings_)
        assert vectors(data) == [expected]


def test_listed_name_outside_the_label_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"not in data\.labels: 'Emphysem', did you mean 'Emphysema'"):
        labelled(tmp_path, [{"labels": "Emphysem"}], labels=NAMES).prepare()
    with pytest.raises(BadData, match=r"blank cells: set data\.blank_labels"):
        labelled(tmp_path, [{"labels": None}], labels=NAMES).prepare()
    data = labelled(tmp_path, [{"labels": ""}], labels=NAMES, blank_labels="negative")
    assert vectors(data) == [[0, 0, 0]]
    with pytest.raises(BadData, match="not a list"):
        labelled(tmp_path, [{"labels": "['Emphysema'"}], labels=NAMES).prepare()


def test_label_that_is_no_column_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"data\.labels: .*'Lung nodul', did you mean 'Lung nodule'"):
        labelled(tmp_path, [one_hot(0, 0, 0)], labels=("Emphysema", "Lung nodul")).prepare()


def test_without_a_label_set_there_are_no_labels(tmp_path: Path) -> None:
    data = labelled(tmp_path, [one_hot(1, 0, 1)])
    assert data.label_names == ()
    assert data.cases("test")[0].labels is None


@settings(max_examples=40, deadline=None)
@given(matrix=st.lists(st.tuples(*[st.booleans()] * 3), min_size=1, max_size=6))
def test_both_forms_of_labels_give_the_same_vectors(
    tmp_path_factory: pytest.TempPathFactory, matrix: list[tuple[bool, ...]]
) -> None:
    folder = tmp_path_factory.mktemp("labels")
    columns = labelled(folder, [one_hot(*map(int, row)) for row in matrix], labels=NAMES)
    own = vectors(columns)
    listed = [{"labels": [n for n, on in zip(NAMES, row, strict=True) if on]} for row in matrix]
    assert own == vectors(labelled(folder, listed, labels=NAMES))
    assert own == np.asarray(matrix, int).tolist()
