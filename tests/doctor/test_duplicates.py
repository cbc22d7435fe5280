"""Duplicates: equal images are found whatever their names, and nothing else is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import ctfw.doctor.duplicates
from ctfw.doctor.duplicates import check, equal_images


def test_a_copy_in_another_split_is_a_problem(
    look: Any, make_scene: Any, make_case: Any, write_scan: Callable[..., Path], tmp_path: Path
) -> None:
    first = write_scan("a.nii.gz", value=1)
    copy = tmp_path / "copy.nii.gz"
    shutil.copyfile(first, copy)
    cases = [
        make_case("a", image=first),
        make_case("b", image=write_scan("b.nii.gz", value=2)),
        make_case("c", "test", image=copy),
    ]
    findings = look(check, make_scene(cases))
    assert [each.level for each in findings] == ["problem"]
    assert findings[0].names == ("a (train) = c (test)",)


def test_copies_within_a_split_are_a_warning_that_tells_of_different_reports(
    look: Any, make_scene: Any, make_case: Any, write_scan: Callable[..., Path]
) -> None:
    image = write_scan("a.nii.gz")
    cases = [make_case("a", image=image), make_case("b", image=image)]
    findings = look(check, make_scene(cases))
    assert [each.level for each in findings] == ["warning"]
    assert "1 case too many" in findings[0].text
    assert "different reports" in findings[0].text


def test_scans_of_one_size_and_other_content_are_no_duplicates(
    look: Any, make_scene: Any, make_case: Any, write_scan: Callable[..., Path]
) -> None:
    paths = [write_scan(f"{i}.nii", value=i) for i in range(4)]
    assert len({path.stat().st_size for path in paths}) == 1
    cases = [make_case(path.stem, image=path) for path in paths]
    assert [each.level for each in look(check, make_scene(cases))] == ["ok"]


def test_files_that_differ_between_the_pieces_looked_at_first_are_told_apart(
    make_case: Any, tmp_path: Path
) -> None:
    content = bytearray(100_000)
    one, other, copy = (tmp_path / name for name in ("one.nii", "other.nii", "copy.nii"))
    one.write_bytes(content)
    copy.write_bytes(content)
    content[20_000] = 1
    other.write_bytes(content)
    groups = equal_images([make_case(p.stem, image=p) for p in (one, other, copy)])
    assert [[case.id for case in group] for group in groups] == [["one", "copy"]]


def test_only_likely_copies_are_read_as_a_whole(
    make_case: Any, write_scan: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def identity(path: Path) -> str:
        read.append(path)
        return path.read_bytes().hex()

    monkeypatch.setattr(ctfw.doctor.duplicates, "source_identity", identity)
    paths = [write_scan(f"{i}.nii", value=min(i, 3)) for i in range(5)]
    groups = equal_images([make_case(path.stem, image=path) for path in paths])
    assert [[case.id for case in group] for group in groups] == [["3", "4"]]
    assert sorted(path.stem for path in read) == ["3", "4"]


def test_folders_are_compared_by_their_files(make_case: Any, tmp_path: Path) -> None:
    for folder, last in (("one", b"x"), ("other", b"y"), ("copy", b"x")):
        (tmp_path / folder).mkdir()
        for name, content in (("1.dcm", b"1"), ("2.dcm", b"2"), ("3.dcm", last)):
            (tmp_path / folder / name).write_bytes(content * 10)
    cases = [make_case(name, image=tmp_path / name) for name in ("one", "other", "copy")]
    assert [[c.id for c in group] for group in equal_images(cases)] == [["one", "copy"]]


def test_missing_files_are_left_to_the_check_of_files(make_case: Any, tmp_path: Path) -> None:
    cases = [make_case(name, image=tmp_path / name) for name in ("a", "b")]
    assert equal_images(cases) == []


def test_a_view_that_two_studies_share_is_found_once(
    make_case: Any, write_scan: Callable[..., Path]
) -> None:
    front, side = write_scan("front.nii.gz", value=1), write_scan("side.nii.gz", value=2)
    cases = [make_case(name, image=front, views=(front, side)) for name in ("a", "b")]
    assert [[case.id for case in group] for group in equal_images(cases)] == [["a", "b"]]
