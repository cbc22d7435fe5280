"""Settings of the labelers; imports pydantic only."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from ctfw.config import Strict


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
