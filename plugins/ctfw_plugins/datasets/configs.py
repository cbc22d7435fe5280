"""Settings of the built-in data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from ctfw.config import Local
from ctfw.data_settings import DatasetConfig
from ctfw.errors import did_you_mean
from ctfw.labels import CT_RATE_LABELS

Sections = Literal["findings", "findings+impression"]


class PhantomConfig(DatasetConfig):
    """Synthetic chest CTs with planted findings."""

    root: Annotated[Path | None, Local()] = Field(
        None, description="folder of the images; null: one in the cache, named by the settings"
    )
    seed: int = Field(0, ge=0, description="decides every image and every text")
    train: int = Field(560, ge=0, description="studies in the training split")
    validation: int = Field(80, ge=0, description="studies in the validation split")
    test: int = Field(128, ge=0, description="studies in the test split")
    max_studies: int = Field(3, ge=1, le=26, description="most studies of one patient")
    spacing_mm: float = Field(3.0, ge=0.5, le=6, description="voxel size, the same on each axis")
    labels: tuple[str, ...] = Field(
        CT_RATE_LABELS, description="labels that may be planted; the others are always negative"
    )
    positives_per_case: float = Field(
        3.5, gt=0, description="mean number of positive labels; at most half of those planted"
    )
    style: Literal["full", "short"] = Field(
        "full",
        description="full: all 18 labels, about 200 words; short: planted ones, 5 words each",
    )
    sections: Sections = Field("findings+impression", description="what the model should write")
    workers: Annotated[int | None, Local()] = Field(
        None, ge=1, description="processes that draw phantoms; null: one per core"
    )

    @field_validator("labels")
    @classmethod
    def _known(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            if name not in CT_RATE_LABELS:
                hint = did_you_mean(name, CT_RATE_LABELS)
                close = f"; {hint}" if hint else ""
                raise ValueError(f"{name!r} is not one of the 18 CT-RATE labels{close}")
        if not value or len(set(value)) != len(value):
            raise ValueError("name at least one label, and each one once")
        return value


class CTRateConfig(DatasetConfig):
    """CT-RATE, or a data set in the same folders and tables."""

    root: Annotated[Path, Local()] = Field(
        description="the folder that holds train_fixed/ or train/, and the CSV folders"
    )
    version: Literal["auto", "fixed", "v1"] = Field(
        "auto", description="fixed: *_fixed folders, HU; v1: raw values; auto: fixed if there"
    )
    reconstructions: Literal["first", "all"] = Field(
        "first", description="first: one volume per scan; all: each reconstruction is a case"
    )
    sections: Sections = Field("findings+impression", description="what the model should write")
    validation_share: float = Field(
        0.05, gt=0, lt=1, description="share of the training patients held out for validation"
    )
    limit: int | None = Field(
        None, ge=1, description="most cases per split, in the order of the table; null: all"
    )
