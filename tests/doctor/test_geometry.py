"""Geometry: what headers say of length, width and the distance of slices."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import ctfw.doctor.headers
from ctfw.doctor.geometry import check
from ctfw.doctor.headers import outliers

Write = Callable[..., Path]


@pytest.fixture
def scans(make_case: Any, write_scan: Write) -> Callable[..., list[Any]]:
    """Cases whose files have these (z, y, x) shapes and spacings."""

    def make(**grids: Any) -> list[Any]:
        return [
            make_case(name, image=write_scan(f"{name}.nii.gz", shape, spacing))
            for name, (shape, spacing) in grids.items()
        ]

    return make


CHEST = ((60, 64, 64), (5.0, 5.0, 5.0))


def test_chests_are_ok_and_their_ranges_told(look: Any, make_scene: Any, scans: Any) -> None:
    cases = scans(a=CHEST, b=((100, 64, 64), (3.0, 5.5, 5.5)))
    findings = look(check, make_scene(cases))
    assert findings.bad == []
    rows = {row[0]: row[1:] for row in findings.the("headers read").table}
    assert rows["slices"] == ("60", "62", "80", "98", "100")
    assert rows["length, feet to head (mm)"] == ("300", "300", "300", "300", "300")
    assert rows["width (mm)"] == ("320", "322", "336", "350", "352")
    assert findings.the("distance of slices in mm").text.endswith("2 to 3: 50 %, 3 to 5: 50 %")


@pytest.mark.parametrize(
    ("grid", "words", "told"),
    [
        (((20, 64, 64), (5.0, 5.0, 5.0)), "length outside 150 to 600 mm", "odd (100 mm)"),
        (((200, 64, 64), (5.0, 5.0, 5.0)), "length outside 150 to 600 mm", "odd (1000 mm)"),
        (((60, 32, 32), (5.0, 5.0, 5.0)), "width outside 200 to 550 mm", "odd (160 mm)"),
        (((40, 64, 64), (8.0, 5.0, 5.0)), "distance of slices outside 0.3 to", "odd (8 mm)"),
        (((700, 8, 8), (0.25, 40.0, 40.0)), "cannot be used", ""),
    ],
)
def test_what_cannot_be_a_chest_is_named(
    grid: Any, words: str, told: str, look: Any, make_scene: Any, scans: Any
) -> None:
    findings = look(check, make_scene(scans(a=CHEST, b=CHEST, odd=grid)))
    assert [found.level for found in findings.bad] == ["warning"]
    found = findings.the(words)
    assert len(found.names) == 1
    assert found.names[0].startswith(told or "odd: ")


def test_headers_that_cannot_be_read_are_listed_as_a_run_would(
    look: Any, make_scene: Any, make_case: Any, scans: Any, tmp_path: Path
) -> None:
    junk = tmp_path / "junk.nii.gz"
    junk.write_bytes(b"no scan at all")
    cases = [*scans(a=CHEST, b=CHEST), make_case("junk", image=junk)]
    found = look(check, make_scene(cases)).the("cannot be used")
    assert found.level == "warning"
    assert "1 of 3 scans" in found.text
    assert found.names[0].startswith(f"junk: {junk}: ")
    assert look(check, make_scene(cases[1:] + cases[2:])).the("cannot").level == "problem"


def test_a_crash_of_a_reader_does_not_quote_the_header(
    look: Any, make_scene: Any, scans: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene(scans(a=CHEST))

    def crash(path: Path, case: Any) -> None:
        raise KeyError("MUELLER^ANNA")

    monkeypatch.setattr(scene.pipeline, "slices", crash)
    (found,) = look(check, scene)
    assert "KeyError at test_geometry.py" in found.names[0]
    assert "MUELLER" not in str(found)


def test_fewer_slices_than_the_recipe_takes_are_a_warning(
    look: Any, make_scene: Any, scans: Any
) -> None:
    cases = scans(a=CHEST, thick=((9, 64, 64), (20.0, 5.0, 5.0)))
    steps = "data.preprocess=[{use: slices, count: 10}]"
    found = look(check, make_scene(cases, steps)).the("fewer than the 10 slices")
    assert found.names == ("thick (9)",)
    resampled = "data.preprocess=[{use: resample, spacing_mm: [1, 1, 2]}, {use: slices, count: 91}]"
    found = look(check, make_scene(cases, resampled)).the("fewer than the 91 slices")
    assert found.names == ("thick (90)",)


def test_what_lies_far_from_the_others_is_a_note(look: Any, make_scene: Any, scans: Any) -> None:
    grids = {f"c{i}": ((60 + i % 3, 64, 64), (5.0, 5.0, 5.0)) for i in range(24)}
    cases = scans(**grids, far=((118, 64, 64), (5.0, 5.0, 5.0)))
    findings = look(check, make_scene(cases))
    found = findings.the("far from the others in length")
    assert (found.level, found.names) == ("note", ("far (590)",))
    assert findings.bad == []


def test_number_of_headers_is_limited_and_spread_over_each_split(
    look: Any, make_scene: Any, make_case: Any, write_scan: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = write_scan("a.nii.gz")
    cases = [make_case(str(i), "train" if i < 50 else "test", image=image) for i in range(60)]
    read: list[str] = []
    whole = ctfw.doctor.headers._read

    def noting(pipeline: Any, case: Any) -> Any:
        read.append(case.id)
        return whole(pipeline, case)

    monkeypatch.setattr(ctfw.doctor.headers, "_read", noting)
    findings = look(check, make_scene(cases, scans=3))
    assert sorted(read, key=int) == ["0", "24", "49", "50", "54", "59"]
    assert "6 of 60 headers read" in findings.the("headers read").text
    read.clear()
    look(check, make_scene(cases, scans=0))
    assert len(read) == 60


def test_studies_of_views_are_not_judged_as_chest_cts(
    look: Any, make_scene: Any, make_case: Any, write_scan: Write
) -> None:
    view = write_scan("view.nii.gz", (1, 64, 64), (1.0, 1.0, 1.0))
    study = make_case("s", image=view, views=(view, view))
    findings = look(check, make_scene([study, make_case("p", image=view)]))
    assert findings.bad == []
    assert "2 cases are pictures" in findings[0].text


def test_outliers_match_the_published_rule() -> None:
    # Modified z by hand: logs 0, 0, 0, 1, 3 around a median of 0 with a MAD of 0.02 (the floor).
    assert outliers(np.exp([0.0, 0.0, 0.0, 1.0, 3.0])).tolist() == [False] * 3 + [True] * 2
    # Logs 1..9 and 20: median 5.5, MAD 2.5, and 0.6745 x 14.5 / 2.5 = 3.9 is above 3.5.
    assert outliers(np.exp([*range(1, 10), 20.0])).tolist() == [False] * 9 + [True]


@given(st.lists(st.floats(0.1, 1000), min_size=1, max_size=30), st.floats(0.01, 100))
def test_outliers_do_not_depend_on_the_unit(values: list[float], factor: float) -> None:
    scaled = outliers([value * factor for value in values])
    z = np.abs(np.log(values) - np.median(np.log(values)))
    near = np.isclose(0.6745 * z / max(np.median(z), 0.02), 3.5)
    assert (scaled == outliers(values))[~near].all()
