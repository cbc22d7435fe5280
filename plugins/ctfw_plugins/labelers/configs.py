"""Settings of the labelers; imports pydantic only."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ctfw.config import Local, MustExist, Strict
from ctfw.endpoint import Endpoint


class CtRate18Config(Strict):
    """Rules for the 18 CT-RATE labels."""

    uncertain: Literal["positive", "negative"] = Field(
        "positive",
        description="what a doubted finding counts as ('pneumonia?', 'may be compatible with'); "
        "positive is what the manual CT-RATE labels do",
    )
    rules: Path | None = Field(
        None, description="another rules file of the same form; the built-in rules when empty"
    )


class Chexpert14Config(Strict):
    """Rules for the 14 CheXpert observations in chest X-ray reports."""

    convention: Literal["r2gen", "f1chexbert"] = Field(
        "r2gen",
        description="how blank and uncertain become 0 and 1: r2gen counts uncertain as absent, "
        "f1chexbert as present",
    )
    rules: Path | None = Field(
        None, description="another rules file of the same form; the built-in rules when empty"
    )


class RadBertConfig(Strict):
    """The CT-RATE text classifier, from a folder of this machine."""

    folder: Annotated[Path, Local(), MustExist("folder")] = Field(
        description="configuration and tokenizer of RadBERT-RoBERTa-4m, with the classifier's "
        "weights beside them"
    )
    weights: str = Field(
        "RadBertClassifier.pth", min_length=1, description="file of the weights in that folder"
    )
    long: Literal["truncate", "chunk"] = Field(
        "truncate",
        description="reports above max_tokens: truncate reads their beginning, as published; "
        "chunk reads all of them in windows and takes the largest probability",
    )
    max_tokens: int = Field(512, ge=128, description="tokens that the model reads at once")
    batch_size: int = Field(16, ge=1, description="reports at once")
    device: Annotated[str, Local()] = Field("auto", description="auto, cpu, cuda or cuda:N")


class LlmConfig(Strict):
    """A language model behind an OpenAI-compatible endpoint."""

    endpoint: Endpoint = Field(description="where the model is served")
    labels: tuple[str, ...] = Field((), description="what is asked; empty: the 18 of CT-RATE")
    prompt: str | None = Field(
        None,
        description="system prompt of one's own; {keys} becomes the list of labels and {doubt} "
        "what a doubted finding is to be called",
    )
    uncertain: Literal["positive", "negative"] = Field(
        "positive", description="what a doubted finding counts as"
    )
    temperature: float = Field(0.0, ge=0, description="0 is greedy")
    max_tokens: int = Field(1024, ge=16, description="limit of an answer")
    seed: int | None = Field(None, description="passed to the server; another one asks anew")
    attempts: int = Field(3, ge=1, description="answers per report before it is an error")
    workers: Annotated[int, Local()] = Field(8, ge=1, description="questions at once")
    cache: Annotated[Path | None, Local()] = Field(
        None, description="folder of the answers; empty: the user's cache"
    )

    @field_validator("prompt")
    @classmethod
    def _asks_for_the_labels(cls, value: str | None) -> str | None:
        if value is not None and "{keys}" not in value:
            raise ValueError("must hold {keys}, where the list of labels goes")
        return value

    @field_validator("labels")
    @classmethod
    def _distinct(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) < len(value):
            raise ValueError("names a label twice")
        return value
