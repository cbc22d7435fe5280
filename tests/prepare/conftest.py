"""A folder of chest-like NIfTI files with a table, and a recipe that prepares them."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import nibabel as nib
import numpy as np
import pytest

from ctfw.cli import main

CHAIN = """
    - {use: rescale-hu}
    - {use: resample, spacing_mm: [2, 2, 3]}
    - {use: preprocessed, dtype: int16, folder: STORES/nifti}
    - {use: hu-window}
    - {use: preprocessed-numpy, folder: STORES/numpy}
    - {use: slices, count: 4}
"""


def chest(seed: int, depth: int = 20, side: int = 48) -> np.ndarray:
    """(z, y, x) int16 HU."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    plane = np.full((side, side), -1000.0)
    plane[(x / 0.9) ** 2 + (y / 0.65) ** 2 < 1] = 40
    for centre in (-0.42, 0.42):
        plane[((x - centre) / 0.3) ** 2 + (y / 0.45) ** 2 < 1] = -850
    return np.rint(plane + rng.normal(0, 15, (depth, side, side))).astype(np.int16)


def write_scan(path: Path, array: np.ndarray, spacing: tuple[float, ...] = (4, 4, 5)) -> None:
    affine = np.diag([-spacing[0], -spacing[1], spacing[2], 1.0])
    image = nib.Nifti1Image(array.T, affine)
    image.header.set_xyzt_units("mm")
    nib.save(image, path)


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


@dataclass
class Shelf:
    """A data set on disk, the recipe that reads it, and the stores that it fills."""

    root: Path
    names: list[str]

    @property
    def recipe(self) -> Path:
        return self.root / "recipe.yaml"

    @property
    def stores(self) -> Path:
        return self.root / "stores"

    @property
    def log(self) -> Path:
        return self.root / "log"

    def scan(self, name: str) -> Path:
        return self.root / "scans" / f"{name}.nii.gz"

    def write(self, chain: str = CHAIN) -> None:
        """The table of all names and the recipe."""
        rows = [f"{n},scans/{n}.nii.gz,p-{n},train,Findings: no nodule." for n in self.names]
        head = "id,image,patient,split,report\n"
        (self.root / "cases.csv").write_text(head + "\n".join(rows) + "\n", encoding="utf-8")
        steps = chain.replace("STORES", str(self.stores))
        head = "ctfw: 1\nname: shelf\nbackbone: {use: qwen2.5-vl}\n"
        head += "stages: {tune: {use: finetune, loss: {use: cross-entropy}}}\n"
        text = f"{head}data:\n  use: table\n  file: {self.root}/cases.csv\n"
        self.recipe.write_text(f"{text}  preprocess:{steps}", encoding="utf-8")

    def entries(self) -> dict[str, str]:
        """Every file of the stores with the hash of its bytes."""
        return {
            str(path.relative_to(self.stores)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.stores.rglob("*"))
            if path.is_file()
        }

    def command(self, *arguments: object) -> list[str]:
        call = [sys.executable, "-m", "ctfw", "prepare", self.recipe, "--log", self.log]
        return [str(part) for part in (*call, *arguments)]

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "CTFW_CACHE": str(self.root / "cache")}

    def prepare(self, *arguments: object) -> Done:
        """Call the verb in this process, which keeps its workers from call to call."""
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = main(self.command(*arguments)[3:])
        return Done(code, out.getvalue(), err.getvalue())

    def prepare_apart(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """The same in a process of its own."""
        return subprocess.run(
            self.command(*arguments), capture_output=True, text=True, check=False,
            env=self.environment, **options,
        )  # fmt: skip


@pytest.fixture
def make_shelf(tmp_path: Path) -> Callable[..., Shelf]:
    """(count, depth, side, name) -> a shelf of that many scans."""

    def make(count: int = 6, depth: int = 20, side: int = 48, name: str = "shelf") -> Shelf:
        shelf = Shelf(tmp_path / name, [f"case-{number}" for number in range(count)])
        (shelf.root / "scans").mkdir(parents=True)
        for number, case in enumerate(shelf.names):
            write_scan(shelf.scan(case), chest(number, depth, side))
        shelf.write()
        return shelf

    return make


@pytest.fixture
def shelf(make_shelf: Callable[..., Shelf]) -> Shelf:
    return make_shelf()
