"""`ctfw export` writes a whole folder or none, and says what a stranger must know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ctfw.cli import main
from ctfw.engine import export as engine
from ctfw.engine.bench import checkpoint_facts
from ctfw.engine.checkpoint import Checkpoints
from ctfw.engine.context import Context
from ctfw.plugins import load_plugins
from ctfw.recipe import resolve
from ctfw.testing.data import REPORTS

TINY = [
    f"backbone.shape.{key}={value}"
    for key, value in {
        "hidden_size": 64, "layers": 1, "intermediate_size": 96, "vision_hidden_size": 32,
        "vision_layers": 1, "vision_intermediate_size": 48, "vocabulary": 320,
    }.items()
]  # fmt: skip


def checkpoint(folder: Path, *settings: str) -> Path:
    recipe = resolve("origin", [*TINY, *settings], None, load_plugins())
    backbone = Context(seed=1).build(recipe.backbone)
    backbone.build(REPORTS, 1)
    facts = checkpoint_facts(recipe) | {"stage": "tune"}
    return Checkpoints(folder).save(7, backbone, facts, {}, best=True)


@pytest.fixture
def adapted(tmp_path: Path) -> Path:
    return checkpoint(tmp_path / "stage", "backbone.lora={rank: 2}")


def test_merged_folder_is_announced_and_described(
    adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out"
    assert main(["export", str(adapted), "--merged", str(out)]) == 0
    said = capsys.readouterr()
    assert said.out == f"{out}\n"
    assert "7 matrices got their adapter (14 adapter weights, none left over)" in said.err
    card = (out / "README.md").read_text()
    for words in (
        engine.SYNTHETIC,
        "Recipe `origin`, stage `tune`, step 7",
        "Write the radiology report of this chest CT.",
        "`ctfw/hu-window@1`, clamp to a window of HU and scale: low -1000.0, high 1000",
        "14 adapter weights, none left over",
        "started from random numbers",
    ):
        assert words in card
    assert {"config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja",
            "preprocessor_config.json", "write_report.py", "ctfw.json"} <= {
        file.name for file in out.iterdir()
    }  # fmt: skip


def test_stage_folder_means_its_best_checkpoint(adapted: Path, tmp_path: Path) -> None:
    assert main(["export", str(tmp_path / "stage"), "--adapter", str(tmp_path / "a")]) == 0
    assert (tmp_path / "a" / "adapter_model.safetensors").is_file()
    assert "PeftModel.from_pretrained" in (tmp_path / "a" / "README.md").read_text()


def test_nothing_is_overwritten(
    adapted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    assert main(["export", str(adapted), "--merged", str(tmp_path / "mine")]) == 2
    assert "is already there: name a new folder" in capsys.readouterr().err
    assert [file.name for file in (tmp_path / "mine").iterdir()] == ["thesis.tex"]


def test_failed_export_leaves_nothing(
    adapted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*args: Any) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(engine, "readme", fail)
    before = sorted(tmp_path.rglob("*"))
    assert main(["export", str(adapted), "--merged", str(tmp_path / "out")]) == 2
    assert sorted(tmp_path.rglob("*")) == before


def test_adapters_of_a_model_trained_as_a_whole_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = checkpoint(tmp_path / "stage")
    assert main(["export", str(whole), "--adapter", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert "holds no adapters: export it with --merged" in said
    assert str(whole) in said
    assert main(["export", str(whole), "--merged", str(tmp_path / "out")]) == 0


@pytest.mark.parametrize("choice", [[], ["--merged", "a", "--adapter", "b"]])
def test_one_form_is_asked_for(
    choice: list[str], adapted: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(adapted), *choice]) == 2
    assert "say one of --merged FOLDER and --adapter FOLDER" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("base", "words"),
    [
        ("Qwen/Qwen2.5-VL-7B-Instruct", "`Qwen/Qwen2.5-VL-7B-Instruct`; .*: Apache 2.0"),
        ("Qwen/Qwen2.5-VL-3B-Instruct", "excludes commercial use"),
        ("/home/someone/qwen7b", "derive from `qwen7b`; its licence holds for them, see its page"),
    ],
)
def test_licence_of_the_base_is_named_without_a_path(base: str, words: str) -> None:
    text = engine._licence(base)
    assert "/home" not in text
    import re

    assert re.search(words, text)
