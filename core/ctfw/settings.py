"""Settings shared by the stages of a recipe: the top-level blocks of a profile."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from ctfw.config import Local, Strict
from ctfw.endpoint import Endpoint


class Training(Strict):
    """How a stage optimises. A stage's own `training` block is merged over the shared one."""

    epochs: float = Field(1.0, gt=0, description="passes over the training split")
    max_steps: int | None = Field(None, ge=1, description="optimizer steps; overrides epochs")
    batch_size: int = Field(1, ge=1, description="anchors per forward pass and process")
    gradient_accumulation: int = Field(1, ge=1, description="forward passes per optimizer step")
    learning_rate: float = Field(2e-5, gt=0, description="peak learning rate")
    schedule: Literal["cosine", "linear", "constant"] = Field(
        "cosine", description="learning rate after the warm-up"
    )
    warmup_ratio: float = Field(0.03, ge=0, lt=1, description="share of steps to the peak rate")
    weight_decay: float = Field(0.0, ge=0, description="AdamW weight decay on matrices")
    betas: tuple[float, float] = Field((0.9, 0.999), description="AdamW moment decay rates")
    clip_norm: float = Field(1.0, gt=0, description="gradient norm is clipped to this")
    precision: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="arithmetic of the forward pass (mixed precision)"
    )
    gradient_checkpointing: bool = Field(
        False, description="recompute activations: less memory, about a third more time"
    )
    engine: Literal["accelerate", "deepspeed-zero1", "deepspeed-zero2", "deepspeed-zero3"] = Field(
        "accelerate",
        description="what drives the processes; ZeRO divides among them the optimizer (1), also "
        "the gradients (2), also the weights (3)",
    )
    offload: Literal["none", "optimizer"] = Field(
        "none",
        description="optimizer: DeepSpeed keeps float32 weights and Adam in the memory of the host",
    )
    checkpoint_every: int = Field(200, ge=1, description="optimizer steps between checkpoints")
    validate_every: int = Field(200, ge=1, description="optimizer steps between validations")
    validation_cases: int | None = Field(None, ge=1, description="cases used for validation")
    device: Annotated[str, Local()] = Field(
        "auto",
        pattern=r"^(auto|cpu|cuda(:\d+)?)$",
        description="auto, cpu, cuda, or cuda:0 etc.; of several processes each takes its own GPU",
    )
    loaders: Annotated[int, Local()] = Field(
        0, ge=0, description="threads that read and preprocess scans ahead of the step"
    )
    threads: Annotated[int | None, Local()] = Field(
        None, ge=1, description="CPU threads of torch in each process"
    )
    log_to: Annotated[list[Literal["tensorboard", "wandb", "mlflow"]], Local()] = Field(
        default_factory=list, description="where steps are logged to besides steps.jsonl"
    )

    @model_validator(mode="after")
    def _offload_needs_deepspeed(self) -> Training:
        if self.offload != "none" and not self.engine.startswith("deepspeed"):
            raise ValueError(
                f"offload is {self.offload!r}, which needs DeepSpeed: set engine to deepspeed-zero2"
            )
        return self

    def cases_per_step(self, processes: int) -> int:
        """Anchors of one optimizer step over all processes."""
        return self.batch_size * self.gradient_accumulation * processes

    def steps(self, cases: int, processes: int) -> int:
        """Optimizer steps over a split of so many cases."""
        if self.max_steps is not None:
            return self.max_steps
        return max(1, math.ceil(self.epochs * cases / self.cases_per_step(processes)))


class Generation(Strict):
    """How reports are written."""

    max_new_tokens: int = Field(512, ge=1, description="longer reports are cut, and counted")
    temperature: float = Field(0.0, ge=0, description="0 is greedy: the same text every time")
    top_p: float = Field(1.0, gt=0, le=1, description="nucleus sampling, when temperature > 0")
    batch_size: int = Field(1, ge=1, description="cases generated together")
    engine: Literal["transformers", "vllm", "openai"] = Field(
        "transformers",
        description="what writes: the checkpoint in this process, vLLM with the checkpoint "
        "exported for it, or a server of OpenAI's protocol, for a model that is no checkpoint",
    )
    endpoint: Endpoint | None = Field(None, description="the server, when engine is openai")
    workers: Annotated[int, Local()] = Field(
        8, ge=1, description="questions under way at once, when engine is openai"
    )

    @model_validator(mode="after")
    def _has_a_server(self) -> Generation:
        if self.engine == "openai" and self.endpoint is None:
            raise ValueError(
                "engine openai needs `endpoint: {base_url: http://localhost:8000/v1, model: NAME}`"
            )
        return self

    def requires(self) -> tuple[str, ...]:
        return ("vllm",) if self.engine == "vllm" else ()

    @property
    def decoding(self) -> dict[str, Any]:
        """What decides the texts of given weights: without engine and server."""
        return self.model_dump(exclude={"engine", "endpoint", "workers"})
