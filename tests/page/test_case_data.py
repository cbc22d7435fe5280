"""What the case browser gets from cases.jsonl."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ctfw.page.cases import browser_data, filter_labels, key_slice, printed_cases
from ctfw.page.records import CaseRecord, ReportStage

SQUARE = [[1, 1], [5, 1], [5, 5], [1, 5]]
SMALL = [[1, 1], [2, 1], [2, 2]]


def stage(folder: Path, **fields: object) -> ReportStage:
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.arange(240, dtype=np.uint8).reshape(24, 10)).save(folder / "a.png")
    record = {"case": "a", "image": "a.png", "slices": 4, "size": [10, 6]} | fields
    return ReportStage("test", folder, None, (CaseRecord.model_validate(record),))


def lesion(outlines: dict[str, object]) -> dict[str, object]:
    return {"label": "Lung nodule", "size_mm": 12.4, "side": "right", "outlines": outlines}


def test_one_polygon_and_a_list_of_polygons_are_both_read(tmp_path: Path) -> None:
    test = stage(tmp_path, lesions=[lesion({"1": SQUARE, "2": [SMALL, SMALL]})], pixel_mm=[2, 3])
    (case,) = browser_data(test)["cases"]
    outlines = case["lesions"][0]["outlines"]
    assert outlines["1"] == ["2.0,3.0 10.0,3.0 10.0,15.0 2.0,15.0"]
    assert len(outlines["2"]) == 2
    assert (case["width"], case["height"]) == (20, 18)


def test_browser_opens_where_the_lesion_is_largest(tmp_path: Path) -> None:
    test = stage(tmp_path, lesions=[lesion({"1": SMALL, "3": SQUARE, "2": SMALL})])
    assert key_slice(test.cases[0]) == 3
    assert browser_data(test)["cases"][0]["lesions"][0]["best"] == 3


def test_printed_slice_is_cut_from_the_sprite(tmp_path: Path) -> None:
    import base64
    import io

    test = stage(tmp_path, lesions=[lesion({"3": SQUARE})])
    (case,) = printed_cases(test)
    content = base64.b64decode(case["picture"].split(",")[1])
    with Image.open(io.BytesIO(content)) as picture:
        expected = np.arange(240, dtype=np.uint8).reshape(24, 10)[18:24]
        np.testing.assert_array_equal(np.asarray(picture), expected)


def test_findings_say_where_a_label_stands(tmp_path: Path) -> None:
    test = stage(
        tmp_path,
        labels=["Lung nodule", "Hiatal hernia"],
        generated_labels=["Lung nodule", "Cardiomegaly"],
        lesions=[lesion({}), lesion({}) | {"size_mm": None}],
    )
    cases = browser_data(test)["cases"]
    assert cases[0]["findings"] == [
        {"label": "Lung nodule", "verdict": "agree", "detail": "12 mm, right; right"},
        {"label": "Hiatal hernia", "verdict": "missed", "detail": ""},
        {"label": "Cardiomegaly", "verdict": "hallucinated", "detail": ""},
    ]
    assert filter_labels(cases) == ["Cardiomegaly", "Hiatal hernia", "Lung nodule"]


def test_text_that_was_not_split_is_shown_whole(tmp_path: Path) -> None:
    test = stage(tmp_path, reference="One. Two.", generated="   ")
    (case,) = browser_data(test)["cases"]
    assert [sentence["text"] for sentence in case["reference"]] == ["One. Two."]
    assert case["generated"] == []


def test_same_picture_is_embedded_once(tmp_path: Path) -> None:
    negative = {"kind": "swap", "case": "b", "image": "a.png", "labels": []}
    test = stage(tmp_path, negative=negative)
    data = browser_data(test)
    assert len(data["images"]) == 1
    assert data["cases"][0]["negative"]["what"] == "another patient's image (b)"


@pytest.mark.parametrize("size", [[10, 7], None, [99, 99]])
def test_size_that_does_not_fit_the_picture_is_taken_from_it(
    tmp_path: Path, size: list[int] | None
) -> None:
    (case,) = browser_data(stage(tmp_path, size=size))["cases"]
    assert (case["width"], case["height"]) == (10, 6)


def test_unknown_verdict_marks_nothing(tmp_path: Path) -> None:
    sentences = [{"text": "x", "findings": [["Lung nodule", True]], "verdict": "onclick"}]
    (case,) = browser_data(stage(tmp_path, reference_sentences=sentences))["cases"]
    assert case["reference"] == [{"text": "x", "verdict": "", "labels": ["Lung nodule"]}]
