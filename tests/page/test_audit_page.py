"""The page of an audit says what was measured, says what was not, and can be read."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contrast import CONTRAST
from fabricate_audit import fabricate_audit, make_audit
from fabricate_scores import make_scores

from ctfw.errors import UserError
from ctfw.page.audit import AuditFile, Finding, build_audit_page, finding_rows, image_rows
from ctfw.page.canvas import standalone
from ctfw.page.drawings import save_drawings
from ctfw.page.records import ScoreFile, TokenGroup
from ctfw.page.reliance_figures import image_dots
from ctfw.page.view import number

Opener = Callable[..., Any]


@pytest.fixture(scope="module")
def audit_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_audit_page(fabricate_audit(tmp_path_factory.mktemp("audit") / "a"))


def test_page_shows_headlines_images_labels_words_and_floors(audit_page: Path) -> None:
    text = audit_page.read_text(encoding="utf-8")
    for words in (
        "The image is used.", "another patient&#39;s image", "left and right exchanged",
        "sentences that state a finding", "best constant report", "phantom, 120 cases of 80",
        "in 71 %", "117 of 120 are distinct", "step-000900", "Fails if",
    ):  # fmt: skip
        assert words in text, words
    assert "This page says nothing about patients." in text
    assert "ends as failed" not in text
    assert "<b>nodule" not in text
    assert 'title="+2.50 nats"' in text


def test_row_of_an_image_holds_what_was_measured_with_it() -> None:
    rows = {row["name"]: row for row in image_rows(AuditFile.model_validate(make_audit()))}
    assert list(rows) == [
        "own image", "another patient's image", "left and right exchanged", "slices shuffled",
        "blank image", "noise",
    ]  # fmt: skip
    own, another = rows["own image"], rows["another patient's image"]
    assert own["macro_f1"].value == 0.612
    assert own["gain"] is None
    assert [cell.value for cell in own["nll"]] == pytest.approx([0.12, 0.264, 0.048])
    assert another["macro_f1"].value == 0.204
    assert another["gain"].value == 0.408
    assert [cell.value for cell in another["nll"]] == pytest.approx([0.152, 0.3344, 0.0608])
    assert rows["left and right exchanged"]["decoding"].distinct == 3
    assert rows["noise"]["decoding"] is None


def test_labels_are_ordered_by_how_often_they_are_stated() -> None:
    findings = [Finding.model_validate(row) for row in make_audit()["reliance"]["findings"]]
    rows = finding_rows([*findings[2:], *findings[:2]])
    assert [row["label"] for row in rows] == ["Lung nodule", "Hiatal hernia"]
    assert rows[0]["stated"].another == 0.92
    assert rows[1]["stated"] is None


def test_failed_audit_says_why(tmp_path: Path) -> None:
    reason = "grounded_gain < 0.1: grounded_gain is 0.020 [−0.010, 0.050]"
    text = build_audit_page(fabricate_audit(tmp_path, failed=[reason])).read_text()
    assert "This audit ends as failed." in text
    assert reason.replace("<", "&lt;") in text


def test_audit_without_sentences_and_labels_has_a_page(tmp_path: Path) -> None:
    bare = {"reliance": {"likelihood": {"noise": {"value": 0.3}}}, "labels": [], "by_image": {}}
    folder = fabricate_audit(tmp_path, **bare)
    (folder / "words.jsonl").unlink()
    text = build_audit_page(folder).read_text()
    assert "There are no scores by label." in text
    assert "The words that need the image" not in text
    assert "Not measured in this run." in text


def test_audit_that_has_not_ended_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"holds no audit\.json"):
        build_audit_page(tmp_path)
    (tmp_path / "audit.json").write_text('{"cases": "many"}')
    with pytest.raises(UserError, match=r"audit\.json does not fit"):
        build_audit_page(tmp_path)


def test_drawings_stand_alone_and_say_what_they_are(tmp_path: Path) -> None:
    paths = save_drawings(tmp_path, make_scores())
    assert [path.name for path in paths] == ["coverage.svg", "nll.svg"]
    for path in paths:
        text = path.read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)
        assert root.tag.endswith("svg")
        assert "var(" not in text
        assert "font-family=" in text
        said = "".join(root.itertext())
        assert "Synthetic phantoms" in said
        assert "another patient's image" in said
    assert "With the own image, nats per token: stating a finding 0.26" in " ".join(
        said.split("\n")
    )


def test_drawings_of_real_data_are_not_marked_and_empty_ones_not_written(tmp_path: Path) -> None:
    (path,) = save_drawings(tmp_path, {"labels": make_scores()["labels"], "synthetic": False})
    assert path.name == "coverage.svg"
    assert "Synthetic" not in path.read_text()
    assert save_drawings(tmp_path, {"cases": 3}) == []


def test_drawing_is_as_large_as_its_viewbox(tmp_path: Path) -> None:
    picture = image_dots(ScoreFile.model_validate(make_scores()).reliance.groups)
    assert picture is not None
    root = ElementTree.fromstring(standalone(picture, "a note"))
    left, top, width, height = map(float, root.attrib["viewBox"].split())
    assert (root.attrib["width"], root.attrib["height"]) == (f"{width:g}pt", f"{height:g}pt")
    ground = next(element for element in root if element.tag.endswith("rect"))
    assert float(ground.attrib["y"]) == top < left


def test_figure_of_images_names_every_value() -> None:
    groups = ScoreFile.model_validate(make_scores()).reliance.groups
    picture = image_dots(groups)
    assert picture is not None
    assert "another patient's image: stating a finding 0.33, all tokens 0.15" in picture.alt
    assert re.findall(r"#[0-9a-f]{6}\b(?!00)", picture.svg.replace("#ffffff", "")) == []
    assert image_dots({}) is None
    assert image_dots({"all": TokenGroup()}) is None


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (-0.004, 2, "0.00"),
        (-0.006, 2, "−0.01"),
        (-0.0, 3, "0.000"),
        (0.1, 2, "0.10"),
        (None, 3, "–"),
    ],
)
def test_zero_has_no_minus(value: float | None, digits: int, text: str) -> None:
    assert number(value, digits) == text


def test_values_of_small_gaps_stand_clear_of_the_line_of_no_change() -> None:
    def more(value: float) -> dict[str, Any]:
        return {"more": {"value": value, "low": value - 0.01, "high": value + 0.01}}

    values = {"another": 0.02, "mirrored": -0.001, "noise": 3.9, "blank": -0.03}
    images = {name: more(value) for name, value in values.items()}
    picture = image_dots({"all": TokenGroup.model_validate({"images": images})})
    assert picture is not None
    texts = re.findall(r'x="([\d.]+)"[^>]*>(−?\d[\d.]*)</text>', picture.svg)
    places = {text: float(x) for x, text in texts if "." in text}
    line = next(float(x) for x, text in texts if text == "0")
    assert set(places) == {"0.02", "0.00", "3.90", "−0.03"}
    assert all(place > line + 5 for place in places.values())


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_audit_page_is_quiet_and_has_enough_contrast(
    open_page: Opener, audit_page: Path, scheme: str
) -> None:
    page = open_page(audit_page, color_scheme=scheme)
    assert page.evaluate(CONTRAST) == []


@pytest.mark.browser
@pytest.mark.parametrize("width", [360, 768, 1440])
def test_audit_page_is_never_wider_than_its_window(
    open_page: Opener, audit_page: Path, width: int
) -> None:
    page = open_page(audit_page, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
