"""The storage benchmark measures every format, and only formats that give the volume back."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    return importlib.import_module("storage")


def test_every_format_is_a_row_whose_error_is_that_of_its_rounding(
    storage: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert storage.main(["--volume", "tiny", "--rounds", "1", "--data", str(tmp_path)]) == 0
    lines = [line.strip("| ").split(" | ") for line in capsys.readouterr().out.splitlines()]
    rows = {line[0]: dict(zip(storage.HEAD, line, strict=True)) for line in lines if len(line) == 9}
    names = [item.name for item in (*storage.FORMATS, *storage.PACKINGS)]
    assert set(names) <= set(rows)
    most = {"float32": 0.0, "float16": 0.25, "int16": 0.5}
    for name in names:
        dtype = next(d for d in most if d in name)
        assert float(rows[name]["largest error, HU"]) <= most[dtype]
    assert list(tmp_path.glob("storage-*")) == [], "what was written is removed"


def test_format_that_loses_a_slice_is_no_row(storage: Any, tmp_path: Path) -> None:
    whole = storage.FORMATS[0]
    loses = storage.Format(
        "short", whole.values, whole.write, lambda folder, numbers: whole.read(folder, [0, 1])
    )
    array = np.zeros((5, 4, 4), np.float32)
    volume = storage.Volume(array, np.eye(4), "normalised")
    with pytest.raises(RuntimeError, match="short: 2 of 5 slices"):
        storage.measured([loses], {"HU": volume, "windowed": volume}, 1, tmp_path)


def test_files_in_the_page_cache_do_not_count_as_cold(
    storage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_bytes(bytes(1 << 20))
    if not storage.evicted(tmp_path):
        pytest.skip("this file system cannot be made to forget a file")
    (tmp_path / "file").read_bytes()
    monkeypatch.setattr(storage.os, "posix_fadvise", lambda *_: None)
    assert not storage.evicted(tmp_path)
