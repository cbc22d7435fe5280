"""`ctfw doctor` on a data set in which every defect is planted once, and on a clean one."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest

from ctfw import cli
from ctfw.labels import CT_RATE_LABELS
from ctfw.testing.data import tiny_volume

PLANTED = """\
ctfw: 1
name: planted
data:
  use: table
  file: scans.csv
  allow_patient_overlap: true
  empty_reports: leave-out
  columns: {labels: [%s]}
  preprocess:
    - {use: rescale-hu, intensity: hu}
    - {use: hu-window}
    - {use: slices, count: 4}
    - {use: fit, size_px: [56, 56]}
    - {use: preprocessed-numpy, folder: store}
backbone:
  use: qwen2.5-vl
  shape: {hidden_size: 64, layers: 2, vision_hidden_size: 32, vision_layers: 2, vocabulary: 400}
labeler: {use: ct-rate-18}
generation: {max_new_tokens: 512}
training: {device: cpu}
stages:
  tune: {use: finetune, loss: {use: bounded-contrast}, negatives: {use: heter}}
  test: {use: report, start_from: tune/best}
"""
SIDES = ("left", "right")
LOBES = ("upper", "middle", "lower", "apical")
DEAD = "Hiatal hernia"
Says = Callable[..., tuple[int, str, str]]


def report(number: int) -> str:
    """A sentence per label of the 18, told of another place in each report; 20 different."""
    where = f"{SIDES[number % 2]} {LOBES[number // 2 % 4]} zone, {number + 3} mm"
    return f"A nodule is observed in the {where}. There is no pleural effusion in this scan."


def labels(number: int) -> list[int]:
    """Every label but one occurs in each split; `report` says `Lung nodule` alone."""
    row = [int((number + i) % 3 == 0) for i in range(len(CT_RATE_LABELS))]
    row[CT_RATE_LABELS.index("Lung nodule")] = 1
    row[CT_RATE_LABELS.index(DEAD)] = 0
    return row


def write_scan(path: Path, seed: int, z_mm: float = 5.0, slices: int = 60) -> None:
    """A small chest, 60 x 5.5 mm across."""
    volume = tiny_volume(slices=slices, size=60, seed=seed)
    array = np.rint(volume.array).astype(np.int16)
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(array.T, np.diag([-5.5, -5.5, z_mm, 1.0])), path)


def rows(count: int = 18) -> list[dict[str, Any]]:
    """Twelve training, three validation and three test cases of as many patients."""
    found = []
    for i in range(count):
        split = "train" if i < 12 else "validation" if i < 15 else "test"
        facts = {"id": f"c{i}", "image": f"scans/c{i}.nii.gz", "patient": f"P{i}", "split": split}
        found.append(
            facts | {"report": report(i)} | dict(zip(CT_RATE_LABELS, labels(i), strict=True))
        )
    return found


@pytest.fixture
def says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Says:
    """(exit code, stdout, stderr) of a call in an empty folder with a cache of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CTFW_PLUGINS", "none")
    monkeypatch.setenv("CTFW_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "110")

    def call(*arguments: str) -> tuple[int, str, str]:
        code = cli.main(arguments)
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def plant(tmp_path: Path) -> Callable[[list[dict[str, Any]]], None]:
    """Write the table, its scans (those that are not there yet) and the recipe."""

    def write(table: list[dict[str, Any]]) -> None:
        for i, row in enumerate(table):
            path = tmp_path / row["image"]
            if not path.exists() and not row.pop("absent", False):
                write_scan(path, seed=i)
        with (tmp_path / "scans.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(table[-1]))
            writer.writeheader()
            writer.writerows(table)
        recipe = PLANTED % ", ".join(CT_RATE_LABELS)
        (tmp_path / "planted.yaml").write_text(recipe, encoding="utf-8")

    return write


def findings_of(folder: Path) -> list[dict[str, Any]]:
    return list(json.loads((folder / "found.json").read_text(encoding="utf-8"))["findings"])


def told(findings: list[dict[str, Any]], subject: str, words: str) -> dict[str, Any]:
    """The one finding below a heading with these words."""
    found = [f for f in findings if f["subject"] == subject and words in f["text"]]
    assert len(found) == 1, f"{len(found)} of {subject} say {words!r}"
    return found[0]


def test_every_planted_defect_is_found(says: Says, plant: Any, tmp_path: Path) -> None:
    table = rows()
    write_scan(tmp_path / "scans/c3.nii.gz", seed=103, z_mm=9.0, slices=40)
    write_scan(tmp_path / "scans/c4.nii.gz", seed=104, slices=10)
    write_scan(tmp_path / "scans/c1.nii.gz", seed=1)
    shutil.copyfile(tmp_path / "scans/c1.nii.gz", tmp_path / "scans/c16.nii.gz")
    (tmp_path / "scans/c5.nii.gz").write_bytes(b"\x1f\x8b no scan")
    table[2]["absent"] = True
    table[6]["report"] = "Not given."
    table[7]["report"] = "<think>One more look.</think> " + report(7)
    table[8]["report"] = report(8).replace("zone", "r\u00c3\u00a9gion")
    table[9]["report"] = "Nothing new."
    table[15]["report"] = table[0]["report"]
    table[17]["patient"] = table[0]["patient"]
    plant(table)
    code, out, err = says("doctor", "planted.yaml", "--json", "found.json")
    assert code == 2, out + err
    found = findings_of(tmp_path)
    expected = [
        ("Files", "whose file is missing", "warning", "c2"),
        ("Files", "without a report", "warning", "c6"),
        ("Duplicates", "in two splits", "problem", "c1 (train) = c16 (test)"),
        ("Splits", "in two splits", "problem", "P0 (train and test)"),
        ("Reports", "`<think>` marks", "warning", "c7"),
        ("Reports", "wrong encoding", "warning", "c8"),
        ("Reports", "fewer than 5 words", "warning", "c9"),
        ("Reports", "word for word in the training", "warning", "c15"),
        ("Labels", "in any split", "warning", DEAD),
        ("Labels", "below 0.9", "warning", None),
        ("Geometry", "distance of slices outside", "warning", "c3 (9 mm)"),
        ("Geometry", "length outside", "warning", "c4 (50 mm)"),
        ("Geometry", "cannot be used", "warning", None),
    ]
    for subject, words, level, name in expected:
        each = told(found, subject, words)
        assert each["level"] == level, each
        assert name is None or each["names"] == [name], each
        assert each["text"].split(" (")[0][:40] in out.replace("\n          ", " ")
    assert told(found, "Geometry", "cannot be used")["names"][0].startswith("c5: scans/c5.nii.gz: ")
    acted_on = {(f["subject"], f["text"]) for f in found if f["level"] in ("problem", "warning")}
    assert len(acted_on) == len(expected) + 1  # one label is in every report: `Lung nodule`
    assert out.splitlines()[-1].startswith("2 problems (Splits, Duplicates), 12 warnings")


def test_a_table_without_defects_has_no_problem(says: Says, plant: Any, tmp_path: Path) -> None:
    table = rows()
    for i, row in enumerate(table):
        if i % 4 == 0:
            row["report"] = report(i).replace("A nodule is observed", "No nodule is observed")
        own = dict.fromkeys(CT_RATE_LABELS, 0) | {"Lung nodule": int(i % 4 != 0)}
        row.update(own)
    plant(table)
    code, out, err = says(
        "doctor", "planted.yaml", "--json", "found.json",
        "--set", "stages.tune.negatives.min_label_distance=1",
    )  # fmt: skip
    assert code == 0, out + err
    bad = [f["text"] for f in findings_of(tmp_path) if f["level"] in ("problem", "warning")]
    assert bad == ["17 labels without a positive case in any split"]


def test_the_phantom_profile_is_clean(says: Says, tmp_path: Path) -> None:
    sizes = ("data.train=24", "data.validation=12", "data.test=12", "data.workers=2", "data.seed=4")
    options = [part for text in sizes for part in ("--set", text)]
    code, out, err = says("doctor", "ours_heter", "--json", "found.json", *options)
    assert code == 0, out + err
    found = findings_of(tmp_path)
    subjects = list(dict.fromkeys(f["subject"] for f in found))
    assert subjects == ["Recipe", "Files", "Splits", "Duplicates", "Reports", "Labels", "Geometry",
                        "Lengths", "Steps", "Memory", "Disk", "Packages"]  # fmt: skip
    # What is left with so few studies: labels that one small split does not happen to have.
    for each in found:
        if each["level"] in ("problem", "warning"):
            assert "without a positive case in" in each["text"], each
    assert out.rstrip().splitlines()[-1].startswith("0 problems")
    assert "SYNTHETIC" in err
    assert all(len(line) <= 110 and line == line.rstrip() for line in out.splitlines())


def test_a_recipe_that_is_wrong_is_refused_as_validate_does(says: Says, tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("ctfw: 1\nprofile: phantom\nstages:\n  tune: {use: finetun}\n")
    code, out, err = says("doctor", "r.yaml")
    assert (code, out) == (2, "")
    assert "r.yaml:4:15: no stage named 'finetun'" in err


def test_a_table_that_cannot_be_read_is_a_problem_beside_the_others(
    says: Says, plant: Any, tmp_path: Path
) -> None:
    plant(rows())
    (tmp_path / "scans.csv").write_text("id,image\n", encoding="utf-8")
    code, out, _ = says("doctor", "planted.yaml")
    assert code == 2
    assert "problem" in out
    assert "Packages" in out
    assert "Traceback" not in out


def test_help_and_import_load_nothing_heavy() -> None:
    code = (
        "import sys; import ctfw.cli.doctor; from ctfw.cli import main; main(['doctor', '--help']);"
        "print('#', *{m.partition('.')[0] for m in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.rpartition("#")[2].split())
    assert not loaded & {"torch", "transformers", "nibabel", "accelerate"}
