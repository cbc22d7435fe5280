"""Phantoms are made once, the same way every time, and go on where they were stopped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ctfw.errors import BadData
from ctfw_plugins.datasets.configs import PhantomConfig
from ctfw_plugins.datasets.phantom import Phantom
from ctfw_plugins.datasets.phantoms.writer import record_path, studies, write_study


def small(root: Path | None, context: Any = None, **changes: Any) -> Phantom:
    settings: dict[str, Any] = {"train": 4, "validation": 1, "test": 1, "spacing_mm": 6.0}
    settings |= {"workers": 1} | changes
    return Phantom(PhantomConfig(root=root, **settings), context)


def contents(root: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()
    }


def test_same_settings_give_the_same_bytes(tmp_path: Path) -> None:
    small(tmp_path / "a").prepare()
    small(tmp_path / "b").prepare()
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_another_seed_gives_other_images(tmp_path: Path) -> None:
    small(tmp_path / "a").prepare()
    small(tmp_path / "b", seed=1).prepare()
    one, other = contents(tmp_path / "a"), contents(tmp_path / "b")
    images = [name for name in one if name.startswith("train") and name in other]
    assert images
    assert all(one[name] != other[name] for name in images)


def test_processes_give_the_bytes_of_one_process(tmp_path: Path) -> None:
    small(tmp_path / "a", train=14).prepare()
    small(tmp_path / "b", train=14, workers=2).prepare()
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_study_does_not_depend_on_those_before_it(phantoms: Phantom, tmp_path: Path) -> None:
    study = studies("train", 24, phantoms.config.max_studies, phantoms.config.seed)[17]
    write_study(tmp_path, phantoms.recipe, study)
    alone = contents(tmp_path)
    whole = contents(phantoms.root)
    assert alone == {name: whole[name] for name in alone}
    assert len(alone) == 3


def test_prepare_draws_only_what_is_missing(tmp_path: Path) -> None:
    dataset = small(tmp_path)
    dataset.prepare()
    before = contents(tmp_path)
    victim = dataset.cases("train")[2]
    record_path(tmp_path, victim.id).unlink()  # killed before the record was renamed
    victim.image.write_bytes(b"half a file")
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nii.gz")}
    small(tmp_path).prepare()
    assert contents(tmp_path) == before
    redrawn = {path.name for path, was in times.items() if path.stat().st_mtime_ns != was}
    assert redrawn == {f"{victim.id}.nii.gz"}


def test_nothing_temporary_is_left(phantoms: Phantom) -> None:
    assert not list(phantoms.root.rglob("*.part"))


def test_more_studies_extend_the_folder(tmp_path: Path) -> None:
    small(tmp_path).prepare()
    before = contents(tmp_path)
    small(tmp_path, train=9).prepare()
    after = contents(tmp_path)
    assert {name: after[name] for name in before} == before
    assert len(small(tmp_path, train=9).cases("train")) == 9


@pytest.mark.parametrize(
    "changes",
    [{"seed": 3}, {"spacing_mm": 5.0}, {"labels": ("Emphysema",)}, {"positives_per_case": 2.0}],
    ids=lambda changes: next(iter(changes)),
)
def test_folder_of_other_settings_is_refused(tmp_path: Path, changes: dict[str, Any]) -> None:
    small(tmp_path).prepare()
    with pytest.raises(BadData, match=r"other settings.*remove the folder or give another"):
        small(tmp_path, **changes).prepare()


def test_text_settings_share_the_images(tmp_path: Path) -> None:
    assert small(None).root == small(None, style="short", sections="findings").root
    assert small(None).root != small(None, seed=5).root


def test_default_root_is_in_the_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CTFW_CACHE", str(tmp_path))
    dataset = small(None)
    assert dataset.root == tmp_path / "phantom" / dataset.fingerprint
    monkeypatch.delenv("CTFW_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert small(None).root == tmp_path / "x" / "ctfw" / "phantom" / dataset.fingerprint
    assert not (tmp_path / "x").exists(), "asking for the folder does not make it"


def test_broken_manifest_and_missing_record_are_named(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    with pytest.raises(BadData, match=r"manifest\.json cannot be read"):
        small(tmp_path).prepare()
    with pytest.raises(BadData, match=r"is missing or broken.*run the recipe again"):
        small(tmp_path / "empty").cases("train")


def test_prepare_shows_its_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("ctfw.progress.LINE_EVERY_S", 0.0)
    small(tmp_path, train=15).prepare()
    shown = capsys.readouterr().err
    assert "draw phantoms: 8 of" in shown
    assert "left" in shown
    small(tmp_path, train=15).prepare()
    assert capsys.readouterr().err == "", "nothing to draw, nothing to show"


def test_drawing_imports_no_torch() -> None:
    code = (
        "import sys; import ctfw_plugins.datasets.phantoms.writer as w, numpy as np;"
        "w.draw(w.Recipe(0, 6.0, ('Emphysema',), 1.0), w.Study('train', 1, 0));"
        "sys.exit(bool({'torch', 'transformers', 'scipy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
