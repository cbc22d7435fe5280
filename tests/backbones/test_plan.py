"""The plan says what the built model does, and the released sizes are those that were released."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from ctfw.errors import BadData
from ctfw.model_plan import PlanningBackbone
from ctfw.testing.data import REPORTS
from ctfw.types import Volume
from ctfw_plugins.backbones.configs import Lora, Qwen25VLConfig
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL

Scan = Callable[..., Volume]


@pytest.mark.parametrize("slices", [1, 4, 7])
def test_plan_has_the_tokens_of_the_encoded_image(
    slices: int, config: Qwen25VLConfig, backbone: Qwen25VL, scan: Scan
) -> None:
    volume = scan(slices=slices, size=84)
    image = backbone.encode(volume)
    plan = Qwen25VL(config).plan(volume, REPORTS)
    assert plan.grid == image.token_grid
    assert plan.visual_tokens == image.count
    assert image.patches is not None
    assert plan.patches == len(image.patches)


def test_plan_has_the_prompt_reports_and_context_of_the_built_model(
    config: Qwen25VLConfig, backbone: Qwen25VL, scan: Scan
) -> None:
    plan = Qwen25VL(config).plan(scan(), REPORTS)
    assert plan.prompt_tokens == len(backbone._text.before) + len(backbone._text.after)
    assert plan.count_tokens is not None
    assert plan.count_tokens(REPORTS) == [len(backbone.report_ids(text)) for text in REPORTS]
    assert plan.context_length == backbone.model.qwen.config.text_config.max_position_embeddings
    assert plan.vocabulary == len(backbone.processor.tokenizer)


def test_plan_counts_the_parameters_of_the_built_model(
    config: Qwen25VLConfig, backbone: Qwen25VL, scan: Scan
) -> None:
    plan = Qwen25VL(config).plan(scan(), REPORTS)
    assert plan.parameters == sum(p.numel() for p in backbone.module().parameters())
    assert plan.vision_parameters == sum(p.numel() for p in backbone.tower.parameters())
    assert plan.bytes_per_parameter == next(backbone.module().parameters()).itemsize


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        # The sums of the tensors of the released safetensors files.
        ("Qwen/Qwen2.5-VL-3B-Instruct", 3_754_622_976),
        ("Qwen/Qwen2.5-VL-7B-Instruct", 8_292_166_656),
    ],
)
def test_released_models_have_their_published_size(
    name: str, parameters: int, scan: Scan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    config = Qwen25VLConfig(weights=name, dtype="bfloat16")
    plan = Qwen25VL(config).plan(scan(slices=10, size=448), [])
    assert plan.parameters == parameters
    assert plan.bytes_per_parameter == 2
    assert plan.context_length == 128_000
    assert name in plan.source


def test_ten_slices_of_448_pixels_are_1280_visual_tokens(
    config: Qwen25VLConfig,
) -> None:
    import numpy as np

    volume = Volume(np.zeros((10, 448, 448), np.float32), np.diag([-1.0, -1.0, 30.0, 1.0]))
    plan = Qwen25VL(config).plan(volume, REPORTS)
    assert plan.grid == (5, 16, 16)
    assert plan.visual_tokens == 1280


def test_a_local_folder_is_read_and_its_weights_are_found(
    config: Qwen25VLConfig, backbone: Qwen25VL, scan: Scan, tmp_path: Path
) -> None:
    backbone.save(tmp_path / "model")
    local = Qwen25VLConfig(weights=str(tmp_path / "model"))
    plan = Qwen25VL(local).plan(scan(), [])
    assert plan.parameters == sum(p.numel() for p in backbone.module().parameters())
    assert plan.prompt_tokens == len(backbone._text.before) + len(backbone._text.after)
    assert plan.weights_here
    (tmp_path / "model" / "model.safetensors").unlink()
    assert not Qwen25VL(local).plan(scan(), []).weights_here


def test_an_unknown_model_leaves_gaps_and_is_not_looked_up(scan: Scan, tmp_path: Path) -> None:
    plan = Qwen25VL(Qwen25VLConfig(weights=str(tmp_path / "gone"))).plan(scan(), [])
    assert plan.parameters is None
    assert plan.count_tokens is None
    assert not plan.weights_here
    assert plan.visual_tokens == 4


@pytest.mark.parametrize(
    ("changes", "words"), [({"size": 60}, "multiples of 28"), ({"step_mm": 0.1}, "share one")]
)
def test_plan_refuses_what_the_model_refuses(
    changes: dict[str, float], words: str, config: Qwen25VLConfig, backbone: Qwen25VL, scan: Scan
) -> None:
    volume = scan(**changes)
    for refusing in (backbone.encode, lambda v: Qwen25VL(config).plan(v, REPORTS)):
        with pytest.raises(BadData, match=words):
            refusing(volume)


def test_the_backbone_says_that_it_plans(config: Qwen25VLConfig) -> None:
    assert isinstance(Qwen25VL(config), PlanningBackbone)


@pytest.mark.parametrize("lora", [Lora(), Lora(rank=3, targets=["q_proj", "down_proj"])])
def test_adapters_are_counted_as_they_are_built(
    lora: Lora, config: Qwen25VLConfig, scan: Scan
) -> None:
    made = Qwen25VL(config.model_copy(update={"lora": lora}))
    made.build(REPORTS, 0)
    built = sum(p.numel() for n, p in made.module().named_parameters() if ".lora_" in n)
    assert made.plan(scan(), REPORTS).adapter_parameters == built
    assert Qwen25VL(config).plan(scan(), REPORTS).adapter_parameters is None
