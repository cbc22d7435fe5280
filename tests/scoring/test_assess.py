"""One assessment for a stage of a run and for a file: floors, reliance, labels, cases."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctfw.component import Block
from ctfw.errors import BadData
from ctfw.plugins import load_plugins
from ctfw.runs.files import clean
from ctfw.scoring.assess import Assessment, as_json, assess, with_labels
from ctfw.scoring.facts import fingerprint, generation_facts, most_frequent, per_case_csv
from ctfw.scoring.likelihood import ReferenceNLL, marks
from ctfw.scoring.row_labels import ROW_LABELS
from ctfw.types import Case, Prediction

REPORTS = {
    "effusion": "Pleural effusion is observed. No lung nodule was detected.",
    "nodule": "A lung nodule is observed. No pleural effusion was detected.",
    "both": "Pleural effusion is observed. A lung nodule is observed.",
    "none": "No pleural effusion was detected. No lung nodule was detected.",
}


def built(kind: str, name: str) -> Any:
    component = load_plugins().catalog.get(kind, name)
    return component.load()(Block(component, component.config()).settings, None)


@pytest.fixture(scope="module")
def labeler() -> Any:
    return built("labeler", "ct-rate-18")


@pytest.fixture(scope="module")
def metrics() -> dict[str, Any]:
    return {name: built("metric", name) for name in ("bleu", "coverage", "accuracy")}


def predicted(texts: Sequence[str], **changes: Any) -> list[Prediction]:
    """Texts by key for references that go through all four reports, three times each."""
    keys = list(REPORTS) * 3
    return [
        Prediction(f"c{i}", f"p{i // 2}", REPORTS.get(text, text), REPORTS[key], **changes)
        for i, (key, text) in enumerate(zip(keys, texts, strict=True))
    ]


@pytest.fixture(scope="module")
def train() -> list[Case]:
    return [Case(f"t{i}", f"t{i}", Path("x"), text) for i, text in enumerate(REPORTS.values())]


@pytest.fixture(scope="module")
def perfect(metrics: dict[str, Any], labeler: Any, train: list[Case]) -> Assessment:
    own = predicted(list(REPORTS) * 3)
    other = predicted(["none"] * 12)
    nll = {"own": np.full(12, 1.0), "another": np.arange(12.0), "blank": np.full(12, 1.5)}
    return assess(own, metrics, labeler, train, other, nll, resamples=100)


def test_rows_are_model_swap_and_floors(perfect: Assessment) -> None:
    kinds = {row.name: row.kind for row in perfect.table.rows}
    floors = (
        "constant", "frequent", "random", "all-negative", "all-positive", "label-prior",
    )  # fmt: skip
    assert kinds == {"model": "model", "another-image": "reliance"} | dict.fromkeys(
        floors, "floor"
    ) | {"nearest": "oracle"}
    assert list(kinds) == [name for name in ROW_LABELS if name in kinds]


def test_perfect_reports_score_one_and_gain_all(perfect: Assessment) -> None:
    assert perfect.value("macro-f1") == 1.0
    assert perfect.value("bleu-4") == pytest.approx(1.0)
    assert perfect.value("macro-f1", "another-image") == 0.0
    assert perfect.grounded_gain is not None
    assert perfect.grounded_gain.value == 1.0
    assert perfect.value("coverage", "all-positive") == 1.0
    assert perfect.value("coverage", "all-negative") == 0.0


def test_likelihood_is_other_minus_own(perfect: Assessment) -> None:
    assert set(perfect.likelihood) == {"another", "blank"}
    assert perfect.likelihood["another"].value == pytest.approx(4.5)
    blank = perfect.likelihood["blank"]
    assert (blank.value, blank.low, blank.high) == (0.5, 0.5, 0.5)


def test_labels_are_told_for_both_images(perfect: Assessment) -> None:
    rows = {row["name"]: row for row in perfect.labels}
    assert len(rows) == 18
    assert rows["Lung nodule"]["coverage"] == 1.0
    assert rows["Lung nodule"]["coverage_another"] == 0.0
    assert rows["Lung nodule"]["support"] == 6


def test_json_can_be_written_and_names_its_rows(perfect: Assessment) -> None:
    facts = json.loads(json.dumps(clean(as_json(perfect))))
    assert (facts["cases"], facts["patients"]) == (12, 6)
    labels = {row["name"]: row["label"] for row in facts["table"]["rows"]}
    assert labels == {name: ROW_LABELS[name] for name in labels}
    assert len(labels) == 9
    assert facts["labeler"].startswith("ct-rate-18|")
    assert facts["reliance"]["grounded_gain"]["value"] == 1.0


def test_csv_has_a_row_per_case(perfect: Assessment) -> None:
    rows = list(csv.DictReader(io.StringIO(per_case_csv(perfect))))
    assert [row["case"] for row in rows] == [f"c{i}" for i in range(12)]
    assert [float(row["nll-another"]) for row in rows] == list(range(12))
    assert all(row["finish"] == "stop" for row in rows)
    assert len(rows[0]) > 5


def test_csv_marks_synthetic_data_and_guards_ids(perfect: Assessment) -> None:
    first = replace(perfect.predictions[0], case="=1+1", patient="@SUM(A1)")
    named = replace(perfect, predictions=[first, *perfect.predictions[1:]])
    rows = list(csv.DictReader(io.StringIO(per_case_csv(named, synthetic=True))))
    assert (rows[0]["case"], rows[0]["patient"]) == ("'=1+1", "'@SUM(A1)")
    assert rows[1]["case"] == "c1"
    assert {row["synthetic"] for row in rows} == {"1"}
    assert "synthetic" not in per_case_csv(perfect)


def test_csv_has_likelihoods_by_group_where_tokens_are_known(labeler: Any) -> None:
    text = "A lung nodule is seen. No pleural effusion."
    spans = np.array([[0, 22], [22, 42], [42, 43], [43, 43]])
    made = [Prediction("a", "a", "x", text), Prediction("b", "b", "x", text)]
    values = {"own": np.array([1.0, 2.0, 3.0, 4.0]), "noise": np.array([4.0, 2.0, 2.0, 0.0])}
    tokens = ReferenceNLL(
        {name: [each, each] for name, each in values.items()}, [marks(text, spans, labeler)] * 2
    )
    found = assess(made, {}, labeler, tokens=tokens, resamples=100)
    (row, _) = csv.DictReader(io.StringIO(per_case_csv(found)))
    assert (row["nll-own"], row["nll-noise"]) == ("2.5", "2.0")
    assert (row["positive-nll-own"], row["positive-nll-noise"]) == ("1.0", "4.0")
    assert (row["negative-nll-own"], row["sided-nll-own"]) == ("2.5", "nan")


def test_image_without_any_likelihood_has_no_column(metrics: dict[str, Any], labeler: Any) -> None:
    nll = {"own": np.full(12, np.nan), "another": np.full(12, np.nan)}
    found = assess(predicted(["none"] * 12), metrics, labeler, nll=nll, resamples=100)
    assert "nll-" not in per_case_csv(found)


def test_reports_under_another_image_are_paired_by_case(
    metrics: dict[str, Any], labeler: Any, train: list[Case], perfect: Assessment
) -> None:
    own, other = predicted(list(REPORTS) * 3), predicted(["none", "nodule", "both"] * 4)
    expected = assess(own, metrics, labeler, train, other, resamples=100)
    found = assess(own, metrics, labeler, train, other[::-1], resamples=100)
    assert found.grounded_gain == expected.grounded_gain
    assert [p.case for p in found.another] == [p.case for p in own]


@pytest.mark.parametrize("cut", ["own", "another"])
def test_reports_of_other_cases_are_refused_with_the_file(
    cut: str, metrics: dict[str, Any], labeler: Any
) -> None:
    own, other = predicted(list(REPORTS) * 3), predicted(["none"] * 12)
    given = (own[:6], other) if cut == "own" else (own, other[:6])
    files = ("predictions.jsonl", "predictions.another.jsonl")
    lacks, whole = files if cut == "own" else files[::-1]
    with pytest.raises(BadData) as caught:
        assess(given[0], metrics, labeler, (), given[1], resamples=100)
    assert str(caught.value) == (
        f"{lacks} lacks 6 of the 12 cases of {whole}, the first is 'c6': it was cut, or is of "
        "another run. Bring it back from a copy, or remove predictions.another.jsonl to score "
        "without that image"
    )


def test_likelihoods_of_other_cases_are_refused(metrics: dict[str, Any], labeler: Any) -> None:
    nll = {"own": np.ones(12), "another": np.ones(12)}
    with pytest.raises(BadData, match=r"likelihoods \(nll-own\) of 12 cases and predictions.jsonl"):
        assess(predicted(["none"] * 12)[:6], metrics, labeler, nll=nll, resamples=100)


def test_without_training_reports_the_table_says_so(metrics: dict[str, Any], labeler: Any) -> None:
    found = assess(predicted(["none"] * 12), metrics, labeler, resamples=100)
    names = [row.name for row in found.table.rows]
    assert names == ["model", "all-negative", "all-positive"]
    assert found.grounded_gain is None
    assert found.likelihood == {}
    assert found.table.notes[-1] == (
        "no text floors: the reports of the training split were not given (--train FILE)"
    )


def test_without_a_labeler_texts_are_still_scored(metrics: dict[str, Any]) -> None:
    found = assess(predicted(["both"] * 12), {"bleu": metrics["bleu"]}, None, resamples=100)
    assert 0 < found.value("bleu-1") < 1
    assert found.labels == []
    assert found.labeler == ""


def test_same_seed_gives_the_same_intervals(
    metrics: dict[str, Any], labeler: Any, train: list[Case]
) -> None:
    own, other = predicted(["both", "nodule", "none"] * 4), predicted(["none", "both"] * 6)
    tables = [
        as_json(assess(own, metrics, labeler, train, other, resamples=100, seed=seed))
        for seed in (1, 1, 2)
    ]
    texts = [json.dumps(clean(table)) for table in tables]
    assert texts[0] == texts[1]
    assert texts[0] != texts[2]


def test_one_labeler_reads_both_texts(labeler: Any) -> None:
    given = predicted(["nodule"] * 12, labels=np.ones(18), reference_labels=np.ones(18))
    made = with_labels(given, labeler)
    names = list(labeler.names)
    assert made[0].labels is not None
    assert [names[i] for i in np.flatnonzero(made[0].labels)] == ["Lung nodule"]
    assert [names[i] for i in np.flatnonzero(made[0].reference_labels)] == ["Pleural effusion"]  # type: ignore[arg-type]
    assert with_labels(given, None) == given
    assert with_labels([], labeler) == []


def test_oracle_binds_no_score(metrics: dict[str, Any], labeler: Any, train: list[Case]) -> None:
    found = assess(predicted(["both"] * 12), metrics, labeler, train, resamples=100)
    assert found.value("macro-f1", "nearest") == 1.0
    assert found.value("macro-f1") > found.value("macro-f1", "constant")
    row = found.table.row("model")
    floors = [r.cell("macro-f1").value for r in found.table.rows if r.kind == "floor"]
    assert row.cell("macro-f1").below_floor == (row.cell("macro-f1").value < max(floors))


def test_reports_under_further_images_have_rows_and_gains(
    metrics: dict[str, Any], labeler: Any, train: list[Case]
) -> None:
    own = predicted(list(REPORTS) * 3)
    found = assess(
        own, metrics, labeler, train, predicted(["none"] * 12), resamples=100,
        others={"mirrored": own, "noise": predicted(["both"] * 12)},
    )  # fmt: skip
    assert [row.name for row in found.table.rows][:4] == [
        "model", "another-image", "mirrored-image", "noise-image",
    ]  # fmt: skip
    assert {row.kind for row in found.table.rows[1:4]} == {"reliance"}
    assert found.gains["another"].value == 1.0
    assert found.gains["mirrored"] == (0, 0, 0)
    assert found.grounded_gain == found.gains["another"]
    assert found.value("macro-f1", "noise-image") == pytest.approx(1 - found.gains["noise"].value)


def test_generation_facts_count_what_went_wrong() -> None:
    texts = ["a", "a", "", "  ", "b", "c"]
    ends = ["stop", "length", "stop", "missing", "length", "timeout"]
    base = predicted(["none"] * 12)[:6]
    made = [replace(p, generated=t, finish=e) for p, t, e in zip(base, texts, ends, strict=True)]
    assert generation_facts(made) == {
        "of": 6, "truncated": 2, "missing": 1, "failed": 1, "empty": 2, "distinct": 5,
        "distinct_references": 4, "empty_references": 0, "top_sentence": "a",
        "top_sentence_share": 0.5, "top_sentence_reports": 2 / 6,
        "top_sentence_reports_references": 3 / 6,
    }  # fmt: skip


def test_most_frequent_sentence_counts_once_per_report_and_apart_from_case() -> None:
    texts = ["Heart normal. Heart  normal.", "heart normal. A cyst.", "A cyst seen."]
    assert most_frequent(texts) == ("heart normal.", 3 / 5, 2 / 3)
    assert most_frequent(["", "..."]) == ("", None, None)
    assert most_frequent([]) == ("", None, None)


def test_fingerprint_is_that_of_cases_and_references_not_of_texts() -> None:
    one = predicted(["both"] * 12)
    assert fingerprint(one) == fingerprint(predicted(["none"] * 12)[::-1])
    assert fingerprint(one) != fingerprint(one[:-1])
    assert fingerprint(one) != fingerprint([replace(one[0], reference="other"), *one[1:]])
    assert fingerprint(one) != fingerprint([replace(one[0], patient="other"), *one[1:]])
