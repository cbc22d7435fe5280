"""Which findings come, how often, and with which others; who is in which split."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from ctfw.errors import BadData
from ctfw.labels import CT_RATE_LABELS
from ctfw_plugins.datasets.configs import PhantomConfig
from ctfw_plugins.datasets.phantom import SPLITS, Phantom
from ctfw_plugins.datasets.phantoms.prevalence import SHARES, draw_labels, shares_for
from ctfw_plugins.datasets.phantoms.writer import generator, studies

ALL = np.ones(18, bool)


@pytest.fixture(scope="module")
def drawn() -> np.ndarray:
    """(4000, 18) labels, one study per patient."""
    shares = shares_for(ALL, 3.5)
    return np.array(
        [draw_labels(shares, generator(0, p), generator(0, p, "s")) for p in range(4000)]
    )


def column(drawn: np.ndarray, name: str) -> np.ndarray:
    return drawn[:, CT_RATE_LABELS.index(name)].astype(bool)


def test_names_and_order_are_those_of_ct_rate() -> None:
    assert len(CT_RATE_LABELS) == len(set(CT_RATE_LABELS)) == 18
    assert CT_RATE_LABELS[0] == "Medical material"
    assert CT_RATE_LABELS[9] == "Lung nodule"
    assert CT_RATE_LABELS[17] == "Interlobular septal thickening"


def test_frequencies_are_like_ct_rates(drawn: np.ndarray) -> None:
    assert drawn.sum(1).mean() == pytest.approx(3.5, abs=0.12)
    np.testing.assert_allclose(drawn.mean(0), SHARES, atol=0.04)
    assert 0.02 < (drawn.sum(1) == 0).mean() < 0.15, "normal studies"
    assert (drawn.sum(1) >= 8).mean() > 0.02, "very sick patients"


@pytest.mark.parametrize(
    ("one", "other", "least"),
    [
        ("Arterial wall calcification", "Coronary artery wall calcification", 1.8),
        ("Pleural effusion", "Atelectasis", 1.3),
        ("Pleural effusion", "Cardiomegaly", 1.5),
        ("Consolidation", "Lung opacity", 1.4),
        ("Bronchiectasis", "Peribronchial thickening", 1.6),
    ],
)
def test_findings_come_together_as_in_patients(
    drawn: np.ndarray, one: str, other: str, least: float
) -> None:
    first, second = column(drawn, one), column(drawn, other)
    assert second[first].mean() / second.mean() > least


@given(
    planted=st.lists(st.booleans(), min_size=18, max_size=18).filter(any),
    positives=st.floats(0.2, 9),
)
@settings(max_examples=60, deadline=None)
def test_mean_number_of_findings_can_be_set(planted: list[bool], positives: float) -> None:
    chosen = np.array(planted)
    shares = shares_for(chosen, positives)
    assert shares.sum() == pytest.approx(min(positives, 0.5 * chosen.sum()), rel=1e-3)
    assert (shares[~chosen] == 0).all()
    assert (shares < 1).all()
    order = np.argsort(SHARES[chosen], kind="stable")
    assert (np.diff(shares[chosen][order]) >= -1e-9).all(), "frequent ones stay frequent"


def test_labels_that_are_not_planted_are_negative(tmp_path: Path) -> None:
    names = ("Pleural effusion", "Consolidation", "Emphysema", "Cardiomegaly")
    dataset = Phantom(
        PhantomConfig(
            root=tmp_path, labels=names, train=12, validation=0, test=0, spacing_mm=6.0, workers=1
        )
    )
    dataset.prepare()
    table = dataset.cases("train")
    assert table.label_names == CT_RATE_LABELS
    others = [i for i, name in enumerate(CT_RATE_LABELS) if name not in names]
    assert not table.labels[:, others].any()
    assert table.labels.sum() >= 12, "raised towards half of the four"


def test_lasting_findings_stay_and_passing_ones_change() -> None:
    shares = shares_for(ALL, 3.5)
    first, second = (
        np.array([draw_labels(shares, generator(0, p), generator(0, p, n)) for p in range(1500)])
        for n in "ab"
    )
    same = {
        name: np.corrcoef(column(first, name), column(second, name))[0, 1]
        for name in CT_RATE_LABELS
    }
    assert same["Coronary artery wall calcification"] > 0.75
    assert same["Hiatal hernia"] > 0.7
    assert same["Consolidation"] < 0.6


def test_every_patient_is_in_one_split(phantoms: Phantom) -> None:
    patients = {split: set(phantoms.cases(split).patients) for split in SPLITS}
    assert not patients["train"] & patients["validation"]
    assert not patients["train"] & patients["test"]
    assert not patients["validation"] & patients["test"]
    assert [len(phantoms.cases(split)) for split in SPLITS] == [24, 6, 8]
    ids = [case.id for split in SPLITS for case in phantoms.cases(split)]
    assert len(set(ids)) == len(ids)
    assert all(case.split == split for split in SPLITS for case in phantoms.cases(split))


def test_patients_have_up_to_three_studies() -> None:
    per_patient = np.bincount([study.patient for study in studies("train", 400, 3, 0)])[1:-1]
    assert set(per_patient) == {1, 2, 3}
    assert {study.number for study in studies("train", 50, 1, 0)} == {0}


def test_studies_of_a_patient_share_the_anatomy(phantoms: Phantom) -> None:
    table = phantoms.cases("train")
    pairs = [(a, b) for a in table for b in table if a.patient == b.patient and a.study < b.study]
    assert pairs
    chronic = "Arterial wall calcification"
    for a, b in pairs:
        same = [
            {lesion.size_mm for lesion in case.lesions if lesion.label == chronic}
            for case in (a, b)
        ]
        assert not all(same) or same[0] == same[1]


def test_empty_and_unknown_splits_are_named(tmp_path: Path) -> None:
    dataset = Phantom(PhantomConfig(root=tmp_path, test=0))
    with pytest.raises(BadData, match=r"test split is empty; set data\.test above 0"):
        dataset.cases("test")
    with pytest.raises(BadData, match="no split 'val'"):
        dataset.cases("val")


def test_misspelt_label_is_refused_with_a_hint() -> None:
    with pytest.raises(ValidationError, match="did you mean 'Pleural effusion'"):
        PhantomConfig(labels=("Pleural efusion",))
    with pytest.raises(ValidationError, match="at least one label"):
        PhantomConfig(labels=())


@pytest.mark.parametrize(
    ("name", "end"),
    [("Foo", "18 CT-RATE labels"), ("Emphysma", "labels; did you mean 'Emphysema'?")],
)
def test_unknown_label_gets_a_suggestion_only_where_one_is_close(name: str, end: str) -> None:
    with pytest.raises(ValidationError) as caught:
        PhantomConfig(labels=(name,))
    assert str(caught.value.errors()[0]["ctx"]["error"]).endswith(end)
