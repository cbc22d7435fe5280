"""The files of a run directory as values, read leniently.

A page must also be made from a run that failed, was killed or was written by a plugin with keys
of its own. So unknown keys are ignored, missing ones are empty, and what cannot be read becomes
a sentence in `Run.notes` instead of an exception.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field


class Loose(BaseModel):
    """A record written by a stage: unknown keys are ignored, values are frozen."""

    model_config = ConfigDict(extra="ignore", frozen=True)


def _finite(value: Any) -> Any:
    """NaN and infinities mean "undefined", like null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


Number = Annotated[float | None, BeforeValidator(_finite)]


class Estimate(Loose):
    """A score with its 95 % interval; None where undefined."""

    value: Number = None
    low: Number = None
    high: Number = None
    below_floor: bool = False

    @property
    def has_interval(self) -> bool:
        return self.low is not None and self.high is not None


class Column(Loose):
    name: str
    label: str = ""
    protocol: str = ""
    higher_is_better: bool | None = True


class Row(Loose):
    """`kind`: "model", "reliance" (the model with another image), "floor" (needs no image) or
    "oracle" (is told the test labels)."""

    name: str
    label: str = ""
    kind: str = "model"
    values: Mapping[str, Estimate | None] = Field(default_factory=dict)


class Table(Loose):
    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = ()
    notes: tuple[str, ...] = ()


class ImageLikelihood(Loose):
    """NLL under one image; `more` is what it is above that under the own image."""

    nll: Estimate | None = None
    more: Estimate | None = None
    per_sentence: Number = None


class TokenGroup(Loose):
    """A group of tokens, e.g. those of the sentences that state a finding."""

    label: str = ""
    cases: int | None = None
    sentences: int | None = None
    tokens: int | None = None
    images: Mapping[str, ImageLikelihood] = Field(default_factory=dict)


class Reliance(Loose):
    grounded_gain: Estimate | None = None
    gains: Mapping[str, Estimate | None] = Field(default_factory=dict)
    likelihood: Mapping[str, Estimate | None] = Field(default_factory=dict)
    groups: Mapping[str, TokenGroup] = Field(default_factory=dict)


class LabelScore(Loose):
    name: str
    support: int | None = None
    coverage: Number = None
    coverage_another: Number = None
    precision: Number = None
    f1: Number = None
    f1_another: Number = None
    specificity: Number = None


class Decoding(Loose):
    truncated: int | None = None
    empty: int | None = None
    missing: int | None = None
    failed: int | None = None
    distinct: int | None = None
    distinct_references: int | None = None
    of: int | None = None
    top_sentence: str = ""
    top_sentence_share: Number = None
    top_sentence_reports: Number = None
    top_sentence_reports_references: Number = None
    temperature: Number = None
    max_new_tokens: int | None = None
    prompt: str = ""


class ScoreFile(Loose):
    """`scores.json` of a stage that tests."""

    synthetic: bool | None = None
    cases: int | None = None
    patients: int | None = None
    table: Table = Table()
    reliance: Reliance = Reliance()
    labels: tuple[LabelScore, ...] = ()
    generation: Decoding = Decoding()
    labeler: str = ""
    fingerprint: str = ""


class Negatives(Loose):
    """`negatives.json` of a stage that trains against negative images."""

    sampler: str = ""
    relaxed: int | None = None
    draws: int | None = None
    partner_use: Mapping[str, int] = Field(default_factory=dict)
    distance: Mapping[str, int] = Field(default_factory=dict)
    burden_gap: Number = None
    burden_gaps: Mapping[str, int] = Field(default_factory=dict)
    relaxed_because: Mapping[str, int] = Field(default_factory=dict)
    over_cap: int | None = None
    without_side: int | None = None
    similarity: Number = None


Point = tuple[float, float]


def _polygons(value: Any) -> Any:
    """One polygon or a list of polygons -> a list of polygons."""
    if isinstance(value, (list, tuple)) and value:
        first = value[0]
        if isinstance(first, (list, tuple)) and first and isinstance(first[0], (int, float)):
            return [value]
    return value


class LesionOutline(Loose):
    """A finding with a place; `outlines` maps a slice index to polygons in pixels."""

    label: str
    size_mm: Number = None
    side: str = ""
    outlines: Mapping[int, Annotated[tuple[tuple[Point, ...], ...], BeforeValidator(_polygons)]] = (
        Field(default_factory=dict)
    )


class Sentence(Loose):
    """`verdict`: "agree", "missed", "conflict", "hallucinated" or nothing."""

    text: str
    findings: tuple[tuple[str, bool], ...] = ()
    verdict: str = ""


class NegativeImage(Loose):
    """The image of the pair that the report does not describe, and what the model wrote with it."""

    kind: str = ""
    role: str = ""
    case: str | None = None
    image: str | None = None
    labels: tuple[str, ...] | None = None
    note: Mapping[str, Any] = Field(default_factory=dict)
    generated: str | None = None


class CaseRecord(Loose):
    """One line of `cases.jsonl`. Sizes in pixels (x, y), positions and spacings in mm."""

    case: str
    patient: str = ""
    split: str = ""
    image: str | None = None
    slices: int | None = None
    positions_mm: tuple[float, ...] = ()
    size: tuple[int, int] | None = None
    pixel_mm: tuple[float, float] = (1.0, 1.0)
    lesions: tuple[LesionOutline, ...] = ()
    reference: str = ""
    generated: str | None = None
    reference_sentences: tuple[Sentence, ...] = ()
    generated_sentences: tuple[Sentence, ...] = ()
    labels: tuple[str, ...] = ()
    generated_labels: tuple[str, ...] = ()
    negative: NegativeImage | None = None


@dataclass(frozen=True)
class TrainLog:
    """A stage that optimises: its step lines, validation lines and negatives."""

    name: str
    steps: tuple[Mapping[str, Any], ...]
    validations: tuple[Mapping[str, Any], ...]
    negatives: Negatives | None = None


@dataclass(frozen=True)
class ReportStage:
    """A stage that tests: its scores and its browsable cases; `folder` holds the pictures."""

    name: str
    folder: Path
    scores: ScoreFile | None
    cases: tuple[CaseRecord, ...]


@dataclass(frozen=True)
class Run:
    """What a run directory holds. `notes` says in words what is missing or unreadable."""

    folder: Path
    resolved: Mapping[str, Any]
    recipe_text: str
    lock: Mapping[str, Any]
    status: Mapping[str, Any]
    training: tuple[TrainLog, ...]
    tests: tuple[ReportStage, ...]
    notes: tuple[str, ...]
