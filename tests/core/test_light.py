"""Help, validation and lists load none of the heavy packages."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import ctfw

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "transformers", "nibabel", "evaluate", "deepspeed", "datasets", "accelerate"}


def modules_after(*arguments: str) -> set[str]:
    """Top-level modules in memory after a call of the command line."""
    code = (
        "import sys; from ctfw.cli import main; code = main(sys.argv[1:]);"
        "print('\\n#', *{name.partition('.')[0] for name in sys.modules}); sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return set(done.stdout.rpartition("\n#")[2].split())


@pytest.mark.parametrize(
    "arguments", [["validate", "recipes/ours_heter.yaml"], ["plugins"], ["schema"], ["recipes"]]
)
def test_light_verbs_load_nothing_heavy(arguments: list[str]) -> None:
    assert not modules_after(*arguments) & HEAVY


def test_help_loads_no_plugin_and_no_numpy() -> None:
    found = modules_after("--help")
    assert not found & (HEAVY | {"numpy", "pydantic", "pluggy", "yaml", "ctfw_plugins"})


def test_importing_ctfw_loads_nothing() -> None:
    code = "import sys, ctfw; print(*[m for m in sys.modules if m.startswith('ctfw.')])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_public_names_are_what_they_say() -> None:
    for name in ctfw.__all__:
        assert getattr(ctfw, name) is not None
    assert ctfw.Component.__module__ == "ctfw.component"
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        ctfw.Nothing  # noqa: B018


def test_version_is_that_of_the_distribution() -> None:
    assert ctfw.__version__ == metadata.version("ctfw")
