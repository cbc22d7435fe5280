"""The benchmark of the step, and the tables of the memory page."""

from __future__ import annotations

import importlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]


def module(name: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    return importlib.import_module(name)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Any:
    return module("training_step", monkeypatch)


def runs(bench: Any, *values: tuple[float, float]) -> list[Any]:
    return [bench.Measured(s, mib, 2e12, 1000, 250_000_000) for s, mib in values]


def test_ratios_are_taken_inside_the_rounds(bench: Any) -> None:
    plain = runs(bench, (10, 1000), (30, 1000), (20, 1000))
    ours = runs(bench, (5, 500), (10, 600), (10, 400))
    assert bench.ratio(plain, ours, "seconds") == 2
    assert bench.ratio(ours, plain, "mib") == 0.5


def test_table_has_every_row_and_says_what_failed(bench: Any) -> None:
    found = {"plain": runs(bench, (20, 2048)), "ours": runs(bench, (10, 1024))}
    text = bench.table(found, {"ours, both": "out of memory"}, 1e12)
    assert "| plain | 20.00 | 1.00 | 50 | 2.00 | 10% | 2.00 | 1.00 |" in text
    assert "| ours | 10.00 | 2.00 | 100 | 2.00 | 20% | 1.00 | 0.50 |" in text
    assert "| ours, both | out of memory |" in text
    assert text.count("\n") == 1 + len(bench.NAMES)


def test_targets_are_judged_on_both_sides(bench: Any) -> None:
    def told(seconds: float, mib: float) -> str:
        found = {"plain": runs(bench, (10, 1000)), "ours": runs(bench, (seconds, mib))}
        return str(bench.verdicts(found))

    assert told(6.0, 500).count(": met)") == 2
    assert told(7.0, 600).count("not met)") == 2


def test_kept_results_meet_the_targets_in_bfloat16(bench: Any) -> None:
    text = bench.RESULTS.read_text(encoding="utf-8")
    section = text.partition("bfloat16, cpu")[2].partition("\n## ")[0]
    assert len(re.findall(r"^- .*: met\)$", section, re.MULTILINE)) == 4


def test_gradients_of_both_ways_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    work = module("_step_work", monkeypatch)
    small = {"hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    vision = {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 2}
    monkeypatch.setattr(work, "SMALL", {"text": small | heads, "vision": vision})
    monkeypatch.setattr(work, "VOCABULARY", 3000)
    tiny = work.Work("0.25b", "cpu", "float32", slices=4, pixels=56, answer=12)
    found = work.gradient_errors(tiny)
    assert set(found) == {"below the bound", "at the bound"}
    assert all(0 < error < 1e-5 for error in found.values())
    monkeypatch.setattr(work, "BETA", 0.2)  # read when a step is made: the same for both ways
    assert max(work.gradient_errors(tiny).values()) < 1e-5


def test_without_a_gpu_it_says_so_at_once() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    command = [sys.executable, str(ROOT / "benchmarks" / "training_step.py"), "--device", "cuda"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr == "torch sees no GPU here: run this on a machine that has one\n"


def test_memory_page_holds_the_tables_of_its_command(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = module("memory_budget", monkeypatch)
    page = budget.PAGE.read_text(encoding="utf-8")
    kept = page.partition(budget.BEGIN)[2].partition(budget.END)[0].strip()
    assert kept == budget.tables()


def test_adapters_take_the_bytes_that_the_memory_page_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    budget = module("memory_budget", monkeypatch)
    alone = budget.estimate("7B", lora=True, frozen=True)
    tower = budget.estimate("7B", lora=True)
    plan = budget.plan_of("7B", 448, lora=True)
    weights = 2 * plan.parameters
    adapters = 16 * plan.adapter_parameters
    assert alone.fixed == pytest.approx(weights + adapters)
    assert tower.fixed - alone.fixed == pytest.approx(16 * plan.vision_parameters)
    assert json.dumps(round(adapters / 1e9, 1)) == "0.6"
