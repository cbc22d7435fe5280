"""Packages: unmet requirements, and the table of known traps."""

from __future__ import annotations

import re
from importlib import metadata
from typing import Any

import pytest
from pydantic import ValidationError

import ctfw.doctor.packages
from ctfw.doctor.packages import check, unmet_requirements
from ctfw.doctor.traps import Trap, read_traps

ROW = {"package": "torch", "versions": ">=2.9,<2.10", "level": "warning", "trap": "t",
       "advice": "a"}  # fmt: skip
SETTING = re.compile(r"(backbone|training)\.\w+|gpu|mismatch|needs")


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Other versions of some distributions, with these requirements; None takes one away."""
    version_of, requires_of = metadata.version, metadata.requires
    versions: dict[str, str | None] = {}
    needs: dict[str, list[str]] = {}

    def version(name: str) -> str:
        if name not in versions:
            return version_of(name)
        if versions[name] is None:
            raise metadata.PackageNotFoundError(name)
        return str(versions[name])

    def requires(name: str) -> list[str] | None:
        return needs[name] if name in needs else requires_of(name)

    def put(name: str, installed: str | None, requirements: list[str] | None = None) -> None:
        versions[name] = installed
        if requirements is not None:
            needs[name] = requirements

    monkeypatch.setattr(metadata, "version", version)
    monkeypatch.setattr(metadata, "requires", requires)
    return put


@pytest.mark.parametrize(
    ("versions", "installed", "caught"),
    [
        (">=2.9,<2.10", "2.9.1", True),
        (">=2.9,<2.10", "2.9.1+cu128", True),
        (">=2.9,<2.10", "2.13.0+cpu", False),
        (">=2.9,<2.10", None, False),
        ("any", "0.1", True),
        ("any", None, False),
        ("missing", None, True),
        ("missing", "1.0", False),
    ],
)
def test_trap_catches_the_versions_it_names(
    versions: str, installed: str | None, caught: bool
) -> None:
    assert Trap(**ROW | {"versions": versions}).catches(installed, {}) is caught


@pytest.mark.parametrize(
    ("only", "caught"),
    [
        ({}, True),
        ({"gpu": True}, False),
        ({"gpu": False}, True),
        ({"training.precision": ["float16", "bfloat16"]}, True),
        ({"training.precision": "float32"}, False),
        ({"training.engine": "deepspeed-zero3"}, True),
        ({"training.engine": "deepspeed-zero3", "gpu": True}, False),
        ({"nothing.of.it": 1}, False),
    ],
)
def test_trap_concerns_the_recipes_it_names(only: dict[str, Any], caught: bool) -> None:
    facts = {"gpu": False, "training.precision": "bfloat16"}
    facts |= {"training.engine": {"accelerate", "deepspeed-zero3"}}
    assert Trap(**ROW | {"versions": "any", "only": only}).catches("1.0", facts) is caught


def test_a_row_with_a_wrong_specifier_is_refused() -> None:
    with pytest.raises(ValidationError, match="no version specifier"):
        Trap(**ROW | {"versions": "newer"})


def test_every_trap_names_a_source_or_a_missing_package() -> None:
    traps = read_traps()
    assert len(traps) >= 10
    for trap in traps:
        told = trap.threads or trap.versions == "missing" or "measured" in trap.trap
        assert told, trap.package
        assert trap.advice
        for thread in trap.threads:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+#\d+", thread), thread
        for key in trap.only:
            assert SETTING.fullmatch(key), f"{trap.package}: nothing sets {key}"


def test_a_trap_of_this_machine_is_told_with_its_threads(
    look: Any, make_scene: Any, pretend: Any
) -> None:
    pretend("torch", "2.5.1")
    found = look(check, make_scene()).the("torch 2.5.1: ")
    assert found.level == "warning"
    assert "weights_only" in found.text
    assert found.names == ("pytorch/pytorch#152006",)


def test_conditions_read_the_recipe(look: Any, make_scene: Any, pretend: Any) -> None:
    pretend("flash-attn", None)
    assert look(check, make_scene()).bad == []
    asked = make_scene((), "backbone.attention=flash_attention_2")
    found = look(check, asked).the("flash-attn is not installed")
    assert found.level == "problem"
    assert "sdpa" in found.advice


def test_a_setting_of_one_stage_counts_as_well(make_scene: Any) -> None:
    scene = make_scene((), "stages.tune.training.engine=deepspeed-zero3")
    facts = ctfw.doctor.packages._facts(scene, set())
    assert "deepspeed-zero3" in facts["training.engine"]
    assert facts["backbone.use"] == "qwen2.5-vl"
    assert {"torch", "transformers"} <= facts["needs"]


def test_this_environment_has_what_it_needs() -> None:
    assert unmet_requirements() == []


def test_a_version_below_the_floor_is_a_problem(look: Any, make_scene: Any, pretend: Any) -> None:
    pretend("nibabel", "4.0.0")
    found = look(check, make_scene()).the("ctfw needs nibabel")
    assert found.level == "problem"
    assert "nibabel 4.0.0" in found.text
    assert found.advice == "pip install 'nibabel>=5.2'"


def test_a_companion_built_for_another_torch_is_a_problem(
    look: Any, make_scene: Any, pretend: Any
) -> None:
    pretend("torchvision", "0.20.0", ["torch (==2.5.0)"])
    findings = look(check, make_scene())
    assert [found.level for found in findings.bad] == ["problem"]
    assert "built for another torch" in findings.bad[0].text


def test_requirements_of_extras_and_other_systems_do_not_count(pretend: Any) -> None:
    pretend("peft", "0.17", ["nothing-of-it; extra == 'dev'", "neither; sys_platform == 'amiga'"])
    assert unmet_requirements() == []
    pretend("peft", "0.17", ["nothing-of-it>=2"])
    assert unmet_requirements() == [("peft", "nothing-of-it>=2", None)]


def test_a_component_that_needs_evaluate_is_told_about_the_network(
    look: Any, make_scene: Any, pretend: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pretend("evaluate", "0.4.3", [])
    scene = make_scene()
    assert look(check, scene).bad == []
    facts = ctfw.doctor.packages._facts(scene, set()) | {"needs": {"evaluate"}}
    monkeypatch.setattr(ctfw.doctor.packages, "_facts", lambda scene, at_odds: facts)
    assert "from the network" in look(check, scene).the("evaluate 0.4.3").text


def test_versions_that_decide_are_listed(look: Any, make_scene: Any) -> None:
    text = look(check, make_scene()).the("Python").text
    for name in ("torch", "transformers", "numpy", "nibabel"):
        assert f"{name} {metadata.version(name)}" in text
