"""The checks are run one by one, and one that fails does not stop the others."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import ctfw.doctor.examine
from ctfw.doctor.examine import CHECKS, Check, examine
from ctfw.doctor.finding import Finding, ok, problem
from ctfw.errors import BadData
from ctfw.plugins import Plugins, load_plugins
from ctfw.recipe import ResolvedRecipe, resolve

RECIPE = """\
ctfw: 1
name: toy
data: {use: toy}
backbone: {use: weightless}
stages:
  one: {use: note}
"""
Found = list[Finding]


@pytest.fixture
def toy(install: Callable[..., None]) -> Any:
    install("ctfw-toy")
    module = importlib.import_module("ctfw_toy")
    module.SEEN.clear()
    module.TROUBLE.clear()
    return module


@pytest.fixture
def toys(toy: Any) -> Plugins:
    return load_plugins(discover=False, extra={"ctfw-toy": toy})


@pytest.fixture
def recipe(toys: Plugins, tmp_path: Path) -> ResolvedRecipe:
    file = tmp_path / "toy.yaml"
    file.write_text(RECIPE)
    return resolve(str(file), (), None, toys)


def raising(scene: Any) -> Iterator[Finding]:
    yield ok("so far so good")
    raise ZeroDivisionError("oh")


def refusing(scene: Any) -> Iterator[Finding]:
    raise BadData("the table is empty")
    yield


def speaking(scene: Any) -> Iterator[Finding]:
    yield problem("the table is empty")
    yield ok("said")


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Other checks in the place of the real ones."""

    def put(**functions: Callable[..., Any]) -> None:
        for name, function in functions.items():
            monkeypatch.setattr(ctfw.doctor.examine, f"_test_{name}", function, raising=False)
        found = tuple(Check(name, f"ctfw.doctor.examine:_test_{name}") for name in functions)
        monkeypatch.setattr(ctfw.doctor.examine, "CHECKS", found)

    return put


def test_a_check_that_crashes_is_a_finding_and_the_others_go_on(
    recipe: ResolvedRecipe, toys: Plugins, checks: Any
) -> None:
    checks(first=raising, second=speaking)
    findings = examine(recipe, toys)
    assert [(found.subject, found.level) for found in findings] == [
        ("first", "ok"), ("first", "warning"), ("second", "problem"), ("second", "ok"),
    ]  # fmt: skip
    assert findings[1].text.startswith("could not be checked: ZeroDivisionError at test_examine.py")


def test_a_fault_that_a_user_can_mend_is_a_problem_told_once(
    recipe: ResolvedRecipe, toys: Plugins, checks: Any
) -> None:
    checks(first=refusing, second=speaking)
    findings = examine(recipe, toys)
    assert [(found.subject, found.text) for found in findings] == [
        ("first", "the table is empty"), ("second", "said"),
    ]  # fmt: skip


def test_a_data_set_that_cannot_be_read_leaves_the_checks_without_cases(
    recipe: ResolvedRecipe, toys: Plugins, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any) -> None:
        raise BadData("no table at data.file")

    monkeypatch.setattr(toy.Toy, "prepare", refuse)
    findings = examine(recipe, toys)
    assert (findings[0].subject, findings[0].level) == ("Data", "problem")
    assert findings[0].text == "no table at data.file"
    assert {found.subject for found in findings[1:]} <= {"Recipe", "Packages", "Earlier runs"}


def test_an_empty_split_is_a_problem(
    recipe: ResolvedRecipe, toys: Plugins, toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = toy.Toy.cases
    monkeypatch.setattr(
        toy.Toy, "cases", lambda self, split: whole(self, split)[:0] if split == "test"
        else whole(self, split),
    )  # fmt: skip
    findings = examine(recipe, toys)
    assert "the test split has no cases" in [f.text for f in findings if f.level == "problem"]


def test_cases_know_their_split_whatever_the_data_set_says(
    recipe: ResolvedRecipe, toys: Plugins, checks: Any
) -> None:
    def tell(scene: Any) -> Iterator[Finding]:
        yield from (ok(f"{case.id} {case.split}") for case in scene.cases)

    checks(first=tell)
    told = {found.text for found in examine(recipe, toys)}
    assert {"train-0 train", "validation-3 validation", "test-1 test"} < told


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.subject)
def test_every_check_is_where_the_table_says(check: Check) -> None:
    module, _, name = check.target.partition(":")
    assert callable(getattr(importlib.import_module(module), name))
