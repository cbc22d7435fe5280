"""A page comes out of every run directory, and says what is not there."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from fabricate import fabricate
from PIL import Image

from ctfw.errors import UserError
from ctfw.page import build_page
from ctfw.page.pictures import PICTURE_BUDGET, Pictures
from ctfw.page.reading import read_run


class Links(HTMLParser):
    """Every address in a page, and its ids."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.ids: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                self.addresses.append(value or "")
            if name == "id" and value and tag not in ("path", "clippath", "clipPath"):
                self.ids.append(value)


def page_of(folder: Path) -> str:
    return build_page(folder).read_text(encoding="utf-8")


def test_finished_run_shows_scores_floors_and_synthetic_banner(run_page: Path) -> None:
    text = run_page.read_text(encoding="utf-8")
    assert (
        "Trained and tested on synthetic phantoms. This page says nothing about patients." in text
    )
    assert "The image is used." in text
    assert "Above every floor; the best is all labels positive (0.381)." in text
    assert "best constant report" in text
    assert "below floor" in text
    assert "12 times (" in text  # relaxations in words
    assert "3 min" not in text.split("Took")[1][:40]
    assert "5 min 28 s" in text


def test_page_of_real_data_has_no_synthetic_banner(tmp_path: Path) -> None:
    text = page_of(fabricate(tmp_path / "run", cases=1, synthetic=False))
    assert "says nothing about patients" not in text
    assert "not recorded" not in text


def test_page_refers_to_nothing_outside_itself(run_page: Path) -> None:
    links = Links(run_page.read_text(encoding="utf-8"))
    assert links.addresses
    assert all(address.startswith(("#", "data:")) for address in links.addresses)
    inner = {address[1:] for address in links.addresses if address.startswith("#")}
    assert {name for name in inner if name.startswith("protocol")} <= set(links.ids)
    assert len(links.ids) == len(set(links.ids))


def test_same_directory_gives_the_same_page(tmp_path: Path) -> None:
    folder = fabricate(tmp_path / "run", cases=2)
    first = build_page(folder, tmp_path / "one.html").read_bytes()
    assert first == build_page(folder, tmp_path / "two" / "two.html").read_bytes()
    assert not list(tmp_path.rglob("*.tmp"))


def test_run_without_negatives_and_warm_up_says_so(tmp_path: Path) -> None:
    text = page_of(fabricate(tmp_path / "run", cases=1, negatives="", warmup=False))
    assert "trained without negative images" in text
    assert "at its bound" not in text
    assert "Validation (see)" not in text


def test_failed_run_shows_its_error_and_what_is_missing(tmp_path: Path) -> None:
    folder = fabricate(tmp_path / "run", scores=False, state="failed", negatives="gauss")
    status = json.loads((folder / "status.json").read_text())
    trace = "Traceback (most recent call last):\n  File x\nValueError: the loss is nan"
    (folder / "status.json").write_text(json.dumps(status | {"error": trace}))
    text = page_of(folder)
    assert "This run failed." in text
    assert "ValueError: the loss is nan" in text
    assert "File x" not in text
    assert "Stage &#39;test&#39; of the recipe has left no files: it did not run." in text
    assert "There are no scores in this run." in text
    assert "No case was kept for browsing." in text
    assert "Loss (tune)" in text
    assert "The sampler drew 900 negatives." in text
    assert "Use of partners" not in text


def test_empty_directory_gets_a_page_that_lists_the_missing_files(tmp_path: Path) -> None:
    text = page_of(tmp_path)
    for name in ("resolved.yaml", "lock.json", "status.json"):
        assert f"{name} is missing." in text
    assert "No stage of this run has written a step log." in text


DAMAGE = [
    ("resolved.yaml", "a: [1", "resolved.yaml is not valid YAML"),
    ("lock.json", "[]", "lock.json cannot be read as a JSON mapping."),
    ("status.json", '{"state": ', "status.json cannot be read as a JSON mapping."),
    ("stages/tune/steps.jsonl", '{"step": 1, "posi', "tune/steps.jsonl: 1 unreadable line(s)"),
    ("stages/test/scores.json", '{"cases": "many"}', "test/scores.json does not fit: cases"),
    ("stages/test/scores.json", "\x00\xff", "test/scores.json cannot be read as JSON."),
    ("stages/test/cases.jsonl", '{"patient": "p"}\n', "1 case(s) do not fit and are left out"),
    ("stages/tune/negatives.json", '{"draws": []}', "tune/negatives.json does not fit: draws"),
]


@pytest.mark.parametrize(("file", "content", "note"), DAMAGE)
def test_damaged_file_becomes_a_note(tmp_path: Path, file: str, content: str, note: str) -> None:
    folder = fabricate(tmp_path / "run", cases=1)
    (folder / file).write_text(content, encoding="latin-1")
    assert any(note in told for told in read_run(folder).notes)


def test_directory_with_every_file_damaged_gets_a_page(tmp_path: Path) -> None:
    folder = fabricate(tmp_path / "run", cases=1)
    for file, content, _ in DAMAGE:
        (folder / file).write_text(content, encoding="latin-1")
    text = page_of(folder)
    assert "resolved.yaml is not valid YAML" in text
    assert "There are no scores in this run." in text


def test_killed_and_resumed_log_shows_each_step_once(tmp_path: Path) -> None:
    log = tmp_path / "stages" / "tune" / "steps.jsonl"
    log.parent.mkdir(parents=True)
    lines = [{"step": s, "positive": v} for s, v in ((1, 3.0), (2, 2.0), (3, 9.0), (3, 1.0))]
    log.write_text("\n".join(json.dumps(line) for line in lines) + '\n{"step": 4, "pos')
    (training,) = read_run(tmp_path).training
    assert [line["positive"] for line in training.steps] == [3.0, 2.0, 1.0]


def test_undefined_scores_are_dashes(tmp_path: Path) -> None:
    folder = fabricate(tmp_path / "run", cases=1)
    file = folder / "stages/test/scores.json"
    scores = json.loads(file.read_text())
    scores["reliance"] = {"grounded_gain": {"value": float("nan")}, "likelihood": {"noise": None}}
    file.write_text(json.dumps(scores))
    text = page_of(folder)
    assert ">nan" not in text.lower()
    assert text.count("Not measured in this run.") == 2


def test_model_that_repeats_itself_is_warned_about(tmp_path: Path) -> None:
    folder = fabricate(tmp_path / "run", cases=0)
    file = folder / "stages/test/scores.json"
    scores = json.loads(file.read_text())
    scores["generation"] |= {"distinct": 3}
    file.write_text(json.dumps(scores))
    text = page_of(folder)
    assert '<li class="warn"><span aria-hidden="true">▲</span> 3 distinct reports of 120' in text


def test_texts_with_markup_are_only_text(tmp_path: Path) -> None:
    nasty = "</script><script>document.title='hit'</script><img src=x onerror=alert()>"
    reports = {0: nasty, 1: "<!-- & ]]> \u2028 {{ 7*7 }}"}
    folder = fabricate(tmp_path / "run", cases=2, reports=reports)
    (folder / "resolved.yaml").write_text('name: "<b>x</b>"\nsummary: "<i>$y$</i>"\nstages: {}\n')
    text = page_of(folder)
    assert "<script>document.title" not in text
    assert "<img src=x" not in text
    assert "{{ 7*7 }}" in text
    assert "<b>x</b>" not in text
    assert "&lt;b&gt;x&lt;/b&gt;" in text
    assert "<i>$y$" not in text


def test_picture_outside_the_stage_is_not_embedded(tmp_path: Path) -> None:
    folder = fabricate(tmp_path / "run", cases=1)
    Image.fromarray(np.full((20, 10), 77, np.uint8)).save(tmp_path / "secret.png")
    (test,) = read_run(folder).tests
    pictures = Pictures(test.folder)
    assert pictures.add("../../../secret.png") == ""
    assert pictures.add(str(tmp_path / "secret.png")) == ""
    assert pictures.found == {}
    assert pictures.add("cases/p001_1.png") in pictures.uris()


def test_missing_and_broken_pictures_leave_the_texts(tmp_path: Path) -> None:
    folder = fabricate(tmp_path / "run", cases=2)
    sprites = sorted((folder / "stages/test/cases").iterdir())
    sprites[0].unlink()
    sprites[1].write_bytes(b"\x89PNG\r\n\x1a\n not a picture")
    text = page_of(folder)
    assert "The picture is missing." in text
    assert "Trachea and both main bronchi are open." in text


@pytest.mark.parametrize("noise", [False, True])
def test_page_with_24_cases_stays_below_6_megabytes(tmp_path: Path, noise: bool) -> None:
    folder = fabricate(tmp_path / "run", cases=24, slices=10, size=112)
    if noise:  # pictures that no lossless code makes smaller
        rng = np.random.default_rng(0)
        for sprite in (folder / "stages/test/cases").iterdir():
            Image.fromarray(rng.integers(0, 255, (1120, 112), np.uint8)).save(sprite)
        assert sum(p.stat().st_size for p in sprite.parent.iterdir()) > PICTURE_BUDGET
    page = build_page(folder)
    assert page.stat().st_size < 6_000_000
    assert ("data:image/webp" in page.read_text()) == noise


def test_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not a run directory"):
        build_page(tmp_path / "nowhere")


def test_page_that_cannot_be_written_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(UserError, match="cannot write"):
        build_page(tmp_path, tmp_path / "folder")
