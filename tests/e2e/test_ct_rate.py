"""The `ct-rate` profile on a folder in CT-RATE's shape, made from phantoms."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ctfw.runs.files import read_json, read_lines
from ctfw_plugins.datasets.configs import PhantomConfig
from ctfw_plugins.datasets.phantom import SPLITS, Phantom

ROOT = Path(__file__).resolve().parents[2]
Call = Callable[..., subprocess.CompletedProcess[str]]
PROFILE = """\
ctfw: 1
extends: {root}/recipes/profiles/ct-rate.yaml
data:
  validation_share: 0.3
  preprocess:
    - {{use: rescale-hu}}
    - {{use: resample, spacing_mm: [3, 3, 3]}}
    - {{use: hu-window}}
    - {{use: slices, count: 10}}
    - {{use: fit, size_px: [84, 56]}}
    - {{use: preprocessed-numpy}}
backbone:
  weights: null
  dtype: float32
  shape: {{hidden_size: 64, layers: 2, intermediate_size: 96, vision_layers: 2}}
training:
  max_steps: 4
  gradient_accumulation: 2
  learning_rate: 2e-3
  precision: float32
  engine: accelerate
  offload: none
  checkpoint_every: 2
  validate_every: 2
  validation_cases: 4
  threads: 1
generation: {{max_new_tokens: 16}}
"""


def write_tree(root: Path) -> list[Path]:
    """A tree of 12 + 6 scans; its training volumes."""
    spec = importlib.util.spec_from_file_location("tree", ROOT / "tests/support/ct_rate_tree.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    phantom = Phantom(
        PhantomConfig(
            root=root.parent / "phantoms", train=12, validation=1, test=6, workers=1, max_studies=2
        )
    )
    phantom.prepare()
    cases = [case for split in SPLITS for case in phantom.cases(split)]
    module.write_ct_rate_tree(root, cases)
    return sorted((root / "train_fixed").rglob("*.nii.gz"))


@pytest.fixture(scope="module")
def run(
    ctfw: Call, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Any, str]:
    """(run folder, process, name of the training scan that cannot be read)."""
    folder = tmp_path_factory.mktemp("ct-rate")
    broken = write_tree(folder / "CT-RATE")[0]
    broken.write_bytes(broken.read_bytes()[:3000])
    (folder / "small.yaml").write_text(PROFILE.format(root=ROOT))
    environment["CT_RATE_ROOT"] = str(folder / "CT-RATE")
    try:
        done = ctfw(
            "run", ROOT / "recipes" / "ours_heter.yaml", "--profile", folder / "small.yaml",
            "--runs", folder / "runs", "--set", "stages.test.resamples=100",
        )  # fmt: skip
    finally:
        del environment["CT_RATE_ROOT"]
    assert done.returncode == 0, done.stderr[-3000:]
    (made,) = (folder / "runs").glob("ours-heter/*")
    return made, done, broken.name


def test_method_runs_on_the_paper_profile(run: tuple[Path, Any, str]) -> None:
    folder, done, _ = run
    assert done.stderr.startswith("ours-heter, profile small: tune -> test\n")
    assert "SYNTHETIC" not in done.stdout + done.stderr
    scores = read_json(folder / "stages" / "test" / "scores.json")
    assert scores["synthetic"] is False
    assert scores["cases"] == 6
    predictions = read_lines(folder / "stages" / "test" / "predictions.jsonl")
    assert all(line["case"].startswith("valid_") for line in predictions)
    assert all(line["patient"].startswith("valid_") for line in predictions)


def test_tower_is_trained_and_every_pass_is_logged(run: tuple[Path, Any, str]) -> None:
    lines = read_lines(run[0] / "stages" / "tune" / "steps.jsonl")
    assert [line["step"] for line in lines if "loss" in line] == [1, 2, 3, 4]
    assert read_json(run[0] / "stages" / "tune" / "negatives.json")["draws"] == 8


def test_scan_that_cannot_be_read_is_left_out_and_named(run: tuple[Path, Any, str]) -> None:
    folder, done, broken = run
    (name,) = read_json(folder / "quarantine.json")
    assert broken.startswith(name.removesuffix(".nii.gz"))
    assert f"1 of 19 scans cannot be used; the first, {name}:" in done.stderr
    data = read_json(folder / "data.json")
    assert data["quarantined"] == 1
    assert data["train"]["cases"] + data["validation"]["cases"] == 12
    drawn = read_json(folder / "stages" / "tune" / "negatives.json")["partner_use"]
    assert name not in drawn


def test_scores_can_be_made_again_with_the_scan_left_out(
    run: tuple[Path, Any, str], ctfw: Call, tmp_path: Path
) -> None:
    done = ctfw("score", run[0], "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    first = read_json(run[0] / "stages" / "test" / "scores.json")
    assert read_json(tmp_path / "scores.json")["table"] == first["table"]


def test_audit_leaves_out_the_scan_that_cannot_be_read_and_names_it(
    run: tuple[Path, Any, str], ctfw: Call, tmp_path: Path
) -> None:
    folder = run[0]
    root = tmp_path / "CT-RATE"
    shutil.copytree(folder.parents[2] / "CT-RATE", root)
    broken = sorted((root / "valid_fixed").rglob("*.nii.gz"))[0]
    broken.write_bytes(broken.read_bytes()[:3000])
    done = ctfw(
        "audit", folder, "--set", f"data.root={root}", "--resamples", "100", "--out", tmp_path / "a"
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "1 of 6 scans cannot be used and are left out; the first, " in done.stderr
    audit = read_json(tmp_path / "a" / "audit.json")
    assert (audit["cases"], audit["data"]["of"]) == (5, 6)
    (name,) = audit["data"]["refused"]
    assert broken.name.startswith(name.removesuffix(".nii.gz"))
    assert audit["synthetic"] is False
    assert "Left out" in (tmp_path / "a" / "audit.html").read_text()
    assert "Synthetic" not in (tmp_path / "a" / "coverage.svg").read_text()
