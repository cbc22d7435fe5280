"""Lengths: image, prompt and report against the model, and reports against what may be written."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from ctfw.doctor.lengths import check, report_tokens
from ctfw.doctor.scene import Processed, Scene
from ctfw.errors import UserError
from ctfw.model_plan import ModelPlan
from ctfw.types import Volume


def words(reports: Sequence[str]) -> list[int]:
    """A token per word."""
    return [len(report.split()) for report in reports]


def plan(**more: Any) -> ModelPlan:
    facts: dict[str, Any] = {"grid": (5, 16, 16), "patches": 5120, "bytes_per_parameter": 2}
    facts |= {"source": "a test", "prompt_tokens": 20, "context_length": 1400}
    return ModelPlan(**(facts | {"count_tokens": words} | more))


def with_plan(scene: Scene, made: ModelPlan | None) -> Scene:
    volume = Volume(np.zeros((10, 448, 448), np.float32), np.diag([-1.0, -1.0, 30.0, 1.0]))
    scene.__dict__["_first"] = Processed(scene.cases[0], volume, 2.4)
    scene.__dict__["plan"] = made
    return scene


def report(count: int) -> str:
    return "word " * count


@pytest.fixture
def cases(make_case: Any) -> list[Any]:
    return [make_case(f"train{i}", report=report(10 * (i + 1))) for i in range(9)] + [
        make_case(f"test{i}", "test", report=report(50)) for i in range(3)
    ]


def test_what_a_case_becomes_and_costs_is_told(
    look: Any, make_scene: Any, cases: list[Any]
) -> None:
    findings = look(check, with_plan(make_scene(cases), plan()))
    assert "10 x 448 x 448" in findings.the("becomes").text
    assert findings.the("becomes").values["seconds"] == 2.4
    found = findings.the("visual tokens per case")
    assert "1,280 visual tokens per case (5 x 16 x 16), 20 prompt tokens" in found.text
    assert findings.bad == []


def test_sequences_add_image_prompt_and_report(
    look: Any, make_scene: Any, cases: list[Any]
) -> None:
    found = look(check, with_plan(make_scene(cases), plan())).the("training sequences")
    assert (found.level, found.values["median"], found.values["longest"]) == ("ok", 1350, 1390)


def test_sequences_longer_than_the_context_are_a_problem(
    look: Any, make_scene: Any, cases: list[Any]
) -> None:
    scene = with_plan(make_scene(cases), plan(context_length=1389))
    assert look(check, scene).the("training sequences").level == "problem"


@pytest.mark.parametrize(
    ("limit", "level", "advice"), [(60, "ok", ""), (50, "ok", ""), (49, "warning", "100 %")]
)
def test_reports_that_would_be_cut_are_a_warning(
    limit: int, level: str, advice: str, look: Any, make_scene: Any, cases: list[Any]
) -> None:
    scene = with_plan(make_scene(cases, f"generation.max_new_tokens={limit}"), plan())
    found = look(check, scene).the("max_new_tokens")
    assert found.level == level
    assert advice in found.advice


def test_the_split_that_is_written_is_the_one_that_counts(
    look: Any, make_scene: Any, cases: list[Any]
) -> None:
    overrides = ("generation.max_new_tokens=60", "stages.test.split=train")
    found = look(check, with_plan(make_scene(cases, *overrides), plan())).the("max_new_tokens")
    assert found.level == "warning"
    assert found.values["cut"] == pytest.approx(3 / 9)


def test_without_a_tokenizer_tokens_are_estimated_and_said_to_be(
    look: Any, make_scene: Any, make_case: Any
) -> None:
    cases = [make_case("a", report="x" * 360), make_case("b", "test", report="x" * 181)]
    scene = with_plan(make_scene(cases), plan(count_tokens=None))
    findings = look(check, scene)
    assert "estimated" in findings.the("training sequences").text
    assert findings.the("training sequences").values["longest"] == 1300 + 100
    assert findings.the("max_new_tokens").values["p99"] == math.ceil(181 / 3.6)


def test_missing_weights_are_a_warning(look: Any, make_scene: Any, cases: list[Any]) -> None:
    scene = with_plan(
        make_scene(cases),
        plan(weights_here=False, vision_parameters=10**9, language_parameters=7 * 10**9),
    )
    found = look(check, scene).the("not on this machine")
    assert found.level == "warning"
    assert "16 GB" in found.text


def test_a_backbone_that_does_not_plan_is_a_note(
    look: Any, make_scene: Any, cases: list[Any]
) -> None:
    findings = look(check, with_plan(make_scene(cases), None))
    assert [found.level for found in findings] == ["note", "note"]


def test_the_longest_report_is_found_in_a_large_split(make_case: Any) -> None:
    cases = [make_case(str(i), report=report(10)) for i in range(5000)]
    cases[1234] = make_case("long", report=report(700))
    sample, longest = report_tokens(plan(), cases)
    assert len(sample) == 2000
    assert longest.max() == 700


def test_a_chain_that_no_scan_passes_gives_the_first_reason(
    make_scene: Any, make_case: Any
) -> None:
    scene = make_scene([make_case(str(i)) for i in range(9)])
    with pytest.raises(UserError, match="none of the first 5 scans passes"):
        scene.first  # noqa: B018


def test_a_crash_of_the_chain_does_not_quote_the_header(
    make_scene: Any, make_case: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene = make_scene([make_case("a")])

    def crash(path: Any, case: Any) -> None:
        raise KeyError("MUELLER^ANNA")

    monkeypatch.setattr(scene, "pipeline", crash)
    with pytest.raises(UserError, match=r"case a: a.nii.gz: KeyError at test_lengths.py") as told:
        scene.first  # noqa: B018
    assert "MUELLER" not in str(told.value)
