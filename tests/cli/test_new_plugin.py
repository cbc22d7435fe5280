"""`ctfw new plugin` makes a distribution whose own test passes."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ctfw import Case, CaseTable, Prediction, Volume, cli, load_plugins
from ctfw.plugins import Plugins
from ctfw.scaffold import KINDS


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Make a plugin of a kind and load it."""

    def build(kind: str) -> Plugins:
        name = f"made-{kind.replace('_', '-')}"
        assert cli.main(["new", "plugin", name, "--kind", kind, "--into", str(tmp_path)]) == 0
        monkeypatch.syspath_prepend(str(tmp_path / f"ctfw-{name}" / "src"))
        package = importlib.import_module(f"ctfw_made_{kind}")
        return load_plugins(discover=False, extra={f"ctfw-{name}": package})

    return SimpleNamespace(build=build, folder=tmp_path)


def test_tests_of_new_plugins_pass(make: SimpleNamespace) -> None:
    # One process for all kinds: starting pytest takes longer than what it runs.
    for kind in KINDS:
        make.build(kind)
    folders = sorted(make.folder.iterdir())
    paths = [*(str(folder / "src") for folder in folders[1:]), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib",
         "-c", str(folders[0] / "pyproject.toml"), *map(str, folders)],
        cwd=folders[0],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert f"{len(KINDS)} passed" in done.stdout


def test_new_plugins_are_clean(make: SimpleNamespace) -> None:
    for kind in KINDS:
        make.build(kind)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--line-length=100"]
    command += ["--select=E,F,I,B,UP", str(make.folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    done = subprocess.run(
        [sys.executable, "-m", "ruff", "format", "--isolated", "--line-length=100", "--check",
         str(make.folder)],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def component(plugins: Plugins, kind: str) -> Any:
    found = plugins.catalog.get(kind, f"made-{kind.replace('_', '-')}")
    return found.load()(found.config())


def test_new_sampler_draws_another_patient_with_other_labels(make: SimpleNamespace) -> None:
    sampler = component(make.build("negative_sampler"), "negative_sampler")
    labels = [[0, 0], [0, 0], [1, 0], [1, 1]]
    cases = CaseTable(
        tuple(
            Case(f"c{i}", f"p{i // 2}", Path("x.nii"), "", labels=np.array(row, np.int8))
            for i, row in enumerate(labels)
        ),
        ("a", "b"),
    )
    sampler.fit(cases)
    drawn = {sampler.draw(cases[0], np.random.default_rng(s)).case.id for s in range(20)}
    assert drawn == {"c2", "c3"}


def test_new_metric_preprocessor_and_labeler_compute(make: SimpleNamespace) -> None:
    metric = component(make.build("metric"), "metric")
    scores = metric.score([Prediction("c", "p", "a b c", "a b"), Prediction("d", "p", "", "a")])
    assert scores.values == {"made-metric": 0.75}
    step = component(make.build("preprocessor"), "preprocessor")
    volume = Volume(np.array([[[-2000.0, 0.0, 3000.0]]]), np.eye(4), "hu")
    assert step(volume).array.tolist() == [[[-1000.0, 0.0, 1000.0]]]
    labeler = component(make.build("labeler"), "labeler")
    texts = ["There is a nodule. No effusion.", "Pleural effusion."]
    assert labeler.label(texts).tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["Bad_Name"], "a plugin is named in lower case with hyphens"),
        (["x", "--kind", "losss"], "did you mean 'loss'?"),
        (["heter"], "choose another name, or use PROVIDER/heter"),
        (["ctfw-bleu", "--kind", "metric"], "choose another name, or use PROVIDER/bleu"),
        (["a" * 300], "the name has 300 characters; give the plugin one of at most 64"),
    ],
)
def test_bad_arguments_are_named(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["new", "plugin", *arguments, "--into", str(tmp_path)]) == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_longest_name_and_name_of_another_kind_are_taken(tmp_path: Path) -> None:
    for arguments in (["a" * 64], ["heter", "--kind", "loss"]):
        assert cli.main(["new", "plugin", *arguments, "--into", str(tmp_path)]) == 0


def test_nothing_is_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "ctfw-x").mkdir()
    assert cli.main(["new", "plugin", "x", "--into", str(tmp_path)]) == 2
    assert "exists already" in capsys.readouterr().err
