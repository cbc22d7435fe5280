"""The reports: the image decides the findings, the template alone scores well in BLEU."""

from __future__ import annotations

import re
from typing import Any, Literal

import numpy as np
import pytest

from ctfw.labels import CT_RATE_LABELS
from ctfw.types import CaseTable
from ctfw_plugins.datasets.configs import PhantomConfig
from ctfw_plugins.datasets.phantom import Phantom
from ctfw_plugins.datasets.phantoms.prevalence import draw_labels, shares_for
from ctfw_plugins.datasets.phantoms.reports import join_sections, templates, write_report
from ctfw_plugins.datasets.phantoms.writer import generator
from ctfw_plugins.labelers.configs import CtRate18Config
from ctfw_plugins.labelers.ct_rate_18 import CtRate18

STYLES: tuple[Literal["full", "short"], ...] = ("full", "short")
PLACES = {
    "Medical material": ["port", "pacemaker", "sternotomy"],
    "Pulmonary fibrotic sequela": ["right apex", "left apex"],
    "Peribronchial thickening": ["both lungs"],
    "Mosaic attenuation pattern": ["both lungs"],
    "Interlobular septal thickening": ["both lungs"],
    "Pleural effusion": ["right", "left"],
}
LOBES = ["right upper lobe", "right lower lobe", "left upper lobe", "left lower lobe"]


def invented(labels: np.ndarray, rng: np.random.Generator) -> list[dict[str, Any]]:
    """A lesion table that fits the labels."""
    rows: list[dict[str, Any]] = []
    for name in np.array(CT_RATE_LABELS)[labels.astype(bool)]:
        choices = PLACES.get(str(name), LOBES)
        number = 1 if name == "Medical material" else int(rng.integers(1, 4))
        for place in rng.choice(choices, number):
            size = float(rng.integers(8, 31))
            side = str(place).split(" ")[0]
            side = side if side in ("right", "left") else ""
            rows.append({"label": name, "size_mm": size, "side": side, "place": str(place)})
    return rows


def report(index: int, labels: np.ndarray, style: str) -> tuple[str, str]:
    rows = invented(labels, generator(1, index, "lesions"))
    return write_report(labels, rows, style, CT_RATE_LABELS, generator(1, index, "words"))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("part", ["findings", "findings+impression"])
def test_label_extractor_finds_what_was_planted(style: str, part: str) -> None:
    shares = shares_for(np.ones(18, bool), 6.0)
    labels = np.array([draw_labels(shares, *[generator(i, n) for n in "ab"]) for i in range(300)])
    texts = [join_sections(*report(i, row, style), part) for i, row in enumerate(labels)]
    found = CtRate18(CtRate18Config()).label(texts)
    wrong = [
        (CT_RATE_LABELS[column], texts[row]) for row, column in np.argwhere(found != labels)[:3]
    ]
    assert not wrong


@pytest.mark.parametrize("style", STYLES)
def test_every_wording_carries_its_label_and_no_other(style: str) -> None:
    labeler = CtRate18(CtRate18Config())
    for entry in templates()[style]:
        name = entry.get("label", "")
        groups = entry.get("present", [])
        parts = groups.values() if isinstance(groups, dict) else [groups]
        wordings = [text for part in parts for text in part]
        for text, expected in [
            *((text, {name}) for text in wordings),
            *((text, set()) for text in entry.get("absent", []) + entry.get("say", [])),
        ]:
            filled = text.format(a="A", size="12", where="the right upper lobe", side="Bilateral")
            found = labeler.label([filled])[0].astype(bool)
            assert set(np.array(CT_RATE_LABELS)[found]) == expected, filled


def test_full_report_is_a_template_in_which_negatives_outweigh(phantoms: Phantom) -> None:
    negative, positive = 0, 0
    for case in phantoms.cases("train"):
        sentences = re.split(r"(?<=[.;]) ", case.findings)
        assert 15 <= len(sentences) <= 26
        assert case.labels is not None
        positive += int(case.labels.sum())
        negative += len(sentences) - int(case.labels.sum())
        assert case.report == f"Findings: {case.findings} Impression: {case.impression}"
    assert negative > 3 * positive


def test_short_report_speaks_of_planted_labels_alone(phantom_root: Any) -> None:
    planted = CT_RATE_LABELS[:12]
    labels = np.zeros(18, np.int8)
    labels[[2, 9]] = 1
    rows = invented(labels, generator(0, "rows"))
    findings, impression = write_report(labels, rows, "short", planted, generator(0, "w"))
    words = len(f"{findings} {impression}".split())
    assert 45 <= words <= 90
    assert "effusion" in findings, "pericardial effusion is planted"
    assert "pleural" not in findings.lower()
    assert "septal" not in findings
    assert len(findings.split(". ")) == 12 + 1


def test_report_says_side_lobe_and_size_of_the_lesion_table() -> None:
    labels = np.zeros(18, np.int8)
    nodule, effusion = CT_RATE_LABELS.index("Lung nodule"), CT_RATE_LABELS.index("Pleural effusion")
    labels[[nodule, effusion]] = 1
    for side, other in (("right", "left"), ("left", "right")):
        rows = [
            {"label": "Lung nodule", "size_mm": 18.0, "side": side, "place": f"{side} upper lobe"},
            {"label": "Lung nodule", "size_mm": 9.0, "side": other, "place": f"{other} lower lobe"},
            {"label": "Pleural effusion", "size_mm": 31.0, "side": other, "place": other},
        ]
        findings, impression = write_report(
            labels, rows, "full", CT_RATE_LABELS, generator(0, side)
        )
        assert "18 mm" in findings
        assert f"the {side} upper lobe" in findings
        assert "9 mm" not in findings
        assert f"{other.capitalize()}-sided pleural effusion" in findings
        assert "31 mm" in findings
        assert f"{other.capitalize()}-sided pleural effusion." in impression


def test_wording_varies_while_the_facts_stay() -> None:
    labels = np.zeros(18, np.int8)
    labels[CT_RATE_LABELS.index("Consolidation")] = 1
    rows = [{"label": "Consolidation", "size_mm": 60.0, "side": "left", "place": LOBES[3]}]
    texts = {
        write_report(labels, rows, "full", CT_RATE_LABELS, generator(0, i))[0] for i in range(20)
    }
    assert len(texts) > 10
    assert all("the left lower lobe" in text for text in texts)


def test_study_without_findings_has_a_normal_impression() -> None:
    _, impression = report(0, np.zeros(18, np.int8), "full")
    assert impression in templates()["impression"]["nothing"]


def test_one_constant_report_scores_well_in_bleu(phantoms: Phantom) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    train, test = phantoms.cases("train"), phantoms.cases("test")
    best = max(
        sacrebleu.corpus_bleu([text] * len(test), [test.reports]).score for text in train.reports
    )
    assert best > 25, "the floor that a model reaches without looking"
    assert best < 80, "and yet the reports differ"


def test_settings_choose_style_and_sections(phantoms: Phantom) -> None:
    def cases(**changes: Any) -> CaseTable:
        settings = phantoms.config.model_dump() | changes
        return Phantom(PhantomConfig(**settings)).cases("test")

    alone = cases(sections="findings")
    assert [case.report for case in alone] == [case.findings for case in alone]
    assert all("Impression:" not in text for text in alone.reports)
    short = cases(style="short")
    assert np.median([len(text.split()) for text in short.reports]) <= 100
    assert (short.labels == alone.labels).all()
