"""Fifty thousand scans are looked at in a couple of minutes."""

from __future__ import annotations

import csv
import gzip
import random
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest

from ctfw import cli
from ctfw.testing.data import tiny_volume

CASES = 50_000
LIMIT_S = 180
RECIPE = """\
ctfw: 1
name: large
data:
  use: table
  file: scans.csv
  columns: {labels: [%s]}
  preprocess:
    - {use: rescale-hu, intensity: hu}
    - {use: hu-window}
    - {use: slices, count: 4}
    - {use: fit, size_px: [56, 56]}
    - {use: preprocessed-numpy, folder: store}
backbone: {use: qwen2.5-vl}
labeler: {use: ct-rate-18}
training: {device: cpu}
stages:
  tune: {use: finetune, loss: {use: bounded-contrast}, negatives: {use: heter}}
  test: {use: report, start_from: tune/best}
"""
LABELS = [f"L{i}" for i in range(18)]
TEXT = (
    "the lungs are clear no pleural effusion is seen heart size normal nodule in right upper lobe "
    "measuring mm consolidation atelectasis bilateral calcified plaques aorta coronary"
)


def split_of(patient: int) -> str:
    return "train" if patient % 20 < 16 else "validation" if patient % 20 < 18 else "test"


@pytest.fixture
def many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A table of 50,000 scans of 25,000 patients; small files of nearly one size."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CTFW_PLUGINS", "none")
    monkeypatch.setenv("CTFW_CACHE", str(tmp_path / "cache"))
    affine = np.diag([-5.5, -5.5, 5.0, 1.0])
    chest = np.rint(tiny_volume(slices=60, size=60).array).astype(np.int16).T
    hollow = bytearray(nibabel.Nifti1Image(np.zeros((60, 60, 60), np.int16), affine).to_bytes())
    rng, words = random.Random(0), TEXT.split()
    (tmp_path / "scans").mkdir()
    with (tmp_path / "scans.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["image", "report", "patient", "split", *LABELS])
        for i in range(CASES):
            path = tmp_path / "scans" / f"{i}.nii.gz"
            hollow[148:160] = f"{i:012}".encode()  # the field `descrip` of NIfTI-1
            if i:
                path.write_bytes(gzip.compress(bytes(hollow), 1, mtime=0))
            else:
                nibabel.save(nibabel.Nifti1Image(chest, affine), path)
            text = " ".join(rng.choices(words, k=200))
            labels = [int(rng.random() < 0.2) for _ in LABELS]
            row = [f"scans/{path.name}", text, f"P{i // 2}", split_of(i // 2), *labels]
            writer.writerow(row)
    (tmp_path / "large.yaml").write_text(RECIPE % ", ".join(LABELS))
    return tmp_path


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_thousand_scans_take_minutes(many: Path, capsys: pytest.CaptureFixture[str]) -> None:
    start = time.monotonic()
    code = cli.main(["doctor", "large.yaml"])
    seconds = time.monotonic() - start
    out = capsys.readouterr().out
    assert code == 0, out
    assert "50,000 cases, no image twice" in out
    assert "6,000 of 50,000 headers read" in out
    assert seconds < LIMIT_S, f"{seconds:.0f} s"
