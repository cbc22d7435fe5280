"""AMOS-MM on disk: regions, splits, and what is missing."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from ctfw.errors import BadData
from ctfw_plugins.datasets.amos_mm import AmosMM
from ctfw_plugins.datasets.configs import AmosMMConfig
from ctfw_plugins.samplers.configs import HeterConfig
from ctfw_plugins.samplers.heter import Heter


def entry(number: int, folder: str) -> dict[str, Any]:
    return {
        "image": f"./{folder}/amos_{number:04}.nii.gz",
        "meta": {"sex": "F", "spacing": [1, 1, 5]},
        "labels": {
            "qa": [{"question": "q", "options": {"A": "a"}, "answer": "A"}],
            "report": {
                "findings": {
                    "chest": f"Chest {number}.",
                    "abdomen": f"Abdomen {number}.",
                    "pelvis": "",
                },
                "impression": {"chest": f"Meant {number}.", "abdomen": "nan"},
            },
        },
    }


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """30 training and 6 validation studies; the images are empty files."""
    content = {
        "training": [entry(i, "imagesTr") for i in range(30)],
        "validation": [entry(i, "imagesVa") for i in range(100, 106)],
    }
    for part in content.values():
        for item in part:
            path = tmp_path / item["image"]
            path.parent.mkdir(exist_ok=True)
            path.touch()
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    return tmp_path


def dataset(root: Path, context: Any = None, **changes: Any) -> AmosMM:
    return AmosMM(AmosMMConfig(root=root, **changes), context)


def quiet(root: Path, split: str, **changes: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return dataset(root, **changes).cases(split)


def edit(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads((root / "dataset.json").read_text())
    change(content)
    (root / "dataset.json").write_text(json.dumps(content))


def test_official_validation_is_the_test_split(tree: Path) -> None:
    cases = quiet(tree, "test")
    assert [case.id for case in cases] == [f"amos_{i:04}" for i in range(100, 106)]
    case = cases[0]
    assert case.image == tree / "imagesVa" / "amos_0100.nii.gz"
    assert (case.patient, case.study, case.split) == ("amos_0100", "amos_0100", "test")
    assert (case.report, case.impression) == ("Chest 100.", "Meant 100.")


def test_validation_is_held_out_of_training_by_patient(tree: Path) -> None:
    train, held = quiet(tree, "train"), quiet(tree, "validation")
    assert len(train) + len(held) == 30
    assert len(held) > 0
    assert not set(train.patients) & set(held.patients)
    gone = train[0].image
    gone.unlink()
    with pytest.warns(UserWarning, match="29 of 'training' used, left out: 1 whose file"):
        again = dataset(tree).cases("validation")
    assert again.patients == held.patients, "the others stay where they were"


@pytest.mark.parametrize(
    ("regions", "sections", "expected"),
    [
        (["chest"], "findings", "Chest 1."),
        (["abdomen", "chest"], "findings", "Abdomen: Abdomen 1. Chest: Chest 1."),
        (["chest", "pelvis"], "findings", "Chest: Chest 1."),
        (["chest"], "findings+impression", "Findings: Chest 1. Impression: Meant 1."),
        (["abdomen"], "findings+impression", "Findings: Abdomen 1."),
    ],
)
def test_regions_make_the_report(
    tree: Path, regions: list[str], sections: str, expected: str
) -> None:
    data = dataset(tree, regions=regions, sections=sections)
    cases = {case.id: case for split in ("train", "validation") for case in data.cases(split)}
    assert cases["amos_0001"].report == expected


def test_study_without_the_region_is_left_out_and_named(tree: Path) -> None:
    said: list[str] = []
    data = dataset(tree, SimpleNamespace(log=said.append), regions=["pelvis"])
    assert data.left_out == {}
    with pytest.raises(BadData, match=r"no entry of 'validation' .* 6 without a report of pelvis"):
        data.cases("test")
    assert data.left_out == {
        "without a report of pelvis": tuple(f"amos_{i:04}" for i in range(100, 106))
    }


def test_entries_without_labels_report_or_sections_are_left_out(tree: Path) -> None:
    def thin(content: dict[str, Any]) -> None:
        rows = content["validation"]
        del rows[0]["labels"]
        rows[1]["labels"] = {"qa": []}
        rows[2]["labels"]["report"]["findings"] = {"chest": None}
        rows[3]["labels"]["report"] = {"findings": "One text for all."}

    edit(tree, thin)
    with pytest.warns(UserWarning, match="3 without a report of chest"):
        cases = dataset(tree).cases("test")
    assert [case.report for case in cases] == ["One text for all.", "Chest 104.", "Chest 105."]


def test_there_are_no_labels_and_a_sampler_that_needs_them_says_so(tree: Path) -> None:
    data = dataset(tree)
    cases = data.cases("train")
    assert data.label_names == cases.label_names == ()
    assert all(case.labels is None for case in cases)
    with pytest.raises(BadData, match=r"heter needs the labels .*use: gauss"):
        Heter(HeterConfig()).fit(cases)
    with pytest.raises(ValueError, match="have no labels"):
        np.asarray(cases.labels)


def test_double_and_nameless_entries_are_refused(tree: Path) -> None:
    def double(content: dict[str, Any]) -> None:
        content["training"][4]["image"] = content["training"][2]["image"]

    edit(tree, double)
    with pytest.raises(BadData, match=r"'amos_0002' \(entry 3 and entry 5\)"):
        dataset(tree).prepare()

    def nameless(content: dict[str, Any]) -> None:
        del content["training"][4]["image"]

    edit(tree, nameless)
    with pytest.raises(BadData, match=r"dataset\.json: entry 5 of 'training' names no image"):
        dataset(tree).prepare()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON"),
        ("[]", "has no list 'training'"),
        ('{"training": {}}', "has no list 'training'"),
        (None, "dataset.json does not exist; it should be AMOS-MM's list"),
    ],
)
def test_wrong_file_is_said(tree: Path, text: str | None, words: str) -> None:
    (tree / "dataset.json").unlink()
    if text is not None:
        (tree / "dataset.json").write_text(text)
    with pytest.raises(BadData, match=words):
        dataset(tree).prepare()


def test_annotation_file_limit_and_splits_can_be_chosen(tree: Path) -> None:
    (tree / "dataset.json").rename(tree / "reports.json")
    assert len(quiet(tree, "train", annotation=Path("reports.json"), limit=3)) == 3
    with pytest.raises(BadData, match="no split 'val'"):
        dataset(tree, annotation=Path("reports.json")).cases("val")
    with pytest.raises(ValidationError, match="each region once"):
        AmosMMConfig(root=tree, regions=("chest", "chest"))
