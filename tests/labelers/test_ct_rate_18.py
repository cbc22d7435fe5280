"""What `ct-rate-18` promises, on sentences written for these tests."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw.errors import BadData
from ctfw.labels import CT_RATE_LABELS
from ctfw_plugins.labelers.configs import CtRate18Config
from ctfw_plugins.labelers.ct_rate_18 import CtRate18
from ctfw_plugins.labelers.rules import RuleSet

# label -> (a sentence that states it, a sentence that denies it)
PAIRS = {
    "Medical material": (
        "A pacemaker is seen at the left pectoral level.",
        "No catheter or tube was observed.",
    ),
    "Arterial wall calcification": (
        "Calcified plaques are observed in the wall of the thoracic aorta.",
        "No calcification was detected in the wall of the aorta.",
    ),
    "Cardiomegaly": ("The heart size is increased.", "Cardiomegaly was not observed."),
    "Pericardial effusion": (
        "A small pericardial effusion is present.",
        "Neither pericardial effusion nor thickening is present.",
    ),
    "Coronary artery wall calcification": (
        "Calcific atheroma plaques are seen in the coronary arteries.",
        "No calcific plaque was detected in the coronary arteries.",
    ),
    "Hiatal hernia": (
        "A sliding type hiatal hernia is observed.",
        "Hiatal hernia was not detected.",
    ),
    "Lymphadenopathy": (
        "A 12 mm lymph node is observed in the right paratracheal area.",
        "No enlarged lymph nodes were detected in the mediastinum.",
    ),
    "Emphysema": (
        "There are emphysematous changes in the upper lobes.",
        "Emphysema or bulla was not observed in both lungs.",
    ),
    "Atelectasis": (
        "Linear atelectasis is present in the middle lobe.",
        "Atelectasis was not detected.",
    ),
    "Lung nodule": (
        "A nodule of 6 mm is observed in the right upper lobe.",
        "No nodule or mass was detected in both lungs.",
    ),
    "Lung opacity": (
        "Ground-glass opacities are observed in the lower lobes.",
        "Ground glass areas were not observed.",
    ),
    "Pulmonary fibrotic sequela": (
        "Pleuroparenchymal sequela changes are seen in both apices.",
        "No fibrotic sequela was observed.",
    ),
    "Pleural effusion": (
        "Pleural effusion of 20 mm is observed on both sides.",
        "Pleural effusion-thickening was not noted on either side.",
    ),
    "Mosaic attenuation pattern": (
        "A mosaic attenuation pattern was observed in both lungs.",
        "Mosaic attenuation was not observed.",
    ),
    "Peribronchial thickening": (
        "Peribronchial thickening is observed in the lower lobes.",
        "No peribronchial thickening was observed.",
    ),
    "Consolidation": (
        "A consolidation area is present in the left lower lobe.",
        "No consolidation was observed.",
    ),
    "Bronchiectasis": (
        "Tubular bronchiectasis is observed in the middle lobe.",
        "Bronchiectasis was not observed.",
    ),
    "Interlobular septal thickening": (
        "There is interlobular septal thickening in both lungs.",
        "Interlobular septal thickening was not detected.",
    ),
}


@pytest.fixture(scope="module")
def labeler() -> CtRate18:
    return CtRate18(CtRate18Config())


def found(labeler: CtRate18, text: str) -> set[str]:
    return {labeler.names[i] for i in np.flatnonzero(labeler.label([text])[0])}


def cleaned(text: str) -> str:
    """The text as tokens of a model that was trained on cleaned reports."""
    sentences = [re.sub(r"[.,?:]", "", part) for part in text.lower().split(". ")]
    return " . ".join(sentences) + " ."


@pytest.mark.parametrize("label", CT_RATE_LABELS)
def test_stated_finding_is_positive_and_denied_one_is_not(labeler: CtRate18, label: str) -> None:
    stated, denied = PAIRS[label]
    assert found(labeler, stated) == {label}
    assert found(labeler, denied) == set()
    assert [item.positive for item in labeler.evidence(denied) if item.label == label] == [False]


@pytest.mark.parametrize("seed", range(5))
def test_report_of_mixed_sentences_is_read_raw_and_cleaned(labeler: CtRate18, seed: int) -> None:
    rng = np.random.default_rng(seed)
    wanted = {label for label in CT_RATE_LABELS if rng.random() < 0.3}
    order = rng.permutation(len(CT_RATE_LABELS))
    report = " ".join(PAIRS[CT_RATE_LABELS[i]][CT_RATE_LABELS[i] not in wanted] for i in order)
    assert found(labeler, report) == wanted
    assert found(labeler, report.upper()) == wanted
    assert found(labeler, cleaned(report)) == wanted


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("No pleural effusion, but consolidation is seen in the left lung.", {"Consolidation"}),
        ("There is cardiomegaly, no pericardial effusion.", {"Cardiomegaly"}),
        ("Nodules are seen in both lungs and no pleural effusion was detected.", {"Lung nodule"}),
        (
            "No mass is seen in the lungs, and there is a small left pleural effusion.",
            {"Pleural effusion"},
        ),
        ("Apart from a 5 mm nodule, no lesion was detected in both lungs.", {"Lung nodule"}),
        ("There is no significant change in the nodule in the left lung.", {"Lung nodule"}),
        ("Pleural effusion seen in the previous scan was not observed in the current scan.", set()),
        ("Consolidation that was not present in the previous examination.", {"Consolidation"}),
        ("Lymph nodes that do not reach pathological size are seen.", {"Lymphadenopathy"}),
        ("Lungs are clear without nodule or consolidation.", set()),
        ("A 20 mm hypodense nodule is observed in the thyroid gland.", set()),
        ("A 4.5 mm nodule is seen. 3.1 cm mass in the liver.", {"Lung nodule"}),
        (
            "Calcific plaques are seen in the aorta and coronary arteries.",
            {"Arterial wall calcification", "Coronary artery wall calcification"},
        ),
        ("Emphysema: none. Pleura: no effusion.", set()),
        ("Calcified plaques are seen in the abdominal aorta.", set()),
        (
            "Calcified plaques are seen in the arch and the abdominal aorta.",
            {"Arterial wall calcification"},
        ),
        (
            "Dilatation of the aorta, calcific plaques in the coronary arteries.",
            {"Coronary artery wall calcification"},
        ),
        ("A density increase is observed in the lower lobe of the left lung.", {"Lung opacity"}),
        ("Pleuroparenchymal density increases in both apices.", {"Pulmonary fibrotic sequela"}),
        ("The catheter that was seen in the previous study was removed.", set()),
        ("The left lower lobe is collapsed.", {"Atelectasis"}),
    ],
)
def test_negation_reaches_its_own_findings_only(
    labeler: CtRate18, text: str, labels: set[str]
) -> None:
    assert found(labeler, text) == labels


def test_doubted_finding_follows_the_setting(labeler: CtRate18) -> None:
    strict = CtRate18(CtRate18Config(uncertain="negative"))
    for text in (
        "Possible consolidation in the left lower lobe.",
        "Mosaic attenuation? Clinical correlation.",
    ):
        assert len(found(labeler, text)) == 1
        assert found(strict, text) == set()
    assert found(strict, "Consolidation is seen. Findings suggest infection.") == {"Consolidation"}
    assert strict.signature != labeler.signature


def test_evidence_points_at_its_sentence_and_explains_every_label(labeler: CtRate18) -> None:
    text = ' "  '.join(stated for stated, _ in PAIRS.values()) + "\n• No nodule."
    evidence = labeler.evidence(text)
    assert all(text[item.start : item.end] == item.sentence for item in evidence)
    assert {item.label for item in evidence if item.positive} == found(labeler, text)


@settings(max_examples=100, deadline=None)
@given(
    st.lists(
        st.sampled_from([s for pair in PAIRS.values() for s in pair]) | st.text(max_size=40),
        max_size=6,
    ).map(" ".join)
)
def test_any_text_has_the_labels_that_its_evidence_states(labeler: CtRate18, text: str) -> None:
    evidence = labeler.evidence(text)
    assert all(text[item.start : item.end] == item.sentence for item in evidence)
    assert {item.label for item in evidence if item.positive} == found(labeler, text)


def test_empty_texts_have_no_label(labeler: CtRate18) -> None:
    labels = labeler.label(["", " . ", "\n", "?"])
    assert labels.shape == (4, 18)
    assert labels.dtype == np.int8
    assert not labels.any()
    assert labeler.label([]).shape == (0, 18)


@pytest.mark.parametrize("phrase", ["no nodule but effusion not seen, ", "No nodule was seen. "])
def test_a_report_of_100000_words_takes_time_in_proportion(labeler: CtRate18, phrase: str) -> None:
    def seconds(words: int) -> float:
        text = phrase * (words // len(phrase.split()))
        start = time.process_time()
        labeler.evidence(text + "The end is a pleural effusion.")
        return time.process_time() - start

    short = seconds(10_000)
    assert seconds(100_000) < 40 * short + 0.5  # quadratic growth would be a factor of 100


def test_topics_that_are_denied_in_other_words_are_mentioned(labeler: CtRate18) -> None:
    text = "The heart size is normal. Mediastinal lymph nodes are within normal limits."
    assert found(labeler, text) == set()
    topics = {item.label for item in labeler.evidence(text)}
    assert topics == {"Cardiomegaly", "Lymphadenopathy"}


def test_rules_of_ones_own_are_read_and_mistakes_are_named(tmp_path: Path) -> None:
    import yaml

    from ctfw_plugins.labelers import ct_rate_18

    source = Path(ct_rate_18.__file__).with_name("ct_rate_18.yaml")
    data = yaml.safe_load(source.read_text("utf-8"))
    own = tmp_path / "own.yaml"
    data["labels"]["Emphysema"]["include"].append(r"\bblister\w*")
    own.write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")
    assert found(CtRate18(CtRate18Config(rules=own)), "Blisters in both lungs.") == {"Emphysema"}

    data["labels"]["Emphysema"]["include"].append("(open")
    own.write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")
    with pytest.raises(BadData, match=r"own\.yaml: 'Emphysema': '\(open' is not a regular"):
        CtRate18(CtRate18Config(rules=own))
    del data["labels"]["Emphysema"]
    own.write_text(yaml.safe_dump(data, sort_keys=False), "utf-8")
    with pytest.raises(BadData, match="not the 18 of ct-rate-18: check Emphysema"):
        CtRate18(CtRate18Config(rules=own))
    with pytest.raises(BadData, match="cannot read the rules"):
        CtRate18(CtRate18Config(rules=tmp_path / "absent.yaml"))
    with pytest.raises(BadData, match="'sentence_end' must be a list"):
        RuleSet({}, "x.yaml")


@pytest.mark.realdata
def test_reports_of_another_hospital_are_labelled(labeler: CtRate18, real_data: Path) -> None:
    examples = json.loads((real_data / "radeval_golden/ct_label_examples.json").read_text())
    emphysema = found(labeler, examples["SAMPLE_ATHEROSCLEROSIS_EMPHYSEMA"])
    assert {"Arterial wall calcification", "Emphysema"} <= emphysema
    assert not {"Lung nodule", "Pleural effusion", "Cardiomegaly"} & emphysema
    assert found(labeler, examples["SAMPLE_CARDIOMEGALY_OPACITY"]) == {
        "Cardiomegaly",
        "Lymphadenopathy",
        "Bronchiectasis",
        "Atelectasis",
    }
    # The third example's nodule label has no sentence; the rest of it is clear.
    assert found(labeler, examples["SAMPLE_ATHEROSCLEROSIS_NODULE"]) == {
        "Arterial wall calcification",
        "Coronary artery wall calcification",
    }
    golden = json.loads((real_data / "radeval_golden/radbert_ct_golden.json").read_text())
    got = [np.flatnonzero(row).tolist() for row in labeler.label(golden["texts"])]
    assert got == golden["positive_label_indices_of_18"]
