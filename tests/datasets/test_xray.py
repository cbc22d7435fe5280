"""IU X-Ray and MIMIC-CXR: views, patients, labels, and what is missing."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ctfw.errors import BadData
from ctfw_plugins.datasets.configs import IUXrayConfig, MimicCXRConfig
from ctfw_plugins.datasets.xray import AnnotatedXrays, IUXray, MimicCXR

SPLITS = ("train", "validation", "test")
LABELS = ("Edema", "Cardiomegaly")


def iu_entry(number: int) -> dict[str, Any]:
    name = f"CXR{number}_IM-{number:04}"
    return {
        "id": name,
        "report": f"report  {number} .",
        "image_path": [f"{name}/0.png", f"{name}/1.png"],
    }


def mimic_entry(number: int) -> dict[str, Any]:
    subject, study = 10000000 + number // 2, 50000000 + number
    return {
        "id": f"0a{number:03}",
        "study_id": study,
        "subject_id": subject,
        "report": f"report {number}",
        "image_path": [f"p10/p{subject}/s{study}/0a{number:03}{view}.jpg" for view in ("", "-b")],
    }


def write(root: Path, entry: Callable[[int], dict[str, Any]], below: str = "images") -> Path:
    """12 training, 4 validation and 6 test studies; the images are empty files."""
    rows = [entry(i) for i in range(22)]
    content = {"train": rows[:12], "val": rows[12:16], "test": rows[16:]}
    for row in rows:
        for path in row["image_path"]:
            (root / below / path).parent.mkdir(parents=True, exist_ok=True)
            (root / below / path).touch()
    (root / "annotation.json").write_text(json.dumps(content))
    return root


@pytest.fixture
def iu(tmp_path: Path) -> Path:
    return write(tmp_path, iu_entry)


@pytest.fixture
def mimic(tmp_path: Path) -> Path:
    return write(tmp_path, mimic_entry)


def dataset(root: Path, context: Any = None, **changes: Any) -> AnnotatedXrays:
    text = (root / "annotation.json").read_text()
    if "CXR" in text:
        return IUXray(IUXrayConfig(root=root, **changes), context)
    return MimicCXR(MimicCXRConfig(root=root, **changes), context)


def quiet(root: Path, split: str, **changes: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return dataset(root, **changes).cases(split)


def edit(root: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = json.loads((root / "annotation.json").read_text())
    change(content)
    (root / "annotation.json").write_text(json.dumps(content))


def test_iu_has_both_views_of_each_study(iu: Path) -> None:
    case = quiet(iu, "test")[0]
    folder = iu / "images" / "CXR16_IM-0016"
    assert case.views == (folder / "0.png", folder / "1.png")
    assert case.image == case.views[0]
    assert (case.id, case.patient) == ("CXR16_IM-0016", "CXR16")
    assert (case.report, case.split, case.labels) == ("report 16 .", "test", None)
    assert quiet(iu, "test", views="first")[0].views == (folder / "0.png",)


def test_mimic_takes_the_first_view_and_the_patient_of_the_path(mimic: Path) -> None:
    case = quiet(mimic, "test")[0]
    path = mimic / "images" / "p10" / "p10000008" / "s50000016" / "0a016.jpg"
    assert case.views == (path,)
    assert (case.id, case.patient, case.study) == ("0a016", "p10000008", "50000016")
    assert len(quiet(mimic, "test", views="all")[0].views) == 2


def test_splits_are_taken_as_they_are(iu: Path) -> None:
    assert [len(quiet(iu, split)) for split in SPLITS] == [12, 4, 6]
    assert [len(quiet(iu, split, limit=2)) for split in SPLITS] == [2, 2, 2]
    with pytest.raises(BadData, match="no split 'val'"):
        dataset(iu).cases("val")


def test_validation_may_be_spelt_out(iu: Path) -> None:
    edit(iu, lambda content: content.update(validation=content.pop("val")))
    assert len(quiet(iu, "validation")) == 4


def test_images_may_lie_below_the_root_itself(tmp_path: Path) -> None:
    root = write(tmp_path, mimic_entry, below=".")
    assert len(quiet(root, "train")) == 12
    (root / "images").mkdir()
    assert quiet(root, "train")[0].image.is_relative_to(root / "p10")


def test_one_path_may_stand_without_a_list(iu: Path) -> None:
    def single(content: dict[str, Any]) -> None:
        content["test"][0]["image_path"] = content["test"][0]["image_path"][0]

    edit(iu, single)
    assert len(quiet(iu, "test")[0].views) == 1


def test_study_with_a_missing_view_is_left_out_and_named(iu: Path) -> None:
    (iu / "images" / "CXR16_IM-0016" / "1.png").unlink()
    data = dataset(iu)
    with pytest.warns(UserWarning, match=r"21 studies used, left out: 1 whose file .*CXR16"):
        cases = data.cases("test")
    assert "CXR16_IM-0016" not in cases.by_id
    assert data.left_out == {"whose file is missing": ("CXR16_IM-0016",)}
    assert len(quiet(iu, "test", views="first")) == 6


def test_empty_reports_are_left_out(iu: Path) -> None:
    def blank(content: dict[str, Any]) -> None:
        content["val"][0]["report"] = " "
        del content["val"][1]["report"]

    edit(iu, blank)
    data = dataset(iu)
    with pytest.warns(UserWarning, match="2 without a report"):
        assert len(data.cases("validation")) == 2
    shutil.rmtree(iu / "images")
    with (
        pytest.warns(UserWarning, match="20 whose file is missing"),
        pytest.raises(BadData, match=r"no entry of the test split .*annotation\.json is usable"),
    ):
        dataset(iu).cases("test")


def test_patient_in_two_splits_is_an_error_unless_accepted(mimic: Path) -> None:
    edit(mimic, lambda content: content["test"].append(content["train"].pop()))
    words = r"1 patient is in two splits: p10000005 \(train and test\)"
    with pytest.raises(BadData, match=words):
        dataset(mimic).prepare()
    assert len(quiet(mimic, "test", allow_patient_overlap=True)) == 7


def test_subject_of_the_entry_serves_where_the_path_names_no_patient(mimic: Path) -> None:
    def flat(content: dict[str, Any]) -> None:
        for number, row in enumerate(content["test"]):
            row["image_path"] = [f"flat{number}.jpg"]
            (mimic / "images" / f"flat{number}.jpg").touch()

    edit(mimic, flat)
    assert quiet(mimic, "test")[0].patient == "p10000008"
    edit(mimic, lambda content: content["test"][1].pop("subject_id"))
    with pytest.raises(BadData, match="nothing names the patient of entry '0a017'"):
        dataset(mimic).prepare()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c["train"][3].pop("id"), r"entry 4 of 'train' has no `id` or no `image_path`"),
        (lambda c: c["val"][0].update(image_path=[]), "entry 1 of 'val' has no `id`"),
        (lambda c: c["val"].append("x"), "entry 5 of 'val'"),
        (lambda c: c["test"].append(c["test"][0]), r"'CXR16_IM-0016' \(entry 1 of 'test' and"),
        (lambda c: c.pop("test"), "has no list 'test': it should be R2Gen's annotation file"),
    ],
)
def test_wrong_annotations_are_named(iu: Path, change: Any, words: str) -> None:
    edit(iu, change)
    with pytest.raises(BadData, match=words) as told:
        dataset(iu).prepare()
    assert "annotation.json" in str(told.value)


def labels_file(root: Path, key: str, names: list[Any], values: str = "1,0") -> Path:
    lines = [f"Cardiomegaly,{key},Edema", *(values.replace(",", f",{n},") for n in names)]
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    return root / "labels.csv"


@pytest.mark.parametrize("key", ["id", "study_id"])
def test_labels_are_joined_by_id_or_study(mimic: Path, key: str) -> None:
    names = [mimic_entry(i)[key] for i in range(22)]
    file = labels_file(mimic, key, names)
    cases = quiet(mimic, "test", labels_file=file, labels=LABELS)
    assert cases.label_names == LABELS
    np.testing.assert_array_equal(cases.labels, [[0, 1]] * 6)


def test_study_without_labels_is_left_out_where_labels_are_asked_for(iu: Path) -> None:
    file = labels_file(iu, "id", [iu_entry(i)["id"] for i in range(21)])
    data = dataset(iu, labels_file=file, labels=LABELS)
    with pytest.warns(UserWarning, match=r"1 without labels \(CXR21_IM-0021\)"):
        assert len(data.cases("test")) == 5


def test_chexpert_blanks_and_doubts_are_read_as_the_settings_say(mimic: Path) -> None:
    file = labels_file(mimic, "study_id", [50000000 + i for i in range(22)], values="-1.0,")
    more = {"labels_file": file, "labels": LABELS}
    words = r"data\.blank_labels: negative .*22 in all\); -1, .*data\.uncertain_labels"
    with pytest.raises(BadData, match=words):
        dataset(mimic, **more).prepare()
    cases = quiet(mimic, "test", **more, blank_labels="negative", uncertain_labels="positive")
    np.testing.assert_array_equal(cases.labels, [[0, 1]] * 6)


def test_wrong_label_tables_are_named(mimic: Path) -> None:
    names = [mimic_entry(i)["id"] for i in range(22)]
    file = labels_file(mimic, "id", names)
    with pytest.raises(BadData, match=r"labels\.csv has no column 'Fracture'; it has Cardiomegaly"):
        dataset(mimic, labels_file=file, labels=("Edema", "Fracture")).prepare()
    labels_file(mimic, "name", names)
    with pytest.raises(BadData, match="no column id or dicom_id or study_id"):
        dataset(mimic, labels_file=file, labels=LABELS).prepare()
    labels_file(mimic, "id", [*names, names[0]])
    with pytest.raises(BadData, match=r"'0a000' \(line 2 and line 24\).*one row of labels"):
        dataset(mimic, labels_file=file, labels=LABELS).prepare()
    for wrong in ({"labels": LABELS}, {"labels_file": file}):
        with pytest.raises(ValidationError, match="labels_file and labels together"):
            MimicCXRConfig(root=mimic, **wrong)


@settings(max_examples=50, deadline=None)
@given(subjects=st.lists(st.integers(10_000_000, 10_000_020), min_size=3, max_size=30))
def test_a_patient_is_never_in_two_splits_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, subjects: list[int]
) -> None:
    root = tmp_path_factory.mktemp("mimic")
    rows = [
        {"id": f"x{i}", "report": "r", "image_path": [f"p10/p{subject}/s1/{i}.jpg"]}
        for i, subject in enumerate(subjects)
    ]
    third = len(rows) // 3
    parts = {"train": rows[:third], "val": rows[third : 2 * third], "test": rows[2 * third :]}
    (root / "annotation.json").write_text(json.dumps(parts))
    sets = [{row["image_path"][0].split("/")[1] for row in part} for part in parts.values()]
    shared = (sets[0] & sets[1]) | (sets[0] & sets[2]) | (sets[1] & sets[2])
    data = MimicCXR(MimicCXRConfig(root=root))
    if shared:
        with pytest.raises(BadData, match=f"{len(shared)} patients? (is|are) in two splits"):
            data.prepare()
    else:
        with pytest.warns(UserWarning, match="whose file is missing"):
            data.prepare()
