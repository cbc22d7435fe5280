"""Adapters through a whole run: trained, killed and taken up, exported, scored with vLLM's call."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
RECIPE = ROOT / "recipes" / "ours_heter.yaml"
LORA = ["--set", "backbone.lora={rank: 4, dropout: 0.2}"]
Call = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def adapted(ctfw: Call, tiny: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    runs = tmp_path_factory.mktemp("lora")
    done = ctfw("run", RECIPE, "--runs", runs, *tiny, *LORA)
    assert done.returncode == 0, done.stderr[-3000:]
    (folder,) = runs.glob("ours-heter/*")
    return folder


@pytest.mark.slow
def test_stages_hand_adapters_and_the_trained_tower_on(adapted: Path) -> None:
    models = {
        stage: next((adapted / "stages" / stage / "checkpoints").glob("step-*")) / "model"
        for stage in ("see", "tune")
    }
    tower = {s: load_file(folder / "trained.safetensors") for s, folder in models.items()}
    assert tower["see"].keys() == tower["tune"].keys()
    assert all("visual" in name for name in tower["tune"])
    best = adapted / "stages" / "see" / "checkpoints" / "best"
    first = load_file(best.parent / best.read_text().strip() / "model" / "trained.safetensors")
    assert all((first[name] == value).all() for name, value in tower["tune"].items())
    adapters = load_file(models["tune"] / "adapter_model.safetensors")
    assert all(value.abs().sum() > 0 for value in adapters.values()), "no adapter has learned"


@pytest.mark.slow
def test_killed_training_of_adapters_repeats_every_number(
    adapted: Path,
    ctfw: Call,
    tiny: list[str],
    environment: dict[str, str],
    same_numbers: Callable[[Path, Path], None],
    tmp_path: Path,
) -> None:
    command = [sys.executable, "-m", "ctfw", "run", str(RECIPE), "--runs", str(tmp_path)]
    job = subprocess.Popen(
        [*command, *tiny, *LORA], env=environment, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        while job.poll() is None:
            steps = next(tmp_path.glob("ours-heter/*/stages/tune/steps.jsonl"), None)
            if steps is not None and steps.read_bytes().count(b"\n") >= 6:
                break
            time.sleep(0.005)
    finally:
        if job.poll() is None:
            os.killpg(job.pid, signal.SIGKILL)
        job.wait()
    assert job.returncode == -signal.SIGKILL, "the run ended before it could be killed"
    (folder,) = tmp_path.glob("ours-heter/*")
    done = ctfw("resume", folder)
    assert done.returncode == 0, done.stderr[-3000:]
    same_numbers(adapted, folder)


@pytest.mark.slow
def test_run_is_exported_with_everything_that_was_trained(
    adapted: Path, ctfw: Call, tmp_path: Path
) -> None:
    done = ctfw("export", adapted, "--merged", tmp_path / "out")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "14 matrices got their adapter" in done.stderr
    best = adapted / "stages" / "tune" / "checkpoints" / "best"
    beside = load_file(best.parent / best.read_text().strip() / "model" / "trained.safetensors")
    merged = load_file(tmp_path / "out" / "model.safetensors")
    kept = {name.rpartition("visual.")[2]: value for name, value in beside.items()}
    found = {n.rpartition("visual.")[2]: v for n, v in merged.items() if "visual." in n}
    assert kept.keys() == found.keys()
    assert all((found[name] == value).all() for name, value in kept.items())
    assert json.loads((tmp_path / "out" / "ctfw.json").read_text())["synthetic"] is True


@pytest.mark.slow
def test_two_processes_write_the_reports_of_one(
    adapted: Path, ctfw: Call, tiny: list[str], tmp_path: Path
) -> None:
    """A recipe with the report stage alone, on the checkpoint that is there."""
    recipe = tmp_path / "again.yaml"
    recipe.write_text(
        "ctfw: 1\nname: again\nsummary: reports only\nprofile: phantom\n"
        f"stages: {{test: {{use: report, start_from: {adapted / 'stages' / 'tune'}}}}}\n"
    )
    shared = [p for p in tiny if not p.startswith(("stages.see", "--set"))]
    sets = [part for value in shared for part in ("--set", value)]
    done = ctfw("run", recipe, "--runs", tmp_path, "--nproc", "2", *sets, *LORA)
    assert done.returncode == 0, done.stderr[-3000:]
    (folder,) = tmp_path.glob("again/*")
    for name in ("predictions.jsonl", "predictions.another.jsonl", "nll.another.jsonl"):
        one, two = (run / "stages" / "test" / name for run in (adapted, folder))
        assert one.read_text() == two.read_text(), name
    assert not list(folder.rglob("*.rank*"))


@pytest.mark.slow
def test_sweep_runs_each_variant_in_two_processes_and_names_the_one_that_fails(
    adapted: Path, ctfw: Call, tiny: list[str], tmp_path: Path
) -> None:
    recipe = tmp_path / "both.yaml"
    recipe.write_text(
        "ctfw: 1\nname: both\nsummary: two ways to end\nprofile: phantom\n"
        f"stages: {{test: {{use: report, start_from: {adapted / 'stages' / 'tune'}}}}}\n"
        "matrix:\n  end:\n    good: {}\n"
        "    bad: {stages.test.cases: 8, stages.test.fail_if: [grounded_gain > -1]}\n"
    )
    shared = [p for p in tiny if not p.startswith(("stages.see", "--set"))]
    sets = [part for value in shared for part in ("--set", value)]
    done = ctfw("sweep", recipe, "--runs", tmp_path, "--nproc", "2", *sets, *LORA)
    assert done.returncode == 2
    assert "1 of 2 variants failed" in done.stderr
    states = {json.loads(p.read_text())["state"] for p in tmp_path.glob("both-*/*/status.json")}
    assert states == {"finished", "failed"}
