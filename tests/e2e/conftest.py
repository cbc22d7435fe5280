"""One tiny run through the command line that many tests look at."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "ours_heter.yaml"
SIZES = {
    "data.train": 24,
    "data.validation": 8,
    "data.test": 10,
    "data.workers": 1,
    "backbone.shape.hidden_size": 64,
    "backbone.shape.layers": 2,
    "backbone.shape.intermediate_size": 96,
    "backbone.shape.vision_hidden_size": 32,
    "backbone.shape.vision_layers": 2,
    "training.max_steps": 12,
    "training.batch_size": 2,
    "training.validate_every": 6,
    "training.checkpoint_every": 4,
    "training.threads": 1,
    "stages.see.training.max_steps": 6,
    "stages.see.training.batch_size": 4,
    "stages.see.training.checkpoint_every": 2,
    "stages.see.training.validate_every": 2,
    "generation.max_new_tokens": 24,
    "generation.batch_size": 4,
    "stages.test.resamples": 200,
    "stages.test.browse": 3,
    "stages.test.browse_train": 2,
}
TINY = [part for key, value in SIZES.items() for part in ("--set", f"{key}={value}")]
NUMBERS = (
    "stages/see/steps.jsonl",
    "stages/tune/steps.jsonl",
    "stages/tune/negatives.json",
    "stages/tune/examples.jsonl",
    "stages/test/predictions.jsonl",
    "stages/test/predictions.another.jsonl",
    "stages/test/per_case.csv",
    "stages/test/scores.json",
    "stages/test/cases.jsonl",
)
Call = Callable[..., subprocess.CompletedProcess[str]]


@dataclass(frozen=True)
class Finished:
    """A run that went through: its folder, and what was said."""

    folder: Path
    stdout: str
    stderr: str

    @property
    def test(self) -> Path:
        return self.folder / "stages" / "test"


@pytest.fixture(scope="session")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A cache of its own, one thread, no third-party plugins."""
    cache = tmp_path_factory.mktemp("cache")
    own = {"CTFW_CACHE": str(cache), "CTFW_PLUGINS": "none", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **own}


@pytest.fixture
def here(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The same environment for calls inside this process."""
    for name in ("CTFW_CACHE", "CTFW_PLUGINS"):
        monkeypatch.setenv(name, environment[name])


@pytest.fixture(scope="session")
def ctfw(environment: dict[str, str]) -> Call:
    """`ctfw ARGUMENTS` in a process of its own."""

    def call(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "ctfw", *map(str, arguments)]
        return subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=300, check=False
        )

    return call


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Options that make the recipe small."""
    return TINY


@pytest.fixture(scope="session")
def same_numbers() -> Callable[[Path, Path], None]:
    """Check that two runs of one recipe have every number and every text in common."""

    def check(one: Path, other: Path) -> None:
        for name in NUMBERS:
            assert (one / name).read_text() == (other / name).read_text(), name

    return check


@pytest.fixture(scope="session")
def finished(ctfw: Call, tmp_path_factory: pytest.TempPathFactory) -> Finished:
    runs = tmp_path_factory.mktemp("runs")
    done = ctfw("run", RECIPE, "--runs", runs, *TINY)
    assert done.returncode == 0, done.stderr[-3000:]
    (folder,) = runs.glob("ours-heter/*")
    return Finished(folder, done.stdout, done.stderr)
