"""The numbers about anti-aliasing are those of the resample step as it is."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module("antialias")


def rows(page: str) -> set[str]:
    lines = (ROOT / page).read_text(encoding="utf-8").splitlines()
    return {line for line in lines if line.startswith("| A |") or line.startswith("| B |")}


@pytest.mark.parametrize("mode", ["none", "auto"])
@pytest.mark.parametrize("volume", ["A", "B"])
def test_gain_is_what_resampling_leaves_of_white_noise(bench: Any, volume: str, mode: str) -> None:
    spacing = bench.SPACINGS[volume]
    noise = np.random.default_rng(0).standard_normal((151, 160, 160)).astype(np.float32)
    left = bench.resampled(noise, spacing, mode, bench.TARGET_MM)[4:-4, 4:-4, 4:-4]
    expected = 1.0
    for size, step, target in zip((160, 160, 151), spacing, bench.TARGET_MM, strict=True):
        expected *= (bench.weights(step, target, mode, size) ** 2).sum(1).mean()
    assert left.std() == pytest.approx(expected**0.5, rel=0.02)


@pytest.mark.parametrize("diameter", [3, 5])
def test_a_nodule_has_the_volume_of_its_ball(bench: Any, diameter: float) -> None:
    spacing = bench.SPACINGS["B"]
    offsets = np.random.default_rng(0).uniform(-0.5, 0.5, (8, 3))
    balls = [bench.nodule(spacing, diameter, offset) for offset in offsets]
    volume = np.mean([(ball - bench.LUNG_HU).sum() for ball in balls]) * np.prod(spacing)
    assert volume / bench.CONTRAST_HU == pytest.approx(np.pi / 6 * diameter**3, rel=0.02)


def test_a_wave_that_the_source_cannot_hold_is_not_measured(bench: Any) -> None:
    assert bench.alias(0.7, 0.75, "none") is None
    assert 0.6 < bench.alias(0.8, 1.5, "none") < 0.8


def test_the_kept_results_are_what_the_code_says(bench: Any) -> None:
    fresh = f"{bench._noise_table()}\n{bench._alias_table()}".splitlines()
    assert {line for line in fresh if line.startswith(("| A |", "| B |"))} <= rows(
        "benchmarks/results/antialias.md"
    )


def test_every_number_of_the_page_is_in_the_results() -> None:
    page = rows("docs/explanation/antialiasing.md")
    assert len(page) == 11
    assert page <= rows("benchmarks/results/antialias.md")
