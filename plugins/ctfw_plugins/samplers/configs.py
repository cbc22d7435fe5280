"""Settings of the negative samplers; light."""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import Field

from ctfw.config import Strict


class GaussConfig(Strict):
    """Ours-Gauss: noise in place of the anchor's image."""

    spectrum: Literal["white", "matched"] = Field(
        "white",
        description="white: every frequency alike; matched: as strong at each frequency as the "
        "anchor, with random phases",
    )
    strength: float = Field(
        1.0, gt=0, le=1, description="share of noise: 1 is pure noise, 0.5 an even blend"
    )
    mean: float = Field(0.0, description="mean of white noise, in units of the normalised volume")
    std: float = Field(0.5, gt=0, description="standard deviation of white noise, in those units")


class PartnerConfig(Strict):
    """What samplers that draw other patients' scans share."""

    max_uses: int | None = Field(
        None, ge=1, description="times a partner may serve per epoch; null: twice its fair share"
    )
    match_burden: int | None = Field(
        None,
        ge=0,
        description="how many more or fewer findings than the anchor a partner may have, so that "
        "it is as ill; given up where nobody qualifies; null: any number",
    )


class HeterConfig(PartnerConfig):
    """Ours-Heter: the scan of another patient whose labels conflict."""

    min_label_distance: int | None = Field(
        None,
        ge=1,
        description="labels that must differ between anchor and partner; null: 10 of the 18 of "
        "CT-RATE, in proportion to the labels that occur in the training split",
    )


class HardConfig(PartnerConfig):
    """The scan of another patient that looks alike and whose diagnosis differs."""

    alike: Literal["image", "labels"] = Field(
        "image",
        description="image: in what the model sees, mined anew each epoch; labels: in as many "
        "labels as possible",
    )
    min_conflicts: int = Field(
        1, ge=1, description="labels that are present in one of the two and absent in the other"
    )
    candidates: int = Field(
        32, ge=1, description="conflicting scans drawn for an anchor; the most alike serves"
    )


class InBatchConfig(Strict):
    """Another anchor's scan from the same forward pass, which is then encoded only once."""

    conflict: Literal["prefer", "require"] = Field(
        "prefer",
        description="where nobody in the batch has conflicting labels; prefer: anybody of another "
        "patient serves; require: a conflicting case of the split, encoded besides",
    )
    min_conflicts: int = Field(
        1, ge=1, description="labels that are present in one of the two and absent in the other"
    )


class RegionSwapConfig(PartnerConfig):
    """A region of the anchor's scan replaced by the same region of a conflicting patient's."""

    min_label_distance: int | None = Field(
        None, ge=1, description="labels that must differ between anchor and donor; null: as heter"
    )
    region: Literal["left", "right", "both"] = Field(
        "both", description="half of the chest that is replaced; both: chance decides each time"
    )
    size: float = Field(
        0.7, gt=0, le=1, description="share of the half's width and of the height that is replaced"
    )
    depth: float = Field(0.6, gt=0, le=1, description="share of the slices that is replaced")
    feather_px: int = Field(
        4,
        ge=0,
        description="pixels over which the region fades into the anchor, so that no edge "
        "gives it away",
    )


class MirrorConfig(Strict):
    """The anchor's scan with left and right exchanged."""

    contradicts: ClassVar[tuple[str, ...]] = ("side",)


class SliceShuffleConfig(Strict):
    """The anchor's slices in another order."""

    contradicts: ClassVar[tuple[str, ...]] = ()

    block: int = Field(
        1, ge=1, description="neighbouring slices that stay together; 1: every slice is moved"
    )
