"""Adapters train, are kept in peft's format, and are refused when one of them has no place."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ctfw.engine.accelerator import make_optimizer
from ctfw.errors import BadCheckpoint, MissingPackage
from ctfw.settings import Generation, Training
from ctfw.testing.data import REPORTS
from ctfw.types import Volume
from ctfw_plugins.backbones.configs import LANGUAGE_PROJECTIONS, Lora, Qwen25VLConfig
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL

Scan = Callable[..., Volume]
LORA = Lora(rank=4, alpha=8, dropout=0)


@pytest.fixture
def adapted(config: Qwen25VLConfig) -> Qwen25VL:
    return built(config.model_copy(update={"lora": LORA}))


def built(config: Qwen25VLConfig) -> Qwen25VL:
    made = Qwen25VL(config)
    made.build(REPORTS, 3)
    made.module().eval()
    return made


def loaded(config: Qwen25VLConfig, folder: Path, lora: Lora | None = LORA) -> Qwen25VL:
    made = Qwen25VL(config.model_copy(update={"lora": lora}))
    made.load(folder)
    made.module().eval()
    return made


@torch.no_grad()
def shake(backbone: Qwen25VL, part: str = ".lora_B.") -> None:
    """Give adapters (or another part) values, as a training would."""
    torch.manual_seed(1)
    for name, weight in backbone.model.qwen.named_parameters():
        if part in name:
            weight.add_(torch.randn_like(weight) * 0.1)


@torch.no_grad()
def nll(backbone: Qwen25VL, scan: Scan) -> torch.Tensor:
    images = [backbone.encode(scan(4, 3.0, 1)), backbone.encode(scan(6, 1.5, 2))]
    return backbone.forward(images, REPORTS[:2]).nll


def test_fresh_adapters_change_nothing(adapted: Qwen25VL, backbone: Qwen25VL, scan: Scan) -> None:
    assert torch.equal(nll(adapted, scan), nll(backbone, scan))


def test_every_projection_of_the_language_model_has_an_adapter_and_nothing_else_trains(
    adapted: Qwen25VL,
) -> None:
    trained = {n for n, p in adapted.model.qwen.named_parameters() if p.requires_grad}
    layers = adapted.config.shape.layers
    assert len(trained) == layers * len(LANGUAGE_PROJECTIONS) * 2
    assert all("language_model.layers" in name and ".lora_" in name for name in trained)
    few = built(adapted.config.model_copy(update={"lora": Lora(targets=["q_proj", "v_proj"])}))
    assert sum(p.requires_grad for p in few.model.qwen.parameters()) == layers * 2 * 2


@pytest.mark.parametrize("freeze", [True, False])
def test_optimizer_gets_adapters_and_an_unfrozen_tower(adapted: Qwen25VL, freeze: bool) -> None:
    adapted.tower.requires_grad_(not freeze)
    optimizer = make_optimizer(adapted.module(), Training())
    given = {id(p) for group in optimizer.param_groups for p in group["params"]}
    tower = {id(p) for p in adapted.tower.parameters()}
    adapters = {id(p) for n, p in adapted.module().named_parameters() if ".lora_" in n}
    assert given == (adapters if freeze else adapters | tower)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("freeze", [True, False])
def test_checkpointing_gives_the_same_gradients(
    config: Qwen25VLConfig, scan: Scan, dtype: str, freeze: bool
) -> None:
    found = []
    for recompute in (False, True):
        made = built(config.model_copy(update={"lora": LORA, "dtype": dtype}))
        shake(made)
        made.tower.requires_grad_(not freeze)
        made.module().train()
        if recompute:
            made.model.qwen.gradient_checkpointing_enable({"use_reentrant": False})
        made.forward([made.encode(scan(4))], REPORTS[:1]).nll.sum().backward()
        gradients = {n: p.grad for n, p in made.module().named_parameters() if p.requires_grad}
        assert all(g is not None and g.isfinite().all() for g in gradients.values())
        assert all(p.dtype is torch.float32 for n, p in made.module().named_parameters()
                   if ".lora_" in n)  # fmt: skip
        found.append(gradients)
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient)
    assert any(g.abs().sum() > 0 for n, g in found[0].items() if ".lora_A." in n)


def test_checkpoint_holds_adapters_in_peft_s_format(
    adapted: Qwen25VL, backbone: Qwen25VL, scan: Scan, tmp_path: Path
) -> None:
    from peft import PeftModel

    shake(adapted)
    adapted.save(tmp_path / "model")
    assert not (tmp_path / "model" / "trained.safetensors").exists()
    keys = set(load_file(tmp_path / "model" / "adapter_model.safetensors"))
    assert "base_model.model.model.language_model.layers.0.mlp.up_proj.lora_A.weight" in keys
    # peft itself puts them on the plain model, and finds every one of them.
    plain = built(backbone.config)
    stock = PeftModel.from_pretrained(plain.model.qwen, tmp_path / "model")
    held = {n for n, _ in stock.named_parameters() if ".lora_" in n}
    assert {n.replace(".default.", ".") for n in held} == keys
    torch.testing.assert_close(nll(plain, scan), nll(adapted, scan))
    assert not torch.allclose(nll(plain, scan), nll(backbone, scan))


def test_loaded_adapters_give_the_same_text_and_loss(
    adapted: Qwen25VL, config: Qwen25VLConfig, scan: Scan, tmp_path: Path
) -> None:
    shake(adapted)
    adapted.save(tmp_path / "model")
    again = loaded(config, tmp_path / "model")
    assert torch.equal(nll(again, scan), nll(adapted, scan))
    settings, image = Generation(max_new_tokens=12), adapted.encode(scan(6))
    assert again.generate([image], settings) == adapted.generate([image], settings)


def test_a_tower_that_was_trained_once_stays_in_every_later_checkpoint(
    adapted: Qwen25VL, config: Qwen25VLConfig, scan: Scan, tmp_path: Path
) -> None:
    adapted.tower.requires_grad_(True)
    shake(adapted, "visual")
    adapted.save(tmp_path / "see")
    tuned = loaded(config, tmp_path / "see")
    tuned.tower.requires_grad_(False)  # the next stage leaves it as it is
    shake(tuned)
    tuned.save(tmp_path / "tune")
    shutil.rmtree(tmp_path / "see")
    beside = load_file(tmp_path / "tune" / "trained.safetensors")
    assert set(beside) == {n for n, _ in tuned.model.qwen.named_parameters() if "visual" in n}
    assert torch.equal(nll(loaded(config, tmp_path / "tune"), scan), nll(tuned, scan))


@pytest.fixture
def base(backbone: Qwen25VL, tmp_path: Path) -> Path:
    """Weights in a folder, as a user has them."""
    backbone.save(tmp_path / "base")
    (tmp_path / "base" / "ctfw_backbone.json").unlink()
    return tmp_path / "base"


def on(base: Path, config: Qwen25VLConfig) -> Qwen25VLConfig:
    return config.model_copy(update={"weights": str(base)})


def test_checkpoint_names_its_base_and_does_not_copy_it(
    base: Path, config: Qwen25VLConfig, scan: Scan, tmp_path: Path
) -> None:
    made = built(on(base, config).model_copy(update={"lora": LORA}))
    shake(made)
    made.save(tmp_path / "model")
    assert not list((tmp_path / "model").glob("**/model*.safetensors"))
    settings = json.loads((tmp_path / "model" / "adapter_config.json").read_text())
    assert settings["base_model_name_or_path"] == str(base)
    assert torch.equal(nll(loaded(on(base, config), tmp_path / "model"), scan), nll(made, scan))


def test_base_that_was_moved_is_found_where_the_recipe_has_it(
    base: Path, config: Qwen25VLConfig, scan: Scan, tmp_path: Path
) -> None:
    made = built(on(base, config).model_copy(update={"lora": LORA}))
    made.save(tmp_path / "model")
    moved = base.rename(tmp_path / "moved")
    assert torch.equal(nll(loaded(on(moved, config), tmp_path / "model"), scan), nll(made, scan))


def test_other_base_is_refused_in_words(base: Path, config: Qwen25VLConfig, tmp_path: Path) -> None:
    built(on(base, config).model_copy(update={"lora": LORA})).save(tmp_path / "model")
    weights = load_file(base / "model.safetensors")
    name = next(n for n in weights if "down_proj" in n)
    save_file(weights | {name: weights[name] + 1}, base / "model.safetensors", {"format": "pt"})
    with pytest.raises(BadCheckpoint) as caught:
        loaded(on(base, config), tmp_path / "model")
    assert f"were trained on {base} (hash " in str(caught.value)
    assert "name the folder with those weights in backbone.weights" in str(caught.value)
    shutil.rmtree(base)
    with pytest.raises(BadCheckpoint, match="not there"):
        loaded(on(base, config), tmp_path / "model")


def test_checkpoint_trained_as_a_whole_becomes_the_base(
    backbone: Qwen25VL, config: Qwen25VLConfig, scan: Scan, tmp_path: Path
) -> None:
    backbone.save(tmp_path / "whole")
    first = loaded(config, tmp_path / "whole")
    assert torch.equal(nll(first, scan), nll(backbone, scan))
    shake(first)
    first.save(tmp_path / "model")
    assert not (tmp_path / "model" / "base").exists()
    assert torch.equal(nll(loaded(config, tmp_path / "model"), scan), nll(first, scan))


def edited(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    def damage(folder: Path) -> None:
        file = folder / "adapter_model.safetensors"
        weights = load_file(file)
        change(weights)
        save_file(weights, file, metadata={"format": "pt"})

    return damage


def renamed(weights: dict[str, torch.Tensor]) -> None:
    """What a library's renaming of modules has done to people's adapters."""
    for key in [key for key in weights if "language_model" in key]:
        weights[key.replace("model.language_model.", "language_model.model.")] = weights.pop(key)


def cut(folder: Path) -> None:
    file = folder / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:300])


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (edited(renamed), "28 are missing, e.g. base_model.model.model.language_model"),
        (edited(renamed), "28 have no place, e.g. base_model.model.language_model.model"),
        (edited(lambda w: w.pop(next(k for k in w if "k_proj.lora_B" in k))), "1 are missing"),
        (edited(lambda w: w.update(extra=torch.ones(1))), "1 have no place, e.g. extra"),
        (edited(lambda w: w.update({k: v[:, :2].contiguous() for k, v in w.items()
                                    if "k_proj.lora_B" in k})), "has the shape (64, 2)"),
        (cut, "cannot be read"),
        (lambda f: (f / "adapter_model.safetensors").unlink(), "cannot be read"),
    ],
)  # fmt: skip
def test_adapter_that_does_not_fit_is_refused(
    adapted: Qwen25VL, config: Qwen25VLConfig, tmp_path: Path, damage: Any, words: str
) -> None:
    adapted.save(tmp_path / "model")
    damage(tmp_path / "model")
    with pytest.raises(BadCheckpoint) as caught:
        loaded(config, tmp_path / "model")
    assert words in str(caught.value)
    assert str(tmp_path / "model" / "adapter_model.safetensors") in str(caught.value)


@pytest.mark.parametrize(
    ("lora", "words"),
    [
        (Lora(rank=8, alpha=8), "backbone.lora.rank = 4, the recipe says 8"),
        (Lora(rank=4, alpha=9), "backbone.lora.alpha = 8, the recipe says 9"),
        (Lora(rank=4, alpha=8, targets=["q_proj"]), "the recipe says ['q_proj']"),
        (None, "holds adapters, the recipe trains all weights"),
    ],
)
def test_other_adapter_settings_are_refused(
    adapted: Qwen25VL, config: Qwen25VLConfig, tmp_path: Path, lora: Lora | None, words: str
) -> None:
    adapted.save(tmp_path / "model")
    with pytest.raises(BadCheckpoint) as caught:
        loaded(config, tmp_path / "model", lora)
    assert words in str(caught.value)
    loaded(config, tmp_path / "model", LORA.model_copy(update={"dropout": 0.3}))


def test_missing_packages_are_named_with_the_way_out(
    config: Qwen25VLConfig, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    flash = on(base, config).model_copy(update={"attention": "flash_attention_2"})
    with pytest.raises(MissingPackage, match=r"flash-attn .* set backbone.attention to sdpa"):
        Qwen25VL(flash).build((), 0)
    monkeypatch.setitem(sys.modules, "peft", None)
    with pytest.raises(MissingPackage, match=r"pip install 'peft>=0.18'"):
        built(config.model_copy(update={"lora": LORA}))


def test_adapters_start_from_the_seed_alone(config: Qwen25VLConfig) -> None:
    def first(noise: int, seed: int) -> nn.Parameter:
        torch.manual_seed(noise)
        made = Qwen25VL(config.model_copy(update={"lora": LORA}))
        made.build(REPORTS, seed)
        return next(p for n, p in made.model.qwen.named_parameters() if ".lora_A." in n)

    assert torch.equal(first(1, 0), first(2, 0))
    assert not torch.equal(first(1, 0), first(1, 5))
