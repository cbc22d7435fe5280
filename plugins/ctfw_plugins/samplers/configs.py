"""Settings of the negative samplers; light."""

from __future__ import annotations

from pydantic import Field

from ctfw.config import Strict


class GaussConfig(Strict):
    """Ours-Gauss: noise in place of the anchor's image."""

    strength: float = Field(
        1.0, gt=0, le=1, description="share of noise: 1 is pure noise, 0.5 an even blend"
    )
    mean: float = Field(0.0, description="mean of the noise, in units of the normalised volume")
    std: float = Field(0.5, gt=0, description="standard deviation, in the same units")


class HeterConfig(Strict):
    """Ours-Heter: the scan of another patient whose labels conflict."""

    min_label_distance: int | None = Field(
        None,
        ge=1,
        description="labels that must differ between anchor and partner; null: 10 of the 18 of "
        "CT-RATE, in proportion to the labels that occur in the training split",
    )
    max_uses: int | None = Field(
        None, ge=1, description="times a partner may serve per epoch; null: twice its fair share"
    )
