"""CT-RATE on disk: names, tables, splits, and what is missing."""

from __future__ import annotations

import csv
import importlib.util
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw.errors import BadData
from ctfw.labels import CT_RATE_LABELS
from ctfw_plugins.datasets import ct_rate_tables as tables
from ctfw_plugins.datasets.common import fraction, held_out
from ctfw_plugins.datasets.configs import CTRateConfig
from ctfw_plugins.datasets.ct_rate import CTRate
from ctfw_plugins.datasets.phantom import SPLITS, Phantom


def _support(name: str) -> ModuleType:
    """A module of tests/support, which is no package on the path."""
    path = Path(__file__).resolve().parents[1] / "support" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


write_ct_rate_tree = _support("ct_rate_tree").write_ct_rate_tree


@pytest.fixture(scope="module")
def template(phantoms: Phantom, tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ct_rate")
    cases = [case for split in SPLITS for case in phantoms.cases(split)]
    return Path(write_ct_rate_tree(root, cases, reconstructions=2))


@pytest.fixture
def tree(template: Path, tmp_path: Path) -> Path:
    """A copy of the tree that a test may damage."""
    return Path(shutil.copytree(template, tmp_path / "tree"))


def dataset(root: Path, context: Any = None, **changes: Any) -> CTRate:
    return CTRate(CTRateConfig(root=root, **({"validation_share": 0.25} | changes)), context)


def quiet(root: Path, split: str, **changes: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return dataset(root, **changes).cases(split)


TABLES_OF_TEST = (
    ("radiology_text_reports", "validation_reports.csv"),
    ("multi_abnormality_labels", "valid_predicted_labels.csv"),
    ("metadata", "validation_metadata.csv"),
)


def edit(path: Path, change: Callable[[list[list[str]]], None]) -> None:
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    change(rows)
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)


def test_cases_have_file_report_labels_and_patient(template: Path, phantoms: Phantom) -> None:
    case = quiet(template, "test")[0]
    source = phantoms.cases("test")[0]
    assert case.id.endswith("_a_1")
    assert case.image == template / "valid_fixed" / case.patient / case.study / f"{case.id}.nii.gz"
    assert case.image.is_file()
    assert case.report == source.report
    np.testing.assert_array_equal(case.labels, source.labels)
    assert case.split == "test"
    assert case.hints["folder_version"] == "fixed"
    assert case.hints["RescaleIntercept"] in (-1024.0, -8192.0)
    assert case.hints["RescaleSlope"] == 1.0
    assert case.hints["XYSpacing"] == (5.0, 5.0)
    assert case.hints["ZSpacing"] == 5.0


def test_validation_patients_are_held_out_of_train(template: Path) -> None:
    parts = {split: quiet(template, split) for split in SPLITS}
    train, held = set(parts["train"].patients), set(parts["validation"].patients)
    assert held
    assert train
    assert not held & train
    assert len(parts["train"]) + len(parts["validation"]) == 30
    assert len(parts["test"]) == 8
    more = quiet(template, "validation", validation_share=0.6)
    assert held < set(more.patients), "a larger share keeps those that were held out"


def test_split_of_a_patient_does_not_depend_on_the_others(tree: Path) -> None:
    held = set(quiet(tree, "validation").patients)
    gone = sorted(set(quiet(tree, "train").patients))[0]
    shutil.rmtree(tree / "train_fixed" / gone)
    with pytest.warns(UserWarning, match="file is missing"):
        assert set(dataset(tree).cases("validation").patients) == held


def test_reconstructions_first_or_all(template: Path) -> None:
    first, every = (quiet(template, "test", reconstructions=r) for r in ("first", "all"))
    assert len(every) == 2 * len(first)
    assert {case.id for case in first} == {c.id for c in every if c.id.endswith("_1")}
    assert len({case.study for case in every}) == len(first)


def test_first_reconstruction_counts_by_number_not_by_spelling(tree: Path) -> None:
    scan = quiet(tree, "test")[0].study
    for folder, name in TABLES_OF_TEST:

        def rename(rows: list[list[str]]) -> None:
            for row in rows:
                row[0] = row[0].replace(f"{scan}_1.", f"{scan}_10.")

        edit(tree / folder / name, rename)
    case = quiet(tree, "test").by_id[f"{scan}_2"]
    assert case.study == scan


def test_path_rule_holds_for_two_digit_reconstructions() -> None:
    assert tables.scan_of("train_12_a_10") == "train_12_a"
    assert tables.patient_of("train_12_a_10") == "train_12"
    assert tables.bare("train_1_a_1.nii.gz") == tables.bare("train_1_a_1.npz") == "train_1_a_1"
    assert tables.is_volume("valid_53_a_1")
    assert not tables.is_volume("valid_53_a")


@pytest.mark.parametrize("suffix", ["", ".nii.gz", ".npz", ".mha"])
def test_tables_may_name_volumes_with_any_suffix(tree: Path, suffix: str) -> None:
    before = quiet(tree, "test")

    def respell(rows: list[list[str]]) -> None:
        for row in rows[1:]:
            row[0] = tables.bare(row[0]) + suffix

    for folder, name in TABLES_OF_TEST:
        edit(tree / folder / name, respell)
    after = quiet(tree, "test")
    assert after.fingerprint() == before.fingerprint()
    assert [case.hints for case in after] == [case.hints for case in before]


def test_file_of_a_tenth_reconstruction_is_found(tree: Path) -> None:
    first = quiet(tree, "test")[0]
    first.image.rename(first.image.with_name(f"{first.study}_10.nii.gz"))

    def tenth(rows: list[list[str]]) -> None:
        for row in rows:
            row[0] = row[0].replace(f"{first.study}_1.", f"{first.study}_10.")

    for folder, name in TABLES_OF_TEST:
        edit(tree / folder / name, tenth)
    case = quiet(tree, "test", reconstructions="all").by_id[f"{first.study}_10"]
    assert (case.patient, case.study) == (first.patient, first.study)
    assert case.image.is_file()
    np.testing.assert_array_equal(case.labels, first.labels)


@pytest.mark.parametrize("marker", ["Not given.", "nan", "", "  not given. "])
def test_missing_text_never_reaches_a_report(tree: Path, marker: str) -> None:
    ids = [case.id for case in quiet(tree, "test")]

    def blank(rows: list[list[str]]) -> None:
        for row in rows[1:]:
            if tables.scan_of(tables.bare(row[0])) == tables.scan_of(ids[0]):
                row[3] = row[4] = marker
            elif tables.scan_of(tables.bare(row[0])) == tables.scan_of(ids[1]):
                row[4] = marker

    edit(tree / "radiology_text_reports" / "validation_reports.csv", blank)
    with pytest.warns(UserWarning, match="2 without a report"):
        cases = dataset(tree).cases("test")
    assert ids[0] not in cases.by_id
    left = cases.by_id[ids[1]]
    assert left.report == f"Findings: {left.findings}"
    assert not any(word in text for text in cases.reports for word in ("Not given", "nan "))


def test_findings_alone(template: Path) -> None:
    cases = quiet(template, "test", sections="findings")
    assert [case.report for case in cases] == [case.findings for case in cases]


def test_labels_are_found_by_column_name(tree: Path) -> None:
    before = quiet(tree, "test").labels

    def reverse(rows: list[list[str]]) -> None:
        for row in rows:
            row[1:] = reversed(row[1:])

    edit(tree / "multi_abnormality_labels" / "valid_predicted_labels.csv", reverse)
    np.testing.assert_array_equal(quiet(tree, "test").labels, before)


def test_older_tables_name_the_scan(tree: Path) -> None:
    before = quiet(tree, "test")

    def accession(rows: list[list[str]]) -> None:
        rows[0][0] = "AccessionNo"
        for row in rows[1:]:
            row[0] = tables.scan_of(tables.bare(row[0]))

    edit(tree / "radiology_text_reports" / "validation_reports.csv", accession)
    assert quiet(tree, "test").fingerprint() == before.fingerprint()
    edit(tree / "multi_abnormality_labels" / "valid_predicted_labels.csv", accession)
    shutil.rmtree(tree / "metadata")
    assert {c.id for c in quiet(tree, "test")} == {c.id for c in before}


def test_volumes_that_are_no_chest_are_left_out(tree: Path) -> None:
    victim = quiet(tree, "test")[0]
    (tree / "metadata" / "no_chest_valid.txt").write_text(f"{victim.id}.nii.gz\n")
    with pytest.warns(UserWarning, match="1 listed as no chest CT"):
        cases = dataset(tree).cases("test")
    assert victim.id not in cases.by_id
    assert f"{victim.study}_2" in cases.by_id, "its other reconstruction takes its place"


def test_missing_files_are_listed_once(tree: Path) -> None:
    victims = [case.image for case in quiet(tree, "test")[:2]]
    for path in victims:
        shutil.rmtree(path.parent)
    said: list[str] = []
    data = dataset(tree, SimpleNamespace(log=said.append))
    assert len(data.cases("test")) == 6
    assert len(data.cases("test")) == 6
    assert len(said) == 1
    assert "4 whose file is missing" in said[0]
    assert victims[0].name.removesuffix(".nii.gz") in said[0]
    (left,) = data.left_out.items()
    assert left[0] == "whose file is missing"
    assert set(left[1]) == {f"{path.parent.name}_{n}" for path in victims for n in (1, 2)}


def test_what_is_left_out_is_told_for_every_folder_that_was_read(tree: Path) -> None:
    data = dataset(tree)
    assert data.left_out == {}
    test, train = data.cases("test")[0], data.cases("train")[0]
    for source, case in (("valid", test), ("train", train)):
        (tree / "metadata" / f"no_chest_{source}.txt").write_text(f"{case.study}_1\n")
    again = dataset(tree)
    with pytest.warns(UserWarning, match="listed as no chest CT"):
        again.prepare()
    assert again.left_out == {"listed as no chest CT": (f"{train.study}_1", f"{test.study}_1")}


def test_first_release_needs_its_metadata(phantoms: Phantom, tmp_path: Path) -> None:
    root = write_ct_rate_tree(tmp_path, phantoms.cases("test"), fixed=False)
    (root / "train").mkdir()
    case = quiet(root, "test")[0]
    assert case.hints["folder_version"] == "v1"
    assert case.image.parents[2] == root / "valid"
    image = nibabel.load(case.image)
    np.testing.assert_array_equal(image.affine, np.eye(4))
    hu = np.asanyarray(image.dataobj) * case.hints["RescaleSlope"] + case.hints["RescaleIntercept"]
    source = np.asanyarray(nibabel.load(phantoms.cases("test")[0].image).dataobj)
    np.testing.assert_array_equal(hu, source)
    (root / "metadata" / "validation_metadata.csv").unlink()
    with pytest.raises(BadData, match=r"validation_metadata\.csv does not exist"):
        dataset(root).cases("test")


def test_each_folder_may_be_of_either_version(tree: Path) -> None:
    (tree / "train_fixed").rename(tree / "train")
    versions = {split: quiet(tree, split)[0].hints["folder_version"] for split in SPLITS}
    assert versions == {"train": "v1", "validation": "v1", "test": "fixed"}


@pytest.mark.parametrize(
    ("spelling", "axial"),
    [
        ("[1, 0, 0, 0, 1, 0]", True),
        ("[1.000000, 0.000000, 0.000000, 0.000000, 1.000000, -0.000000]", True),
        ("[0.999, 0.04, 0, -0.04, 0.999, 0]", True),
        ("", True),
        ("[-1, 0, 0, 0, -1, 0]", False),
        ("[0, 1, 0, 0, 0, -1]", False),
    ],
)
def test_orientation_is_read_in_both_spellings(spelling: str, axial: bool) -> None:
    assert tables.is_axial({"ImageOrientationPatient": spelling}) is axial


def test_volume_of_the_first_version_that_is_not_axial_is_left_out(
    phantoms: Phantom, tmp_path: Path
) -> None:
    root = write_ct_rate_tree(tmp_path, phantoms.cases("test"), fixed=False)
    victim = quiet(root, "test")[0]

    def turn(rows: list[list[str]]) -> None:
        at = rows[0].index("ImageOrientationPatient")
        (row,) = [row for row in rows if row[0] == f"{victim.id}.nii.gz"]
        row[at] = "[-1, 0, 0, 0, -1, 0]"

    edit(root / "metadata" / "validation_metadata.csv", turn)
    with pytest.warns(UserWarning, match="1 of the first version whose slices are not axial"):
        assert victim.id not in dataset(root).cases("test").by_id
    (root / "valid").rename(root / "valid_fixed")
    assert victim.id in quiet(root, "test").by_id, "a corrected file has its own geometry"


def test_fixed_is_preferred_and_the_version_can_be_forced(tree: Path) -> None:
    with pytest.raises(BadData, match=r"folder .*valid does not exist; check .*data\.version"):
        dataset(tree, version="v1").cases("test")
    (tree / "valid").mkdir()
    assert quiet(tree, "test")[0].hints["folder_version"] == "fixed"


def test_the_folder_above_dataset_is_understood(tree: Path) -> None:
    (tree.parent / "repository").mkdir()
    tree.rename(tree.parent / "repository" / "dataset")
    assert len(quiet(tree.parent / "repository", "test")) == 8


def test_blank_metadata_fields_are_left_out(tree: Path) -> None:
    def blank(rows: list[list[str]]) -> None:
        for row in rows[1:]:
            row[rows[0].index("ZSpacing")] = ""
            row[rows[0].index("XYSpacing")] = "[oops"

    edit(tree / "metadata" / "validation_metadata.csv", blank)
    hints = quiet(tree, "test")[0].hints
    assert "ZSpacing" not in hints
    assert "XYSpacing" not in hints
    assert "RescaleSlope" in hints


def test_wrong_folders_tables_and_columns_are_named(tree: Path) -> None:
    with pytest.raises(BadData, match=r"nowhere does not exist; set data\.root"):
        dataset(tree / "nowhere").prepare()
    labels = tree / "multi_abnormality_labels" / "valid_predicted_labels.csv"

    def misspell(rows: list[list[str]]) -> None:
        rows[0][1] = "Medical materials"

    edit(labels, misspell)
    with pytest.raises(BadData, match=r"no column 'Medical material'.*did you mean"):
        dataset(tree).cases("test")
    labels.write_text("")
    with pytest.raises(BadData, match="no header"):
        dataset(tree).cases("test")
    labels.unlink()
    with pytest.raises(BadData, match=r"valid_predicted_labels\.csv does not exist; download"):
        dataset(tree).cases("test")
    dataset(tree).cases("train")


def test_label_that_is_not_0_or_1_is_named(tree: Path) -> None:
    def spoil(rows: list[list[str]]) -> None:
        rows[1][3] = "2"

    edit(tree / "multi_abnormality_labels" / "valid_predicted_labels.csv", spoil)
    with pytest.raises(BadData, match=f"'{CT_RATE_LABELS[2]}': '2' is neither 0 nor 1"):
        dataset(tree).cases("test")


def test_empty_split_and_limit(tree: Path) -> None:
    assert len(quiet(tree, "train", limit=3)) == 3
    shutil.rmtree(tree / "valid_fixed")
    (tree / "valid_fixed").mkdir()
    with (
        pytest.warns(UserWarning, match="0 volumes used"),
        pytest.raises(BadData, match="no case of the test split is usable"),
    ):
        dataset(tree).cases("test")
    with pytest.raises(BadData, match="no split 'valid'"):
        dataset(tree).cases("valid")


PATIENTS = st.sets(st.integers(1, 400).map("train_{}".format), min_size=2, max_size=60)


@settings(max_examples=100, deadline=None)
@given(patients=PATIENTS, share=st.floats(0.01, 0.9), more=st.floats(0, 0.5))
def test_a_patient_keeps_its_split_when_others_come_or_go(
    patients: set[str], share: float, more: float
) -> None:
    held = held_out(patients, share)
    assert held
    assert held <= patients
    assert held <= held_out(patients, share + more), "a larger share keeps them"
    some = set(sorted(patients)[::2])
    if any(fraction(patient) < share for patient in some):  # else one is held out all the same
        assert held_out(some, share) == held & some
