"""Lint, types and import directions hold."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ["core", "plugins", "tests", "examples", "benchmarks"]
LONGEST, LONGEST_STAGE = 300, 400  # a training loop should be readable from top to bottom


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A tool of this environment, started in the repository."""
    binary = Path(sys.executable).parent / command[0]
    return subprocess.run(
        [str(binary), *command[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_ruff_finds_nothing() -> None:
    done = run("ruff", "check", *[name for name in SOURCES if (ROOT / name).is_dir()])
    assert done.returncode == 0, done.stdout


def test_ruff_would_format_nothing() -> None:
    done = run("ruff", "format", "--check", *[n for n in SOURCES if (ROOT / n).is_dir()])
    assert done.returncode == 0, done.stdout


def test_types_hold() -> None:
    done = run("mypy")
    assert done.returncode == 0, done.stdout


def test_imports_go_in_the_agreed_directions() -> None:
    done = run("lint-imports", "--no-cache")
    assert done.returncode == 0, done.stdout
    assert "0 broken" in done.stdout


@pytest.mark.parametrize("folder", ["core/ctfw", "plugins/ctfw_plugins"])
def test_no_file_is_too_long_to_read(folder: str) -> None:
    too_long = {
        str(path.relative_to(ROOT)): lines
        for path in (ROOT / folder).rglob("*.py")
        if (lines := len(path.read_text(encoding="utf-8").splitlines()))
        > (LONGEST_STAGE if path.parent.name == "stages" else LONGEST)
    }
    assert too_long == {}
