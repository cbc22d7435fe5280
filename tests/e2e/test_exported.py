"""An exported folder in the hands of someone without ctfw: from a scan to the same report."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

Call = Callable[..., subprocess.CompletedProcess[str]]
Finished = Any  # the run of tests/e2e/conftest.py
ALONE = """
import importlib.util, runpy, sys
sys.path = [p for p in sys.path if "site-packages" in p or "lib/python" in p]
found = importlib.util.find_spec("ctfw")
assert found is None or found.origin is None, "only the recipes of an editable install are there"
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def alone(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a Python file in a process that has the installed packages and no ctfw."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    return subprocess.run(
        [sys.executable, "-c", ALONE, *map(str, arguments)],
        env=environment | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


@pytest.fixture(scope="module")
def scan(finished: Finished, environment: dict[str, str]) -> Path:
    found = sorted(Path(environment["CTFW_CACHE"]).glob("phantom/*/*/test_*.nii*"))
    return next(file for file in found if file.parent.name != "masks")


@pytest.fixture(scope="module")
def exported(finished: Finished, ctfw: Call, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("exported") / "model"
    done = ctfw("export", finished.folder, "--merged", out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def slices(
    exported: Path, scan: Path, ctfw: Call, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("slices")
    done = ctfw("inspect", scan, "--checkpoint", exported, "--slices", "--out", out)
    assert done.returncode == 0, done.stderr
    (file,) = out.glob("*.slices.npz")
    assert f"  slices: {file}" in done.stdout.splitlines()
    return file


def test_folder_and_slices_file_give_the_report_of_the_checkpoint(
    finished: Finished, exported: Path, slices: Path, scan: Path, ctfw: Call
) -> None:
    expected = ctfw("generate", finished.folder, scan)
    assert expected.returncode == 0, expected.stderr
    assert len(expected.stdout.splitlines()[1]) > 10
    done = alone(exported / "write_report.py", slices)
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected.stdout


def test_evenly_spaced_slices_need_no_positions(
    exported: Path, slices: Path, tmp_path: Path
) -> None:
    with np.load(slices) as held:
        hu = np.rint(held["hu"])
    np.save(tmp_path / "hu.npy", hu.astype(np.int16))
    np.savez(tmp_path / "hu.npz", hu=hu, positions_mm=-300.5 - 20.0 * np.arange(len(hu)))
    even = alone(exported / "write_report.py", tmp_path / "hu.npy", "--spacing-mm", "20")
    assert even.returncode == 0, even.stderr
    assert even.stdout == alone(exported / "write_report.py", tmp_path / "hu.npz").stdout


def test_slices_file_holds_the_hu_that_the_steps_leave(slices: Path) -> None:
    with np.load(slices) as held:
        assert sorted(held.files) == ["hu", "positions_mm"]
        hu, mm = held["hu"], held["positions_mm"]
    assert hu.shape == (10, 84, 112)
    assert hu.dtype == np.float32
    assert mm.shape == (10,)
    assert -1000 <= hu.min() < -900
    assert 200 < hu.max() <= 1000


def test_script_says_what_it_wants(exported: Path) -> None:
    script = exported / "write_report.py"
    told = alone(script, "--help")
    assert told.returncode == 0
    for words in ("usage: write_report.py", "hu            (slices, rows, columns), Hounsfield",
                  "positions_mm  (slices,)", "--spacing-mm MM", "nearest to the feet"):  # fmt: skip
        assert words in told.stdout
    bare = alone(script)
    assert bare.returncode == 2
    assert "usage: write_report.py" in bare.stderr
    assert "arguments are required: SLICES" in bare.stderr


HU = np.random.default_rng(0).uniform(-1000, 400, (4, 28, 56))
EVEN = np.arange(4) * 3.0


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"hu": HU}, "no array positions_mm; it has hu"),
        ({"image": HU}, "no array hu and no positions_mm; it has image"),
        ({"hu": HU[0], "positions_mm": EVEN}, "hu has the shape (28, 56); needed is (slices, rows"),
        ({"hu": HU[:, :20], "positions_mm": EVEN}, "slices of 20 x 56 pixels: needed are"),
        ({"hu": HU / 1000, "positions_mm": EVEN}, "undo what scaled them"),
        ({"hu": HU * np.nan, "positions_mm": EVEN}, "no finite numbers"),
        ({"hu": HU, "positions_mm": EVEN[:3]}, "positions_mm must be 4 finite numbers"),
        ({"hu": HU, "positions_mm": EVEN * 0}, "positions_mm must go in one direction"),
        ({"hu": HU, "positions_mm": EVEN[[0, 2, 1, 3]] * np.nan}, "4 finite numbers"),
    ],
)  # fmt: skip
def test_script_says_what_is_wrong_with_a_file(
    exported: Path, tmp_path: Path, arrays: dict[str, np.ndarray], words: str
) -> None:
    np.savez(tmp_path / "scan.npz", **arrays)  # type: ignore[arg-type]
    done = alone(exported / "write_report.py", tmp_path / "scan.npz")
    assert done.returncode == 2
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_script_refuses_files_that_are_none_and_positions_given_twice(
    exported: Path, tmp_path: Path
) -> None:
    script = exported / "write_report.py"
    assert "absent.npz: no such file" in alone(script, tmp_path / "absent.npz").stderr
    (tmp_path / "scan.nii.gz").write_bytes(b"no array")
    assert "this is no NPZ or NPY file" in alone(script, tmp_path / "scan.nii.gz").stderr
    np.save(tmp_path / "hu.npy", HU)
    assert "say --spacing-mm MM" in alone(script, tmp_path / "hu.npy").stderr
    wrong = alone(script, tmp_path / "hu.npy", "--spacing-mm", "0")
    assert "--spacing-mm must be above 0" in wrong.stderr
    np.savez(tmp_path / "hu.npz", hu=HU, positions_mm=EVEN)
    assert (
        "belongs to an NPY file" in alone(script, tmp_path / "hu.npz", "--spacing-mm", "3").stderr
    )


def test_readme_tells_the_steps_and_where_the_scaling_ends(exported: Path) -> None:
    card = (exported / "README.md").read_text()
    for words in (
        "Clamp them to -1000 .. 1000 where `hu-window` stands in the list, but do not divide",
        "ctfw inspect SCAN --checkpoint THIS_FOLDER --slices",
        "slices go from feet to head, rows from anterior to posterior, and columns from the",
        "`ctfw/slices@1`, evenly spaced axial slices whose millimetres are kept: count 10",
        "The stock processor (`AutoProcessor`) needs torchvision",
    ):
        assert words in card
