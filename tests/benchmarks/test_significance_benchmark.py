"""The benchmark of the tests: every row does its work, and a missed budget is shown."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    module = importlib.import_module("significance")
    monkeypatch.setattr(module, "PAIRS", 40)
    return module


def test_every_row_gives_a_p_value_or_an_interval(benchmark: Any) -> None:
    pytest.importorskip("sacrebleu")
    results = {name: benchmark.measured(name).result for name in benchmark.ROWS}
    number = r"\d\.\d{4}"
    for name, result in results.items():
        form = rf"{number} \[{number}, {number}\]" if "interval" in name else number
        assert re.fullmatch(form, result), name
    pairs = (
        ("10,000 randomisations, BLEU-1..4", "sacrebleu ar", 0.02),
        ("1,000 draws of the paired bootstrap, BLEU-1..4", "sacrebleu bs", 0.07),
    )
    for ours, theirs, tolerance in pairs:
        assert float(results[ours]) == pytest.approx(float(results[theirs]), abs=tolerance)


def test_missed_budget_is_a_no_in_the_table(benchmark: Any) -> None:
    pytest.importorskip("sacrebleu")
    names = [name for name, budget in benchmark.ROWS.items() if budget is not None]
    runs = {
        name: [benchmark.Measurement(seconds, 5.0, "0.5000")] * 3
        for name, seconds in zip(names, (1.0, 9.0), strict=True)
    }
    fast, slow = (line for line in benchmark.page(runs).splitlines() if "0.5000" in line)
    assert fast.endswith("| below 2 s: yes |")
    assert slow.endswith("| below 2 s: NO |")
