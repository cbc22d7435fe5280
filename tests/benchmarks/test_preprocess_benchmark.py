"""The preprocessing benchmark measures what it says, and says when a row did not do the work."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Import a module of the benchmarks by its name."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module


def start(data: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            sys.executable,
            str(BENCHMARKS / "preprocess.py"),
            *("--volume", "tiny", "--rounds", "1", "--data", str(data)),
            *arguments,
        ],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def cells(text: str) -> dict[str, list[str]]:
    """First cell -> the others, of every line of the tables."""
    lines = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    return {line[0]: line[1:] for line in lines}


def test_each_row_is_measured_in_its_own_process(tmp_path: Path) -> None:
    done = start(tmp_path, "--only", "ctfw", "gunzip-write", "torch-isal")
    assert done.returncode == 0, done.stdout + done.stderr
    table = cells(done.stdout)
    assert {"ctfw", "gunzip-write", "torch-isal"} <= set(table)
    assert float(table["ctfw"][1]) == 1.0
    memory = {name: float(table[name][2]) for name in ("ctfw", "torch-isal")}
    assert memory["ctfw"] < 120 < memory["torch-isal"], "ctfw must not load torch to preprocess"
    assert list(tmp_path.glob("out-*")) == [], "results are removed"


def test_a_peer_that_is_not_installed_is_a_row_and_the_others_go_on(tmp_path: Path) -> None:
    absent = tmp_path / "absent" / "imops"
    absent.mkdir(parents=True)
    (absent / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'imops'\")")
    path = os.pathsep.join([str(absent.parent), os.environ.get("PYTHONPATH", "")])
    done = start(tmp_path, "--only", "imops-isal", "gunzip-write", PYTHONPATH=path)
    table = cells(done.stdout)
    assert done.returncode == 1
    assert table["imops-isal"][0] == "failed: not installed (No module named 'imops')"
    assert table["gunzip-write"][-1] == "1"


def test_a_turned_or_unscaled_result_is_not_the_source_picture(
    bench: Callable[[str], Any], tmp_path: Path
) -> None:
    volumes, picture = bench("_volumes"), bench("_picture")
    path = volumes.made("tiny", tmp_path)
    source = picture.of_source(path, volumes.SPECS["tiny"].shape, 1.0, -1024.0)
    stored = np.asarray(nib.load(path).dataobj).transpose(2, 0, 1).astype(np.float32)
    right = np.clip(stored - 1024, -1000, 1000) / 1000
    assert picture.difference(picture.of_array(right), source) < 1e-4
    wrong = [np.flip(right, axis) for axis in range(3)]
    wrong += [right.swapaxes(1, 2), np.zeros_like(right), np.clip(stored / 1000, -1, 1)]
    for array in wrong:
        assert picture.difference(picture.of_array(array), source) > 0.1


def test_wrong_results_are_named(bench: Callable[[str], Any]) -> None:
    rounds = bench("_rounds")
    picture = [[[0.0]]]
    job = rounds.Job("tiny", ["x"], {}, (20, 60, 60), picture)
    good = {"shape": [20, 61, 60], "finite": True, "range": [-1.0, 1.0], "picture": picture}
    assert rounds._wrong(job, "x", good) == ""
    for change, said in (
        ({"shape": [20, 58, 60]}, "instead of"),
        ({"finite": False}, "not finite"),
        ({"range": [-1.0, 1.5]}, "values from -1 to 1.5"),
        ({"picture": [[[0.2]]]}, "another picture"),
    ):
        assert said in rounds._wrong(job, "x", {**good, **change})


def test_ratios_are_taken_inside_each_round(bench: Callable[[str], Any]) -> None:
    Run = bench("_rounds").Run
    times = {"ctfw": [1.0, 10.0, 2.0, 1.0], "peer": [2.0, 30.0, 10.0]}
    runs = [
        Run("A", who, n, cpu_s=t, peak_mib=1) for who, ts in times.items() for n, t in enumerate(ts)
    ]
    runs.append(Run("A", "peer", 3, failure="ended by signal 9"))
    found = bench("_summary").ratios(runs, "A", "peer", "ctfw", "cpu_s")
    assert (found.median, found.low, found.high) == (3.0, 2.0, 5.0)
    assert "3 of 4" in bench("_summary").row(runs, "A", "peer")


def test_targets_are_met_at_their_bound_and_missed_beyond(bench: Callable[[str], Any]) -> None:
    Run, verdicts = bench("_rounds").Run, bench("_targets").verdicts
    runs = [
        Run("A", "ctfw", 1, cpu_s=1.9, peak_mib=75.0),
        Run("A600", "ctfw", 1, cpu_s=3.0, peak_mib=77.5),
        Run("A", "gunzip-write", 1, cpu_s=1.0, peak_mib=30.0),
        Run("A", "scipy", 1, cpu_s=1.9 * 11, peak_mib=75 * 10.9),
    ]
    met = {v.what: v.cells()[-1] for v in verdicts(runs, "A")}
    assert met["CPU time of scipy / ctfw"] == "met"
    assert met["peak memory of scipy / ctfw"] == "**missed**"
    assert met["CPU time of ctfw / gunzip-write"] == "met"
    assert met["peak memory of ctfw"] == "met"
    assert met["more memory of ctfw at 600 slices than at 300"] == "**missed**"
    assert met["CPU time of monai / ctfw"] == "not measured"
    slower = [replace(run, cpu_s=run.cpu_s * 1.01) if run.peer == "ctfw" else run for run in runs]
    assert {v.what: v.met for v in verdicts(slower, "A")}["CPU time of scipy / ctfw"] is False


def test_the_page_is_made_of_all_records_and_names_no_machine(
    bench: Callable[[str], Any], tmp_path: Path
) -> None:
    page, Run = bench("_page"), bench("_rounds").Run
    for volume in ("B", "A"):
        runs = [Run(volume, "ctfw", 1, cpu_s=1.25, peak_mib=50.0, shape=(1, 2, 3))]
        record = page.record(volume, f"{volume}: a volume.", 1, 0, runs)
        record.save(tmp_path)
        assert page.Record.load(tmp_path / f"preprocess_{volume}.json") == record
    text = page.write_page(tmp_path).read_text(encoding="utf-8")
    assert text.index("## Volume A") < text.index("## Volume B")
    assert text.count("| ctfw | **1.25** (1.25 - 1.25) | 1.00 | 50 |") == 2
    assert platform.node() not in text
    assert str(tmp_path.parent) not in text


def test_one_seed_makes_one_volume(bench: Callable[[str], Any], tmp_path: Path) -> None:
    made = bench("_volumes").made
    one, again, other = (
        made("tiny", tmp_path / name, seed).read_bytes()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert one == again
    assert one != other
