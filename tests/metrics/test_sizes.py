"""Sizes read off a text, and coverage by size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ctfw.errors import BadData
from ctfw.scoring.assess import with_labels
from ctfw.types import Case, CaseTable, Lesion, Prediction, Scores
from ctfw_plugins.labelers.configs import CtRate18Config
from ctfw_plugins.labelers.ct_rate_18 import CtRate18
from ctfw_plugins.metrics.configs import CoverageBySizeConfig, CoverageConfig
from ctfw_plugins.metrics.coverage import Coverage
from ctfw_plugins.metrics.coverage_by_size import BINS, CoverageBySize, bin_of
from ctfw_plugins.metrics.sizes import sizes_mm


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a 4.6 mm nodule", [4.6]),
        ("a 4,6 mm nodule", [4.6]),
        ("12x9 mm", [12]),
        ("12 x 9 x 8 mm", [12]),
        ("9\u00d712mm", [12]),
        ("1.2 cm", [12]),
        ("2 cm x 15 mm", [20]),
        ("15 mm by 2 cm", [20]),
        ("0.8 x 1.2 cm.", [12]),
        ("nodules of 5 mm, 7 mm and 1 cm", [5, 7, 10]),
        ("3-5 mm nodules", [5]),
        ("3 to 5 millimeters", [5]),
        ("a 5-mm nodule", [5]),
        ("2 millimetre, 1.5 centimeters", [2, 15]),
        ("measures 8 mm (previously 6 mm)", [8]),
        ("13x10 mm in size and 9 HU", [13]),
        ("43 mm, above normal", [43]),
    ],
)
def test_sizes_are_read_in_millimetres(text: str, expected: list[float]) -> None:
    assert [size.mm for size in sizes_mm(text)] == pytest.approx(expected)


@pytest.mark.parametrize(
    "text",
    [
        "millimetric nodules",
        "series 3, image 45",
        "an area of 3 mm2, 12 mm\u00b3 or 4 cm^3",
        "3 cm above the carina",
        "25 mm from the carina, 2.2 cm proximal to it",
        "5 mm slice thickness; slice thickness of 5 mm; 5 mm thick sections",
        "6.8 mm in the previous examination",
        "5 mm in diameter in the previous examination; previously measured 4 mm",
        "T5 and T7, 16.03.2016, -50 HU, 0 mm",
        "",
    ],
)
def test_other_lengths_and_numbers_are_no_sizes(text: str) -> None:
    assert list(sizes_mm(text)) == []


@pytest.mark.parametrize("text", ["<3 mm", "(< 3 mm)", "less than 3 mm", "smaller than 0.3 cm"])
def test_a_bound_falls_below_its_number(text: str) -> None:
    (size,) = sizes_mm(text)
    assert size.mm == pytest.approx(3)
    assert bin_of(size.mm) == 0


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.floats(0.1, 999).map(lambda v: round(v, 1)), min_size=1, max_size=3),
    st.sampled_from([" x ", "x", " by ", "*"]),
    st.sampled_from([("mm", 1.0), ("cm", 10.0), ("millimeters", 1.0), ("centimetre", 10.0)]),
    st.booleans(),
)
def test_the_largest_dimension_counts(
    numbers: list[float], join: str, unit: tuple[str, float], comma: bool
) -> None:
    text = f"lesion of {join.join(map(str, numbers))} {unit[0]} in the lung"
    (size,) = sizes_mm(text.replace(".", ",") if comma else text)
    assert size.mm == pytest.approx(max(numbers) * unit[1])


def test_sizes_in_a_report_of_100000_words_are_read_at_once() -> None:
    import time

    start = time.process_time()
    for phrase in ("5 mm x ", "1,1,", "mm ", "3 to "):
        list(sizes_mm(phrase * 100_000))
    assert time.process_time() - start < 10


@pytest.mark.parametrize(
    ("mm", "name"),
    [(2.9, "under-3mm"), (3, "3-6mm"), (5.9, "3-6mm"), (6, "6-10mm"), (10, "6-10mm"),
     (10.1, "over-10mm"), (None, "of-no-size")],
)  # fmt: skip
def test_bins_have_the_edges_that_are_documented(mm: float | None, name: str) -> None:
    assert BINS[bin_of(mm)] == name


LABELER = CtRate18(CtRate18Config())


def scored(pairs: list[tuple[str, str]], cases: CaseTable | None = None, **settings: Any) -> Scores:
    rows = [Prediction(f"c{i}", f"p{i}", g, r) for i, (g, r) in enumerate(pairs)]
    metric = CoverageBySize(CoverageBySizeConfig(**settings))
    return metric.score(with_labels(rows, LABELER), cases, LABELER.names)


def test_text_sizes_come_from_the_sentences_that_state_the_finding() -> None:
    nodule = "A nodule is seen in the right lung."
    scores = scored(
        [
            (nodule, "A 2 mm nodule is seen in the left lung. The aorta is 41 mm."),
            ("No nodule.", "Nodules of 4 mm and 8 mm are seen in both lungs."),
            (nodule, "Millimetric nodules are seen in both lungs."),
            ("", "Calcified plaques are seen in the wall of the aorta, which is 41 mm wide."),
            (nodule, "No nodule above 5 mm was seen."),
        ]
    )
    assert scores.values["coverage-under-3mm"] == 1
    assert np.isnan(scores.values["coverage-3-6mm"])
    assert scores.values["coverage-6-10mm"] == 0
    assert scores.values["findings-over-10mm"] == 0
    assert scores.values["findings-of-no-size"] == 2  # the millimetric nodules, the plaques
    assert "sizes:text" in scores.protocol
    assert scores.notes == (
        "findings by size: 1 under-3mm, 0 3-6mm, 1 6-10mm, 0 over-10mm, 2 of-no-size",
    )


def lesions(*sizes: float) -> tuple[Lesion, ...]:
    return tuple(Lesion("Lung nodule", (0, 0, 0), size) for size in sizes)


def test_data_set_sizes_are_those_of_the_largest_lesion() -> None:
    stated = "A nodule is seen in the right lung."
    cases = CaseTable(
        (
            Case("c0", "p0", Path("x"), stated, lesions=lesions(2, 7)),
            Case("c1", "p1", Path("x"), stated, lesions=lesions(12)),
            Case("c2", "p2", Path("x"), stated),
        )
    )
    pairs = [(stated, stated), ("", stated), (stated, stated)]
    scores = scored(pairs, cases)
    assert "sizes:dataset" in scores.protocol
    assert scores.values["coverage-6-10mm"] == 1
    assert scores.values["coverage-over-10mm"] == 0
    assert scores.values["findings-of-no-size"] == 1
    assert "sizes:text" in scored(pairs, cases, sizes="text").protocol
    with pytest.raises(BadData, match="needs a data set with a table of lesions"):
        scored(pairs, sizes="dataset")


def test_bins_add_up_to_coverage() -> None:
    rng = np.random.default_rng(0)
    names = ("Lung nodule", "Emphysema", "Atelectasis")
    rows = [Prediction(f"c{i}", f"p{i}", "x", "x", *(rng.random((2, 3)) < 0.5)) for i in range(60)]
    cases = CaseTable(
        tuple(
            Case(row.case, row.patient, Path("x"), "x", lesions=lesions(*rng.uniform(1, 15, 2)))
            for row in rows
        ),
        names,
    )
    values = CoverageBySize(CoverageBySizeConfig()).score(rows, cases, names).values
    counts = [values[f"findings-{name}"] for name in BINS]
    found = [values[f"coverage-{name}"] * n for name, n in zip(BINS, counts, strict=True) if n]
    assert min(counts[1:]) > 0
    pooled = Coverage(CoverageConfig()).score(rows, cases, names).values["coverage"]
    assert sum(found) / sum(counts) == pytest.approx(pooled)


def test_without_a_source_of_sizes_the_signature_says_so() -> None:
    rows = [Prediction("a", "a", "x", "x", np.ones(18), np.ones(18))]
    scores = CoverageBySize(CoverageBySizeConfig()).score(rows)
    assert "sizes:nobody" in scores.protocol
    assert scores.values["findings-of-no-size"] == 18
    with pytest.raises(BadData, match="needs a labeler that says which sentences"):
        CoverageBySize(CoverageBySizeConfig(sizes="text")).score(rows)
