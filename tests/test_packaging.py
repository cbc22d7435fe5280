"""What is declared, what is pinned and what the example asks for fit together."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import ctfw

ROOT = Path(__file__).resolve().parents[1]


def project(path: str = "pyproject.toml") -> dict[str, Any]:
    found: dict[str, Any] = tomllib.loads((ROOT / path).read_text(encoding="utf-8"))["project"]
    return found


def pins(file: str = "constraints.txt") -> dict[str, Version]:
    lines = (ROOT / file).read_text(encoding="utf-8").splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in pairs}


def wanted() -> list[str]:
    """What `make test` installs beside ctfw itself."""
    extras = project()["optional-dependencies"]
    every = [*project()["dependencies"], *extras["dicom"], *extras["dev"]]
    return [text for text in every if not text.startswith("ctfw")]


@pytest.mark.parametrize("text", wanted())
def test_every_requirement_is_pinned_within_its_range(text: str) -> None:
    requirement = Requirement(text)
    pin = pins()[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(pin)


def test_oldest_versions_that_are_tested_are_the_lower_bounds() -> None:
    extras = project()["optional-dependencies"]
    found = map(Requirement, [*project()["dependencies"], *extras["lora"]])
    bounds = {need.name: next(iter(need.specifier)) for need in found}
    oldest = pins("constraints-oldest.txt")
    assert {"transformers", "accelerate", "peft"} <= oldest.keys() <= pins().keys()
    for name, version in oldest.items():
        assert bounds[name].operator == ">="
        assert Version(bounds[name].version) == version


def test_no_pin_asks_for_a_build_of_one_machine() -> None:
    assert [name for name, version in pins().items() if version.local] == []


def test_the_example_accepts_this_version_of_ctfw() -> None:
    needs = map(Requirement, project("examples/ctfw-hard-negatives/pyproject.toml")["dependencies"])
    requirement = next(need for need in needs if need.name == "ctfw")
    assert requirement.specifier.contains(ctfw.__version__)


def test_version_is_said_once() -> None:
    assert project()["version"] == ctfw.__version__
    assert ctfw.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")


def test_ci_runs_what_make_test_runs() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text(encoding="utf-8").splitlines()[-1] == "exec make test"
