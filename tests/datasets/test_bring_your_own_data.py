"""The page "Bring your own data" shows tables, profiles and settings that work as they stand."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ctfw.engine.bench import make_pipeline
from ctfw.engine.context import Context
from ctfw.plugins import load_plugins
from ctfw.recipe import resolve
from ctfw_plugins.datasets.phantom import Phantom
from ctfw_plugins.datasets.table_columns import USUAL, plain

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "bring_your_own_data.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```([a-z ]+)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
FRAGMENTS = [text for info, text in BLOCKS if info == "yaml fragment"]
OURS = ROOT / "recipes" / "ours_heter.yaml"


class AnyVariable(dict[str, str]):
    def get(self, key: str, default: object = None) -> str:
        return key


@pytest.fixture
def folder(tmp_path: Path, phantoms: Phantom, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What a reader of the page has: the table, the scans, and every profile that has a name."""
    table = next(text for info, text in BLOCKS if info == "text")
    (tmp_path / "scans.csv").write_text(table)
    (tmp_path / "scans").mkdir()
    for number, case in enumerate(phantoms.cases("test").cases[:7], 1):
        os.link(case.image, tmp_path / "scans" / f"{number:04}.nii.gz")
    for text in FRAGMENTS:
        if name := re.match(r"# (my_\w+\.yaml)\n", text):
            (tmp_path / name[1]).write_text(text)
    (tmp_path / "my_recipe.yaml").write_text(next(text for info, text in BLOCKS if info == "yaml"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def data_of(recipe: Path, profile: Path | None) -> Any:
    found = resolve(recipe, profile=str(profile) if profile else None, plugins=load_plugins())
    return found.data


def test_table_of_the_page_is_read_with_its_profile(folder: Path) -> None:
    quiet = SimpleNamespace(log=lambda _: None)
    for recipe, profile in (
        (OURS, folder / "my_scans.yaml"),
        (OURS, folder / "my_laptop.yaml"),
        (folder / "my_recipe.yaml", None),
    ):
        block = data_of(recipe, profile)
        data = block.component.load()(block.settings, quiet)
        data.prepare()
        cases = {split: data.cases(split) for split in ("train", "validation", "test")}
        assert [len(table) for table in cases.values()] == [3, 2, 2]
        assert cases["train"].label_names == ("Lung nodule", "Pleural effusion")
        np.testing.assert_array_equal(cases["train"].labels, [[1, 0], [0, 1], [0, 0]])
        assert data.left_out == {}


def test_laptop_profile_of_the_page_preprocesses_a_scan(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CTFW_CACHE", str(folder / "cache"))
    block = data_of(OURS, folder / "my_laptop.yaml")
    chain = make_pipeline(load_plugins().catalog, None, list(block.settings.preprocess), Context())
    volume = chain(folder / "scans" / "0001.nii.gz")
    assert volume.array.shape == (10, 56, 84)


@pytest.mark.parametrize("text", FRAGMENTS, ids=lambda text: text.splitlines()[0])
def test_every_fragment_of_the_page_is_valid(text: str, folder: Path) -> None:
    profile = folder / "tried.yaml"
    head = "" if text.startswith("# my_") else "ctfw: 1\nextends: table\n"
    profile.write_text(head + text)
    found = resolve(
        OURS, profile=str(profile), plugins=load_plugins(only="none"), environ=AnyVariable()
    )
    assert found.data.name in ("table", "amos-mm", "iu-xray", "mimic-cxr")


def test_usual_names_of_the_page_are_those_of_the_code() -> None:
    rows = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| ([^|]+) \|", PAGE, re.MULTILINE)
    assert rows
    told: set[str] = set()
    for roles, names in rows:
        known = [plain(name) for role in re.findall(r"\w+", roles) for name in USUAL[role]]
        listed = [n for n in re.findall(r"[A-Za-z_]+", names.split(":")[0]) if n != "..."]
        assert [name for name in listed if plain(name) not in known] == [], roles
        told |= set(re.findall(r"\w+", roles))
    assert told == set(USUAL)


@pytest.mark.slow
def test_laptop_profile_of_the_page_runs_to_its_report(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "ctfw", "run", str(OURS), "--profile", "my_laptop.yaml"],
        cwd=folder,
        env={**os.environ, "CTFW_CACHE": str(folder / "cache")},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert len(list(folder.glob("runs/*/*/report.html"))) == 1
