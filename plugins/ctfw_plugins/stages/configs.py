"""Settings of the stages; light."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ctfw.config import Local, Strict
from ctfw.scoring.conditions import parse
from ctfw.settings import Generation, Training
from ctfw.slots import FromCheckpoint, UseLabeler, UseLoss, UseMetric, UseNegativeSampler
from ctfw_plugins.stages.contradictions import idle, marks_of


class FinetuneConfig(Strict):
    """Fine-tune the backbone on image and report, with or without negative images."""

    start_from: FromCheckpoint | None = Field(
        None, description="stage or folder with a checkpoint; null: the backbone's own weights"
    )
    negatives: UseNegativeSampler | None = Field(
        None, description="which image contradicts the report; null: no negatives (Origin)"
    )
    loss: UseLoss = Field(description="what is minimised")
    extra_losses: list[UseLoss] = Field(
        default_factory=list,
        description="further terms, added to the loss: [{use: align-contrast, weight: 0.1}]",
    )
    labeler: UseLabeler | None = Field(
        None, description="reads which sentences a negative contradicts, where the loss asks for it"
    )
    freeze_vision: bool = Field(
        False, description="leave the vision tower as it is; its output is computed once per scan"
    )
    training: Training = Field(default_factory=Training, description="merged over the shared block")

    @model_validator(mode="after")
    def _negatives_can_teach(self) -> FinetuneConfig:
        if problem := idle(self.negatives, marks_of([self.loss, *self.extra_losses])):
            raise ValueError(problem)
        return self


class VisionWarmupConfig(Strict):
    """Teach the vision tower to see findings before the language model learns to write."""

    start_from: FromCheckpoint | None = Field(
        None, description="stage or folder with a checkpoint; null: the backbone's own weights"
    )
    targets: Literal["lesions", "labels"] = Field(
        "lesions",
        description="lesions: masks, one target per visual token; labels: one vector per scan",
    )
    positive_weight: float = Field(5.0, gt=0, description="weight of a present finding in the BCE")
    patch_start: Literal["pca", "keep"] = Field(
        "keep",
        description="pca: start random patch weights from the scans' principal components",
    )
    training: Training = Field(default_factory=Training, description="merged over the shared block")


class ReportConfig(Strict):
    """Write the reports of a split, score them beside their floors, and measure reliance."""

    start_from: FromCheckpoint | None = Field(
        None, description="stage or folder with a checkpoint; none for generation.engine openai"
    )
    split: Literal["train", "validation", "test"] = Field("test", description="which cases")
    cases: int | None = Field(None, ge=1, description="use only the first so many cases")
    labeler: UseLabeler = Field(description="reads the findings of both texts")
    metrics: list[UseMetric] = Field(default_factory=list, description="what is scored")
    generation: Generation = Field(default_factory=Generation, description="decoding")
    training: Training = Field(default_factory=Training, description="precision and device")
    resamples: int = Field(2000, ge=100, description="patient-clustered bootstrap resamples")
    browse: int = Field(16, ge=0, description="test cases shown in the report page")
    browse_train: int = Field(
        6, ge=0, description="training cases shown, each with its negative image"
    )
    fail_if: Annotated[list[str], Local()] = Field(
        default_factory=list,
        description="the run ends as failed, scores kept, where one holds: "
        "[grounded_gain < 0.1]; NAME.low and NAME.high are the ends of an interval",
    )

    @model_validator(mode="after")
    def _has_a_model(self) -> ReportConfig:
        engine = self.generation.engine
        if self.start_from is None and engine != "openai":
            raise ValueError(
                f"start_from is required with generation.engine {engine}: name the stage or folder "
                "whose checkpoint writes the reports, e.g. start_from: tune/best"
            )
        if self.start_from is not None and engine == "openai":
            raise ValueError(
                "start_from is a checkpoint, and with generation.engine openai a server writes the "
                "reports: remove one of them"
            )
        return self

    @field_validator("fail_if")
    @classmethod
    def _conditions(cls, texts: list[str]) -> list[str]:
        for text in texts:
            parse(text)
        return texts
