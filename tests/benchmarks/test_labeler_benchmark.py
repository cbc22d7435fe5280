"""The labeler benchmark counts what it says it counts, and keeps no text."""

from __future__ import annotations

import csv
import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ctfw.labels import CT_RATE_LABELS

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"
SECRET = "zebra"
REPORTS = [
    ("Emphysema is seen in both lungs. {}", {"Emphysema"}),
    ("No emphysema. A pleural effusion is seen. {}", {"Pleural effusion", "Emphysema"}),
    ("A 5 mm nodule is seen, {} and no effusion.", {"Lung nodule"}),
    ("Normal. {}", set()),
]


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("labeler")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """40 reports: in a quarter of them the manual labels have one more."""
    path = tmp_path / "manual.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["AccessionNo", "report_text", *CT_RATE_LABELS])
        for i in range(40):
            text, labels = REPORTS[i % 4]
            row = [int(name in labels) for name in CT_RATE_LABELS]
            writer.writerow([f"r{i}", text.format(SECRET), *row])
    return path


def test_table_counts_by_label_and_holds_no_text(
    benchmark: Any, file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert benchmark.main(["--csv", str(file)]) == 0
    out = capsys.readouterr().out
    assert SECRET not in out
    rows = {line.split(" | ")[0].strip("| "): line.split(" | ") for line in out.splitlines()}
    assert rows["Emphysema"][1:4] == ["20", "1.000", "0.500"]
    assert float(rows["Emphysema"][4]) == pytest.approx(2 / 3, abs=1e-3)
    assert rows["Pleural effusion"][1:5] == ["10", "1.000", "1.000", "1.000"]
    assert rows["all"][2].startswith("0.889 [")  # the mean of 2/3, 1 and 1


def test_folds_split_the_reports_by_the_hash_of_their_ids(benchmark: Any, file: Path) -> None:
    data = benchmark.read(file, "report_text", "AccessionNo")
    assert set(data.folds.tolist()) == {0, 1, 2, 3, 4}
    known = [3, 1, 1, 3, 3, 0, 2, 2]
    assert [benchmark.fold_of(f"train_{i}") for i in range(1, 9)] == known
    assert np.array_equal(benchmark.read(file, "report_text", "AccessionNo").folds, data.folds)
    with pytest.raises(SystemExit, match="no column text; see --text"):
        benchmark.read(file, "text", "AccessionNo")


def test_phantom_reports_are_those_of_the_data_set(benchmark: Any) -> None:
    texts = benchmark.phantom_reports(30)
    assert len(set(texts)) > 20
    assert all("Findings: " in text and "Impression: " in text for text in texts)
