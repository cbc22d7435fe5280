"""Settings of the metrics; imports pydantic only."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ctfw.config import Strict


class BleuConfig(Strict):
    """Corpus BLEU."""

    n: int = Field(4, ge=1, le=8, description="BLEU-1 to BLEU-n, each cumulative")
    protocol: Literal["r2gen", "whitespace", "vlm3d"] = Field(
        "r2gen", description="tokeniser; numbers of different protocols do not compare"
    )
    smoothing: Literal["none", "coco"] = Field(
        "none", description="none is exact; coco has the 1e-15 and 1e-9 guards of coco-caption"
    )


class RougeLConfig(Strict):
    """ROUGE-L."""

    protocol: Literal["r2gen", "whitespace", "vlm3d", "rouge-score"] = Field(
        "r2gen", description="tokeniser; rouge-score with beta 1 is the package of that name"
    )
    beta: float = Field(
        1.2, gt=0, description="weight of recall: 1.2 is coco-caption's, 1 is rouge-score's"
    )


class CoverageConfig(Strict):
    """Coverage has no settings."""


class AccuracyConfig(Strict):
    """Accuracy has no settings."""
