"""Files: what is missing, empty, or left out by the data set."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ctfw.doctor.files import check


def test_files_that_are_there_are_ok(
    look: Any, make_scene: Any, make_case: Any, write_scan: Callable[..., Path]
) -> None:
    cases = [make_case(name, image=write_scan(f"{name}.nii.gz")) for name in "abc"]
    findings = look(check, make_scene(cases))
    assert [found.level for found in findings] == ["ok"]


def test_missing_and_empty_files_are_counted_by_split(
    look: Any, make_scene: Any, make_case: Any, write_scan: Callable[..., Path], tmp_path: Path
) -> None:
    hollow = tmp_path / "hollow.nii.gz"
    hollow.touch()
    cases = [make_case(name, image=write_scan(f"{name}.nii.gz")) for name in "abc"]
    cases += [make_case("gone", "test"), make_case("hollow", image=hollow)]
    findings = look(check, make_scene(cases))
    missing = findings.the("missing")
    assert (missing.level, missing.names) == ("warning", ("gone",))
    assert "(test 1)" in missing.text
    assert findings.the("empty").names == ("hollow",)


def test_most_files_missing_is_a_problem(look: Any, make_scene: Any, make_case: Any) -> None:
    findings = look(check, make_scene([make_case("a"), make_case("b")]))
    assert findings.the("missing").level == "problem"


def test_every_view_of_a_study_is_looked_for(
    look: Any, make_scene: Any, make_case: Any, write_scan: Callable[..., Path], tmp_path: Path
) -> None:
    views = (write_scan("front.nii.gz"), tmp_path / "side.nii.gz")
    study = make_case("study", image=views[0], views=views)
    assert look(check, make_scene([study])).the("missing").names == ("study",)


def test_an_empty_folder_counts_as_empty(
    look: Any, make_scene: Any, make_case: Any, tmp_path: Path
) -> None:
    (tmp_path / "series").mkdir()
    findings = look(check, make_scene([make_case("a", image=tmp_path / "series")]))
    assert findings.the("empty").names == ("a",)


def test_what_the_data_set_leaves_out_is_told_with_its_reason(
    look: Any, make_scene: Any, make_case: Any, write_scan: Callable[..., Path]
) -> None:
    case = make_case("a", image=write_scan("a.nii.gz"))
    left_out = {"without a report": ("x", "y"), "whose file is missing": ()}
    findings = look(check, make_scene([case], left_out=left_out))
    found = findings.the("without a report")
    assert (found.level, found.names) == ("warning", ("x", "y"))
    assert "2 cases" in found.text
    assert len(findings) == 2


def test_a_few_left_out_of_many_are_a_note(
    look: Any, make_scene: Any, make_case: Any, write_scan: Callable[..., Path]
) -> None:
    image = write_scan("a.nii.gz")
    cases = [make_case(str(i), image=image) for i in range(200)]
    findings = look(check, make_scene(cases, left_out={"that show no chest": ("x",)}))
    assert findings.the("no chest").level == "note"
