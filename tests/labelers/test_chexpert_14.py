"""What `chexpert-14` promises, on sentences written for these tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ctfw.labels import CHEXPERT_LABELS
from ctfw_plugins.labelers.chexpert_14 import Chexpert14
from ctfw_plugins.labelers.configs import Chexpert14Config

# observation -> (a sentence that states it, one that doubts it, one that denies it)
TRIPLES = {
    "Enlarged Cardiomediastinum": (
        "The mediastinum is widened.",
        "Possible widening of the mediastinum.",
        "The mediastinum is not widened.",
    ),
    "Cardiomegaly": (
        "The heart is moderately enlarged.",
        "The cardiac silhouette may be enlarged.",
        "The heart is not enlarged.",
    ),
    "Lung Opacity": (
        "Hazy opacities in both bases.",
        "Questionable opacity at the left base.",
        "No focal opacity.",
    ),
    "Lung Lesion": (
        "A 2 cm nodule in the right upper lobe.",
        "Suspected mass in the right hilum.",
        "No pulmonary nodules.",
    ),
    "Edema": (
        "Moderate pulmonary edema.",
        "Findings suggest mild edema.",
        "No overt pulmonary edema.",
    ),
    "Consolidation": (
        "Consolidation in the left lower lobe.",
        "Early consolidation is possible.",
        "Without focal consolidation.",
    ),
    "Pneumonia": (
        "Left lower lobe pneumonia.",
        "Pneumonia cannot be excluded.",
        "No evidence of pneumonia.",
    ),
    "Atelectasis": (
        "Bibasilar atelectasis.",
        "Findings may represent atelectasis.",
        "There is no atelectasis.",
    ),
    "Pneumothorax": (
        "Small left apical pneumothorax.",
        "Pneumothorax?",
        "No pneumothorax is seen.",
    ),
    "Pleural Effusion": (
        "Small right pleural effusion.",
        "A small effusion is suspected.",
        "No pleural effusion.",
    ),
    "Pleural Other": (
        "Biapical pleural thickening.",
        "Possible pleural thickening.",
        "No pleural thickening.",
    ),
    "Fracture": (
        "Healed fractures of the right ribs.",
        "Possible fracture of the eighth rib.",
        "No acute fracture.",
    ),
    "Support Devices": (
        "The endotracheal tube ends above the carina.",
        "Possible retained wire.",
        "No central line is present.",
    ),
}
R2GEN = Chexpert14(Chexpert14Config())
F1CHEXBERT = Chexpert14(Chexpert14Config(convention="f1chexbert"))


def found(labeler: Chexpert14, text: str) -> set[str]:
    return {labeler.names[i] for i in np.flatnonzero(labeler.label([text])[0])}


@pytest.mark.parametrize("name", TRIPLES)
def test_stated_doubted_and_denied_follow_the_convention(name: str) -> None:
    stated, doubted, denied = TRIPLES[name]
    clear = {"No Finding"} if name == "Support Devices" else set()
    for labeler in (R2GEN, F1CHEXBERT):
        assert found(labeler, stated) == {name} | clear
        assert found(labeler, denied) == {"No Finding"}
    assert found(R2GEN, doubted) == clear
    assert found(F1CHEXBERT, doubted) == {name} | clear
    assert [item.positive for item in R2GEN.evidence(doubted)] == [False]
    assert [item.positive for item in F1CHEXBERT.evidence(doubted)] == [True]


def test_every_observation_but_no_finding_is_tested_and_in_order() -> None:
    assert ("No Finding", *TRIPLES) == CHEXPERT_LABELS == R2GEN.names
    assert R2GEN.signature.endswith("|r2gen|uncertain:negative")
    assert F1CHEXBERT.signature.endswith("|f1chexbert|uncertain:positive")


def test_no_finding_needs_a_text_and_no_stated_or_doubted_observation() -> None:
    normal = (
        "The heart size is normal. The mediastinal contours are unremarkable. The lungs are clear. "
        "No pleural effusion or pneumothorax. No acute bony abnormality."
    )
    assert found(R2GEN, normal) == {"No Finding"}
    topics = {item.label for item in R2GEN.evidence(normal)}
    assert {"Cardiomegaly", "Enlarged Cardiomediastinum", "Lung Opacity"} <= topics
    assert not R2GEN.label(["", " . ", "\n"]).any()
    assert found(R2GEN, "Possible early pneumonia.") == set()


@pytest.mark.parametrize(
    ("text", "stated", "doubted"),
    [
        ("Right basilar opacity, atelectasis versus pneumonia.", {"Lung Opacity"},
         {"Atelectasis", "Pneumonia"}),
        ("Cardiomegaly with possible small effusion.", {"Cardiomegaly"}, {"Pleural Effusion"}),
        ("Pericardial effusion. Lungs are clear.", {"No Finding"}, set()),
        ("Interval resolution of pulmonary edema.", {"No Finding"}, set()),
        ("Compression fracture with collapse of the vertebral body.", {"Fracture"}, set()),
        ("Kerley B lines consistent with edema.", {"Edema"}, set()),
        ("Nipple shadow simulating a nodule is not seen. Fractured sternal wires.",
         {"Support Devices", "No Finding"}, set()),
    ],
)  # fmt: skip
def test_scope_and_look_alikes(text: str, stated: set[str], doubted: set[str]) -> None:
    assert found(R2GEN, text) == stated
    assert found(F1CHEXBERT, text) == stated | doubted


@pytest.mark.realdata
def test_published_examples_get_their_evident_labels(real_data: Path) -> None:
    workload = json.loads((real_data / "radeval_golden/speed_workload.json").read_text())
    first = [found(F1CHEXBERT, item["ref"]) for item in workload[:8]]
    assert first == [
        {"No Finding"},
        {"Cardiomegaly", "Pleural Effusion"},
        {"No Finding"},
        {"Atelectasis"},
        {"Edema"},
        {"Consolidation", "Pneumonia"},
        {"Pneumothorax"},
        {"No Finding"},
    ]
