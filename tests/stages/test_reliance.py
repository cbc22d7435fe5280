"""Another patient's image is another patient's, and likelihoods do not depend on batching."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ctfw.engine.images import ImageBank, TokenBank
from ctfw.engine.reliance import CONDITIONS, Swaps, reference_nll, report_nll, swap_partners
from ctfw.errors import BadData
from ctfw.runs.files import read_lines, write_lines
from ctfw.types import Case, CaseTable


def of_patients(patients: list[int]) -> list[Case]:
    return [Case(f"c{i}", f"p{p}", Path("x"), "A report.") for i, p in enumerate(patients)]


@given(st.lists(st.integers(0, 6), min_size=2, max_size=40), st.integers(0, 99))
def test_partner_is_never_the_same_patient(patients: list[int], seed: int) -> None:
    cases = of_patients(patients)
    if len(set(patients)) < 2:
        with pytest.raises(BadData, match="at least two patients"):
            swap_partners(cases, seed)
        return
    partners = swap_partners(cases, seed)
    assert len(partners) == len(cases)
    assert all(mine.patient != other.patient for mine, other in zip(cases, partners, strict=True))
    if 2 * max(Counter(patients).values()) <= len(patients):
        # A derangement by patients exists, so everybody is shown exactly once.
        assert Counter(case.id for case in partners) == Counter(case.id for case in cases)


def test_partners_follow_the_seed() -> None:
    cases = of_patients(list(range(20)))
    ids = [[case.id for case in swap_partners(cases, seed)] for seed in (0, 0, 1)]
    assert ids[0] == ids[1]
    assert ids[0] != ids[2]


def test_likelihood_does_not_depend_on_the_batch(echo: Any, cases: CaseTable) -> None:
    images = [float(i) for i in range(len(cases))]
    # Reports of different lengths stand in one batch and are padded.
    reports = [" ".join(["word"] * (1 + i % 5)) for i in range(len(cases))]
    expected = [i + (i % 5) / 2 for i in range(len(cases))]  # mean of i, i + 1, ...
    for batch in (1, 2, 5, 100):
        assert report_nll(echo, images, reports, batch).tolist() == pytest.approx(expected)
    assert report_nll(echo, [], [], 4).shape == (0,)


def test_module_is_left_in_the_mode_it_was_in(echo: Any) -> None:
    class Modal(type(echo)):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.own = super().module()

        def module(self) -> Any:
            return self.own

    backbone = Modal()
    for training in (True, False):
        backbone.module().train(training)
        report_nll(backbone, [1.0], ["one"], 1)
        assert backbone.module().training is training


def read(
    echo: Any, bank: TokenBank, cases: list[Case], folder: Path, batch: int = 5
) -> dict[str, np.ndarray]:
    swaps = Swaps.of(bank, cases, 4)
    found = reference_nll(echo, swaps, CONDITIONS, batch, folder, "test")
    return {name: found.per_case(name) for name in CONDITIONS}


def test_each_image_is_read_under_its_name(
    echo: Any, bank: TokenBank, cases: CaseTable, tmp_path: Path
) -> None:
    few = [replace(case, report="one") for case in cases]
    found = read(echo, bank, few, tmp_path)
    partners = swap_partners(few, 4)
    own = np.arange(12) / 100
    other = np.array([int(case.id.split("-")[1]) for case in partners]) / 100
    np.testing.assert_allclose(found["own"], own, atol=1e-5)
    np.testing.assert_allclose(found["another"], other, atol=1e-5)
    np.testing.assert_allclose(found["blank"], 1.0)
    assert (found["noise"] < 0.05).all()
    # Every voxel of a test volume is alike, so that order and side make no difference.
    np.testing.assert_allclose(found["shuffled"], own, atol=1e-5)
    np.testing.assert_allclose(found["mirrored"], own, atol=1e-5)


def test_lines_say_whose_image_was_shown(
    echo: Any, bank: TokenBank, cases: CaseTable, tmp_path: Path
) -> None:
    read(echo, bank, list(cases), tmp_path)
    partners = swap_partners(list(cases), 4)
    lines = read_lines(tmp_path / "nll.another.jsonl")
    assert [line["case"] for line in lines] == [case.id for case in cases]
    assert [line["image"] for line in lines] == [case.id for case in partners]
    assert [len(line["nll"]) for line in lines] == [len(c.report.split()) for c in cases]


@pytest.mark.parametrize("kept", [0, 1, 5, 7, 12])
def test_killed_reading_goes_on_to_the_same_numbers(
    kept: int, echo: Any, bank: TokenBank, cases: CaseTable, tmp_path: Path
) -> None:
    whole = read(echo, bank, list(cases), tmp_path / "whole")
    for name in ("own", "another"):
        lines = (tmp_path / "whole" / f"nll.{name}.jsonl").read_text().splitlines(keepends=True)
        file = tmp_path / "broken" / f"nll.{name}.jsonl"
        file.parent.mkdir(exist_ok=True)
        file.write_text("".join(lines[:kept]) + lines[min(kept, 11)][:20])
    again = read(echo, bank, list(cases), tmp_path / "broken")
    for name in CONDITIONS:
        np.testing.assert_array_equal(again[name], whole[name])
        file = f"nll.{name}.jsonl"
        assert (tmp_path / "broken" / file).read_text() == (tmp_path / "whole" / file).read_text()


@pytest.mark.parametrize("line", ["garbage", "{}", "null", '{"case": "case-5", "nll": [1.0]}'])
def test_damaged_likelihoods_are_read_again(
    line: str,
    echo: Any,
    bank: TokenBank,
    cases: CaseTable,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = read(echo, bank, list(cases), tmp_path)
    file = tmp_path / "nll.own.jsonl"
    before = file.read_text()
    lines = before.splitlines()
    file.write_text("\n".join([*lines[:5], line, *lines[6:]]) + "\n")
    again = read(echo, bank, list(cases), tmp_path)
    assert all((again[name] == whole[name]).all() for name in CONDITIONS)
    assert file.read_text() == before
    assert f"{file}, line 6: damaged, or of another case" in capsys.readouterr().err


def test_likelihoods_of_other_tokens_are_refused_with_the_file(
    echo: Any, bank: TokenBank, cases: CaseTable, tmp_path: Path
) -> None:
    read(echo, bank, list(cases), tmp_path)
    file = tmp_path / "nll.blank.jsonl"
    lines = read_lines(file)
    lines[3]["nll"] = [*lines[3]["nll"], 0.5]
    write_lines(file, lines)
    with pytest.raises(BadData, match=r"nll.blank.jsonl has .. tokens of case 'case-3'"):
        read(echo, bank, list(cases), tmp_path)


def test_finished_condition_is_not_read_again(
    echo: Any, bank: TokenBank, cases: CaseTable, tmp_path: Path
) -> None:
    first = read(echo, bank, list(cases), tmp_path)
    echo.encoded = 0
    again = read(echo, bank, list(cases), tmp_path)
    assert echo.encoded == 0
    assert all((again[name] == first[name]).all() for name in CONDITIONS)


def test_case_without_a_reference_has_no_likelihood(
    echo: Any, bank: TokenBank, cases: CaseTable, tmp_path: Path
) -> None:
    some = [replace(case, report=" ") if i == 3 else case for i, case in enumerate(cases)]
    found = read(echo, bank, some, tmp_path)
    for values in found.values():
        assert np.isnan(values).tolist() == [i == 3 for i in range(12)]


def test_altered_images_follow_seed_and_case_and_not_the_order(
    echo: Any, images: ImageBank, cases: CaseTable
) -> None:
    def noise_of(order: list[int]) -> dict[str, float]:
        some = [cases[i] for i in order]
        swaps = Swaps.of(TokenBank(images, echo, frozen=True), some, 4)
        return {case.id: swaps.image("noise", i) for i, case in enumerate(some)}

    assert noise_of([0, 3, 6, 9]) == noise_of([9, 0, 6, 3])
    assert len(set(noise_of([0, 3, 6, 9]).values())) == 4


def test_unknown_condition_is_refused(bank: TokenBank, cases: CaseTable) -> None:
    with pytest.raises(KeyError, match="rotated"):
        Swaps.of(bank, list(cases), 0).image("rotated", 0)
