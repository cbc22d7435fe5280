"""Small components that stand in for the built-ins where the subject is the recipe itself."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from ctfw import Component, Local, MustExist, Strict, hookimpl
from ctfw.settings import Generation, Training
from ctfw.slots import (
    FromCheckpoint,
    FromPredictions,
    UseLabeler,
    UseLoss,
    UseMetric,
    UseNegativeSampler,
    UsePreprocessor,
    UseVolumeLoader,
)


class Empty(Strict):
    """No settings."""


class Built:
    """What every declaration here points at."""

    def __init__(self, config: Strict, context: Any = None) -> None:
        self.config = config


class Toy(Strict):
    root: Annotated[Path | None, Local(), MustExist("folder")] = None
    cases: int = Field(8, ge=1, description="number of cases")
    loader: UseVolumeLoader | None = None
    preprocess: list[UsePreprocessor] = Field(default_factory=list)


class Window(Strict):
    low: float = -1000
    high: float = 1000


class Shape(Strict):
    layers: int = Field(2, ge=1)
    heads: int = Field(2, ge=1)


class Tiny(Strict):
    width: int = Field(16, ge=1)
    dtype: Literal["float32", "bfloat16"] = "float32"
    shape: Shape = Field(default_factory=Shape)


class Big(Strict):
    checkpoint: str


class Gauss(Strict):
    strength: float = Field(1.0, gt=0, le=1)


class Heter(Strict):
    min_label_distance: int = Field(10, ge=1, description="labels that must differ")


class Contrast(Strict):
    alpha: float = Field(1.0, ge=0)
    beta: float = Field(0.1, ge=0)
    bound: float | Literal["auto"] = "auto"


class DpoLoss(Strict):
    beta: float = Field(0.1, gt=0)
    reference: FromCheckpoint | None = None


class Bleu(Strict):
    n: int = Field(4, ge=1, le=4)


class Finetune(Strict):
    training: Training = Field(default_factory=Training)
    loss: UseLoss
    negatives: UseNegativeSampler | None = None
    start_from: FromCheckpoint | None = None


class Report(Strict):
    start_from: FromCheckpoint
    split: Literal["train", "validation", "test"] = "test"
    generation: Generation = Field(default_factory=Generation)
    metrics: list[UseMetric] = Field(default_factory=list)
    labeler: UseLabeler | None = None


class Pairs(Strict):
    start_from: FromCheckpoint
    scorer: UseMetric


class Align(Strict):
    start_from: FromCheckpoint
    pairs: FromPredictions
    loss: UseLoss
    training: Training = Field(default_factory=Training)


def _make(name: str, config: type[Strict], **more: Any) -> Component:
    return Component(name, "fake_builtin:Built", config, f"the {name} of the tests", **more)


@hookimpl
def ctfw_datasets() -> Iterable[Component]:
    yield _make("toy", Toy)


@hookimpl
def ctfw_volume_loaders() -> Iterable[Component]:
    return [_make("nifti", Empty), _make("dicom", Empty, needs=("not-a-package>=2",))]


@hookimpl
def ctfw_preprocessors() -> Iterable[Component]:
    yield _make("hu-window", Window)


@hookimpl
def ctfw_negative_samplers() -> Iterable[Component]:
    return [_make("gauss", Gauss), _make("heter", Heter)]


@hookimpl
def ctfw_losses() -> Iterable[Component]:
    return [
        _make("cross-entropy", Empty),
        _make("bounded-contrast", Contrast),
        _make("dpo", DpoLoss),
    ]


@hookimpl
def ctfw_metrics() -> Iterable[Component]:
    return [_make("bleu", Bleu), _make("coverage", Empty, revision=2)]


@hookimpl
def ctfw_labelers() -> Iterable[Component]:
    yield _make("words", Empty)


@hookimpl
def ctfw_backbones() -> Iterable[Component]:
    return [_make("tiny", Tiny), _make("big", Big)]


@hookimpl
def ctfw_stages() -> Iterable[Component]:
    return [
        _make("finetune", Finetune, gives=("checkpoint",)),
        _make("report", Report, gives=("predictions",)),
        _make("preference-pairs", Pairs, gives=("predictions",)),
        _make("dpo", Align, gives=("checkpoint",)),
    ]
