"""The page in headless Chromium: quiet, self-contained, and usable by keyboard alone."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from contrast import CONTRAST
from fabricate import fabricate

from ctfw.page import build_page

pytestmark = pytest.mark.browser

Opener = Callable[..., Any]


def text(page: Any, role: str) -> str:
    return str(page.locator(f"[data-role={role}]").inner_text())


def until(page: Any, condition: Callable[[], bool]) -> None:
    """Wait for it at most five seconds. (The page's policy forbids playwright's own waiting.)"""
    for _ in range(100):
        if condition():
            return
        page.wait_for_timeout(50)
    pytest.fail("waited for five seconds in vain")


def on_top(page: Any) -> str:
    """The part of the sprite that is in view, in per cent of its height."""
    return str(page.locator("[data-role=own-image]").evaluate("image => image.style.transform"))


def test_arrow_keys_move_slices_and_cases(open_page: Opener, run_page: Path) -> None:
    page = open_page(run_page)
    page.locator("[data-role=viewer]").focus()
    first = text(page, "title")
    start = int(text(page, "place").split()[1])
    page.keyboard.press("ArrowUp")
    assert int(text(page, "place").split()[1]) == start - 1
    assert on_top(page) == f"translateY({-10 * (start - 2)}%)"
    same = page.locator("[data-role=other-image]").evaluate("image => image.style.transform")
    assert same == on_top(page)  # the negative scrolls along
    for _ in range(20):
        page.keyboard.press("ArrowDown")
    assert text(page, "place").startswith("Slice 10 of 10\nz −260.5 mm")
    page.keyboard.press("ArrowRight")
    second = text(page, "title")
    assert second != first
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert text(page, "title") == first


def test_everything_can_be_reached_and_worked_by_tab(open_page: Opener, run_page: Path) -> None:
    page = open_page(run_page)
    reached = set()
    for _ in range(120):
        page.keyboard.press("Tab")
        reached.add(
            page.evaluate(
                "() => { const e = document.activeElement;"
                " return e.dataset.role ?? (e.getAttribute('aria-current') ? 'entry' :"
                " e.classList.contains('linked') ? 'linked' : e.tagName) }"
            )
        )
    wanted = {"filter", "entry", "viewer", "next", "slice", "toggle", "zoom", "linked", "SUMMARY"}
    assert wanted <= reached


def test_focus_is_visible(open_page: Opener, run_page: Path) -> None:
    page = open_page(run_page)
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    style = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert style == "solid"


def test_outlines_are_toggled_by_key_and_button(open_page: Opener, run_page: Path) -> None:
    page = open_page(run_page)
    outlines, button = page.locator("[data-role=outlines]"), page.locator("[data-role=toggle]")
    assert outlines.locator("polygon").count() > 0
    assert outlines.is_visible()
    page.locator("[data-role=viewer]").press("l")
    assert not outlines.is_visible()
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    assert outlines.is_visible()


def test_outline_lies_on_the_image(open_page: Opener, run_page: Path) -> None:
    page = open_page(run_page)
    boxes = [page.locator(f"[data-role={r}]").bounding_box() for r in ("outlines", "own-frame")]
    for side in ("x", "y", "width", "height"):
        assert boxes[0][side] == pytest.approx(boxes[1][side], abs=7)  # the frame's border
    image = page.locator("[data-role=own-image]").bounding_box()
    assert image["height"] == pytest.approx(10 * boxes[0]["height"], rel=0.01)


def test_wheel_scrolls_slices_and_lets_the_page_go_on_at_the_end(
    open_page: Opener, run_page: Path
) -> None:
    page = open_page(run_page)
    page.locator("[data-role=own-frame]").scroll_into_view_if_needed()
    page.locator("[data-role=slice]").fill("8")
    page.locator("[data-role=own-frame]").hover()
    before = page.evaluate("scrollY")
    page.mouse.wheel(0, 120)
    until(page, lambda: page.locator("[data-role=slice]").input_value() == "9")
    assert page.evaluate("scrollY") == before
    page.wait_for_timeout(350)
    page.mouse.wheel(0, -120)
    until(page, lambda: page.locator("[data-role=slice]").input_value() == "8")
    page.locator("[data-role=slice]").fill("9")
    page.wait_for_timeout(350)
    page.mouse.wheel(0, 120)
    until(page, lambda: page.evaluate("scrollY") > before)


def test_click_zooms_both_images_around_the_same_point(open_page: Opener, run_page: Path) -> None:
    page = open_page(run_page)
    page.locator("[data-role=own-frame]").click(position={"x": 60, "y": 90})
    layers = page.locator(".frame.zoomed .layer")
    assert layers.count() == 2
    origins = layers.evaluate_all("all => all.map(layer => layer.style.transformOrigin)")
    assert origins[0] == origins[1] != "50% 50%"
    page.locator("[data-role=viewer]").press("z")
    assert page.locator(".frame.zoomed").count() == 0


def test_finding_leads_to_the_slice_of_its_lesion(open_page: Opener, run_page: Path) -> None:
    page = open_page(run_page)
    finding = page.locator("[data-role=reference] .linked").first
    page.locator("[data-role=slice]").fill("0")
    finding.hover()
    lit = page.locator("[data-role=ticks] .lit")
    assert lit.count() > 0
    finding.focus()
    page.keyboard.press("Enter")
    assert int(page.locator("[data-role=slice]").input_value()) > 0
    assert page.locator("polygon.lit").count() > 0
    page.locator("h1").hover()
    page.locator("h1").click()
    assert lit.count() == 0


def test_filter_keeps_the_cases_that_it_names(open_page: Opener, run_page: Path) -> None:
    page = open_page(run_page)
    entries, choice = page.locator("[data-role=list] li"), page.locator("[data-role=filter]")
    assert entries.count() == 8
    choice.select_option("label:Pleural effusion")
    kept = entries.count()
    assert 0 < kept < 8
    assert text(page, "count") == f"{kept} of 8 cases"
    for place in range(kept):
        entries.nth(place).locator("button").click()
        assert "Pleural effusion" in text(page, "findings")
    choice.select_option("conflict")
    for place in range(entries.count()):
        entries.nth(place).locator("button").click()
        assert page.locator(".texts .say.conflict").count() > 0


def test_marks_have_a_symbol_beside_the_colour(open_page: Opener, run_page: Path) -> None:
    page = open_page(run_page)
    signs = {"agree": "✓", "missed": "○", "conflict": "≠", "hallucinated": "+"}
    for verdict, sign in signs.items():
        marks = page.locator(f".legend .say.{verdict} .sign")
        assert marks.first.inner_text() == sign
    marked = page.locator(".texts .say[class*=agree]").first
    assert marked.locator(".sign").inner_text() == "✓"
    assert "(agrees)" in marked.text_content()


def test_report_text_cannot_run_a_script(open_page: Opener, tmp_path: Path) -> None:
    nasty = (
        "</script><script>document.title='hit'</script><img src=x onerror=\"document.title='hit'\">"
    )
    folder = fabricate(tmp_path / "run", cases=1, reports={0: nasty})
    page = open_page(build_page(folder))
    assert page.title() == "ours-heter (synthetic data) · report of a ctfw run"
    assert text(page, "generated") == nasty
    assert page.locator("img[src=x]").count() == 0


@pytest.mark.parametrize("kind", ["no cases", "no scores", "empty folder"])
def test_page_with_little_in_it_is_quiet(open_page: Opener, tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "run"
    if kind == "empty folder":
        folder.mkdir()
    else:
        fabricate(folder, cases=0, scores=kind == "no cases", state="failed")
    page = open_page(build_page(folder))
    assert "No case was kept for browsing." in page.locator("#cases").inner_text()
    assert page.locator(".browser").count() == 0


@pytest.mark.parametrize("width", [390, 768, 1280, 1440])
def test_page_is_never_wider_than_its_window(open_page: Opener, run_page: Path, width: int) -> None:
    page = open_page(run_page, width=width)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_enough_contrast(open_page: Opener, run_page: Path, scheme: str) -> None:
    """WCAG 2.1: 4.5 to 1 between a text and what lies behind it."""
    page = open_page(run_page, color_scheme=scheme)
    assert page.evaluate(CONTRAST) == []


def test_paper_shows_cases_and_the_recipe_but_no_controls(
    open_page: Opener, run_page: Path
) -> None:
    page = open_page(run_page)
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.locator(".printed .row:visible").count() == 6
    assert page.locator("button:visible, select:visible, input:visible").count() == 0
    assert page.get_by_text("min_label_distance: 10").is_visible()
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.locator("details[open]").count() == 0


def test_without_scripts_the_cases_stand_as_rows(open_page: Opener, run_page: Path) -> None:
    page = open_page(run_page, java_script_enabled=False)
    assert page.locator(".printed .row").first.is_visible()
    assert not page.locator(".browser").is_visible()
