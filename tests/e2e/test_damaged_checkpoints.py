"""A checkpoint that is damaged or of another model is refused in words, and nothing is lost."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch

from ctfw.cli import main

ROOT = Path(__file__).resolve().parents[2]
RECIPE = """\
ctfw: 1
name: damaged
summary: a tiny training that breaks off
profile: phantom
stages:
  tune:
    use: finetune
    freeze_vision: false
    loss: {use: cross-entropy}
    training: {max_steps: 6, batch_size: 2, checkpoint_every: 2, validate_every: 2}
"""


def last_of(run: Path) -> Path:
    folder = run / "stages" / "tune" / "checkpoints"
    return folder / (folder / "last").read_text().strip()


@pytest.fixture(scope="module")
def broken_off(
    tiny: list[str], environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A run that broke off after step 4, with another checkpoint at step 2 that is its best."""
    folder = tmp_path_factory.mktemp("damaged")
    recipe = folder / "damaged.yaml"
    recipe.write_text(RECIPE)
    keep = ("backbone.", "data.workers", "training.threads", "stages.see")
    small = [x for x in tiny[1::2] if x.startswith(keep)]
    small += ["data.train=8", "data.validation=4", "data.test=4", "stages.see.training.max_steps=2"]
    options = [part for each in small for part in ("--set", each)]
    with pytest.MonkeyPatch.context() as patch:
        for name in ("CTFW_CACHE", "CTFW_PLUGINS"):
            patch.setenv(name, environment[name])
        patch.setattr("ctfw_plugins.stages.finetune.Validator.__call__", worse_and_then_gone())
        assert main(["run", str(recipe), "--runs", str(folder / "runs"), *options]) != 0
    (run,) = (folder / "runs").glob("damaged/*")
    assert last_of(run).name == "step-000004"
    return run


def worse_and_then_gone() -> Callable[..., dict[str, float]]:
    scores = iter([1.0, 2.0])

    def validate(self: Any) -> dict[str, float]:
        score = next(scores, None)
        if score is None:
            raise KeyboardInterrupt
        return {"positive": score, "another": score}

    return validate


@pytest.fixture
def run(broken_off: Path, here: None, tmp_path: Path) -> Path:
    return Path(shutil.copytree(broken_off, tmp_path / "run"))


def flip(file: Path) -> None:
    """One bit in the middle, among the numbers."""
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 4
    file.write_bytes(content)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def of_another_model(file: Path) -> None:
    state = torch.load(file, weights_only=True)
    for moments in state["optimizer"]["state"].values():
        moments["exp_avg"] = torch.zeros(3, 3)
    torch.save(state, file)


def wider(file: Path) -> None:
    config = json.loads(file.read_text())
    config["text_config"]["intermediate_size"] += 8
    file.write_text(json.dumps(config))


WEIGHTS = "model/model.safetensors"
FILES = [WEIGHTS, "model/config.json", "ctfw.json", "training.pt"]
# What each reader says by itself: of a checkpoint without checksums, as older ones are.
DAMAGES: list[tuple[str, Callable[[Path], None], str]] = [
    (WEIGHTS, cut, "cannot be loaded as a Qwen2.5-VL model"),
    (WEIGHTS, Path.unlink, "cannot be loaded as a Qwen2.5-VL model"),
    ("model/config.json", wider, "model"),
    ("training.pt", cut, "training.pt cannot be read"),
    ("training.pt", Path.unlink, "training.pt cannot be read"),
    ("training.pt", of_another_model, "does not fit this model"),
]


@pytest.mark.parametrize(
    ("name", "damage", "words"), DAMAGES, ids=[f"{n}-{d.__name__}" for n, d, _ in DAMAGES]
)
def test_damaged_checkpoint_is_refused_and_the_others_are_kept(
    name: str,
    damage: Callable[[Path], None],
    words: str,
    run: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    last = last_of(run)
    (last / "checksums.json").unlink()
    damage(last / name)
    checkpoints = sorted(path.name for path in last.parent.iterdir())
    assert main(["resume", str(run)]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert str(last) in told or "training.engine" in told
    assert f"write its name into {last.parent / 'last'}: step-000002" in told
    assert sorted(path.name for path in last.parent.iterdir()) == checkpoints
    assert json.loads((run / "status.json").read_text())["state"] == "failed"


def test_advice_for_a_damaged_checkpoint_works(
    run: Path, broken_off: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    other = Path(shutil.copytree(broken_off, tmp_path / "other"))
    assert main(["resume", str(other)]) == 0
    cut(last_of(run) / "training.pt")
    (last_of(run).parent / "last").write_text("step-000002\n")
    assert main(["resume", str(run)]) == 0
    assert "going on after step 2" in capsys.readouterr().err
    weights = last_of(run) / "model" / "model.safetensors"
    assert weights.read_bytes() == (last_of(other) / "model" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name", FILES)
def test_flipped_bit_is_not_resumed(
    name: str, run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    last = last_of(run)
    flip(last / name)
    assert main(["resume", str(run)]) == 2
    told = capsys.readouterr().err
    assert f"{last / name} is damaged" in told
    assert f"write its name into {last.parent / 'last'}: step-000002" in told


@pytest.mark.parametrize("verb", ["generate", "audit", "export"])
def test_flipped_bit_is_found_by_every_verb_that_reads_weights(
    verb: str, run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    out = tmp_path / "out"
    last = last_of(run)
    flip(last / WEIGHTS)
    arguments = {
        "generate": [str(last), str(scan_in(tmp_path)), "--out", str(out)],
        "audit": [str(last), "--generate", "--out", str(out)],
        "export": [str(last), "--merged", str(out)],
    }[verb]
    assert main([verb, *arguments]) == 2
    assert f"{last / WEIGHTS} is damaged" in capsys.readouterr().err
    assert not list(out.glob("*.jsonl"))


def scan_in(folder: Path) -> Path:
    file = folder / "scan.nii.gz"
    values = np.random.default_rng(0).integers(-1000, 400, (32, 32, 16))
    nibabel.save(nibabel.Nifti1Image(values.astype(np.int16), np.eye(4)), file)
    return file


def test_flipped_bit_is_not_started_from(
    run: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    last = last_of(run)
    flip(last / WEIGHTS)
    recipe = tmp_path / "next.yaml"
    text = (run / "resolved.yaml").read_text()
    assert text.count("start_from: see/best") == 1
    recipe.write_text(text.replace("start_from: see/best", f"start_from: {last}"))
    assert main(["run", str(recipe), "--runs", str(tmp_path / "runs")]) == 2
    assert f"{last / WEIGHTS} is damaged" in capsys.readouterr().err
