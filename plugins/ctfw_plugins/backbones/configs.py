"""Settings of the backbones; light."""

from __future__ import annotations

from typing import Literal, get_args

from pydantic import Field

from ctfw.config import Strict


class RandomShape(Strict):
    """Size of a Qwen2.5-VL with random weights, for machines without the real ones."""

    hidden_size: int = Field(128, ge=16, description="width of the language model")
    layers: int = Field(4, ge=1, description="decoder layers")
    heads: int = Field(4, ge=1, description="attention heads of the language model")
    intermediate_size: int = Field(384, ge=16, description="width of the language MLP")
    vision_hidden_size: int = Field(96, ge=16, description="width of the vision tower")
    vision_layers: int = Field(3, ge=1, description="blocks of the vision tower")
    vision_heads: int = Field(4, ge=1, description="attention heads of the vision tower")
    vision_intermediate_size: int = Field(256, ge=16, description="width of the vision MLP")
    vocabulary: int = Field(
        1024, ge=300, description="size of the tokenizer trained on the reports"
    )
    initializer_range: float = Field(0.08, gt=0, description="standard deviation of the weights")


Projection = Literal["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
LANGUAGE_PROJECTIONS: tuple[Projection, ...] = get_args(Projection)


class Lora(Strict):
    """Low-rank adapters on the language model; its own weights and the embeddings stay fixed."""

    rank: int = Field(16, ge=1, description="rank of the update of each matrix")
    alpha: int = Field(32, ge=1, description="the update is scaled by alpha / rank")
    dropout: float = Field(
        0.05, ge=0, lt=1, description="share of an adapter's inputs left out at each step"
    )
    targets: list[Projection] = Field(
        default_factory=lambda: list(LANGUAGE_PROJECTIONS),
        min_length=1,
        description="matrices of each decoder layer that get an adapter",
    )


class Qwen25VLConfig(Strict):
    """Qwen2.5-VL reads the slices as a video whose temporal positions are millimetres."""

    weights: str | None = Field(
        None, description="local folder or hub id; null: random weights of `shape`"
    )
    shape: RandomShape = Field(default_factory=RandomShape, description="used when weights is null")
    system: str = Field("You are a helpful assistant.", description="system message")
    prompt: str = Field(
        "Write the radiology report of this chest CT.", description="what the user turn asks for"
    )
    channels: Literal["grey", "windows"] = Field(
        "grey", description="grey: one value three times; windows: lung, mediastinum, bone"
    )
    mm_per_position: float = Field(
        1.5, gt=0, description="millimetres along the scan axis per temporal position of M-RoPE"
    )
    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="type in which the weights are held"
    )
    attention: Literal["sdpa", "eager", "flash_attention_2"] = Field(
        "sdpa", description="attention implementation of transformers"
    )
    lora: Lora | None = Field(
        None, description="train adapters on the language model; null: train its weights"
    )

    def requires(self) -> tuple[str, ...]:
        return (
            *(("peft>=0.18",) if self.lora is not None else ()),
            *(("flash-attn",) if self.attention == "flash_attention_2" else ()),
        )
