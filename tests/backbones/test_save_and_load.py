"""A checkpoint gives back the same model, and a wrong one is refused in words."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from ctfw.errors import BadCheckpoint, UserError
from ctfw.settings import Generation
from ctfw.testing.data import REPORTS
from ctfw.types import Volume
from ctfw_plugins.backbones.configs import Qwen25VLConfig
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL

Scan = Callable[..., Volume]


@pytest.fixture
def saved(backbone: Qwen25VL, tmp_path: Path) -> Path:
    backbone.save(tmp_path / "model")
    return tmp_path / "model"


def reloaded(config: Qwen25VLConfig, folder: Path) -> Qwen25VL:
    other = Qwen25VL(config)
    other.load(folder)
    other.module().eval()
    return other


def test_loaded_model_gives_identical_outputs(
    backbone: Qwen25VL, config: Qwen25VLConfig, saved: Path, scan: Scan
) -> None:
    other = reloaded(config, saved)
    images = [scan(4, seed=1), scan(6, seed=2)]
    reports = [REPORTS[0], REPORTS[3]]
    with torch.no_grad():
        mine = backbone.forward([backbone.encode(v) for v in images], reports).nll
        theirs = other.forward([other.encode(v) for v in images], reports).nll
    assert torch.equal(mine, theirs)
    settings = Generation(max_new_tokens=8)
    assert backbone.generate([backbone.encode(images[0])], settings) == other.generate(
        [other.encode(images[0])], settings
    )
    assert other.prompt == backbone.prompt


def test_weights_as_a_local_folder_build_the_same_model(
    backbone: Qwen25VL, config: Qwen25VLConfig, saved: Path
) -> None:
    other = Qwen25VL(config.model_copy(update={"weights": str(saved)}))
    other.build((), seed=99)
    mine, theirs = backbone.module().state_dict(), other.module().state_dict()
    assert set(mine) == set(theirs)
    assert all(torch.equal(mine[name], theirs[name]) for name in mine)


def test_nothing_is_pickled(saved: Path) -> None:
    assert {path.suffix for path in saved.iterdir()} == {".json", ".safetensors", ".jinja"}


def test_same_seed_builds_the_same_model(backbone: Qwen25VL, config: Qwen25VLConfig) -> None:
    again, other = Qwen25VL(config), Qwen25VL(config)
    again.build(REPORTS, 3)
    other.build(REPORTS, 4)
    mine = backbone.module().state_dict()
    assert all(torch.equal(mine[k], v) for k, v in again.module().state_dict().items())
    assert any(not torch.equal(mine[k], v) for k, v in other.module().state_dict().items())
    assert again.report_ids(REPORTS[0]) == backbone.report_ids(REPORTS[0])


def test_folder_that_is_no_checkpoint_is_refused(config: Qwen25VLConfig, tmp_path: Path) -> None:
    with pytest.raises(BadCheckpoint, match=r"is not a checkpoint of qwen2.5-vl: no ctfw_backbone"):
        Qwen25VL(config).load(tmp_path)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"channels": "windows"}, "backbone.channels = 'grey', the recipe says 'windows'"),
        ({"mm_per_position": 3.0}, "backbone.mm_per_position = 1.5, the recipe says 3.0"),
        ({"prompt": "Hi"}, "backbone.prompt = 'Write the radiology report of this chest CT.'"),
    ],
)
def test_other_settings_are_refused(
    config: Qwen25VLConfig, saved: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(BadCheckpoint) as caught:
        Qwen25VL(config.model_copy(update=changes)).load(saved)
    assert words in str(caught.value)


def drop_a_weight(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    weights.pop(next(name for name in weights if "down_proj" in name))
    save_file(weights, file, metadata={"format": "pt"})


def add_a_weight(folder: Path) -> None:
    file = folder / "model.safetensors"
    save_file(load_file(file) | {"model.extra": torch.ones(2)}, file, metadata={"format": "pt"})


def reshape_a_weight(folder: Path) -> None:
    file = folder / "model.safetensors"
    weights = load_file(file)
    name = next(name for name in weights if "down_proj" in name)
    weights[name] = weights[name][:, :-4].contiguous()
    save_file(weights, file, metadata={"format": "pt"})


def cut_the_weights(folder: Path) -> None:
    file = folder / "model.safetensors"
    file.write_bytes(file.read_bytes()[:5000])


def remove(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def spoil(name: str) -> Callable[[Path], None]:
    def write(folder: Path) -> None:
        (folder / name).write_text('{"half')

    return write


def other_facts(folder: Path) -> None:
    file = folder / "ctfw_backbone.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"from_the_future": 1}))


@pytest.mark.parametrize(
    "damage",
    [
        drop_a_weight,
        add_a_weight,
        reshape_a_weight,
        cut_the_weights,
        remove("model.safetensors"),
        remove("config.json"),
        remove("tokenizer.json"),
        spoil("config.json"),
        spoil("tokenizer.json"),
        spoil("ctfw_backbone.json"),
        other_facts,
    ],
    ids=lambda damage: getattr(damage, "__name__", ""),
)
def test_damaged_checkpoint_is_refused_by_name(
    config: Qwen25VLConfig, saved: Path, damage: Callable[[Path], None]
) -> None:
    damage(saved)
    with pytest.raises(BadCheckpoint) as caught:
        Qwen25VL(config).load(saved)
    assert str(saved) in str(caught.value)


def test_missing_weight_is_named(config: Qwen25VLConfig, saved: Path) -> None:
    drop_a_weight(saved)
    with pytest.raises(BadCheckpoint, match=r"1 weights do not fit .* e.g. model.*down_proj"):
        Qwen25VL(config).load(saved)


def test_weights_that_are_nowhere_are_named(
    config: Qwen25VLConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    nowhere = Qwen25VL(config.model_copy(update={"weights": "no/such-model"}))
    with pytest.raises(UserError, match=r"backbone.weights: 'no/such-model' is neither a local"):
        nowhere.build((), 0)
