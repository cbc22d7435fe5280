"""The built-in negative samplers; imports settings models only."""

from __future__ import annotations

from collections.abc import Iterator

from ctfw.component import Component
from ctfw_plugins.samplers import configs


def components() -> Iterator[Component]:
    """One declaration per sampler."""
    folder = "ctfw_plugins.samplers"
    yield Component(
        "gauss",
        f"{folder}.gauss:Gauss",
        configs.GaussConfig,
        "Gaussian noise of the anchor's shape, white or with its spectrum (Ours-Gauss)",
    )
    yield Component(
        "heter",
        f"{folder}.heter:Heter",
        configs.HeterConfig,
        "another patient's scan whose labels conflict (Ours-Heter)",
        revision=2,
    )
    yield Component(
        "hard",
        f"{folder}.hard:Hard",
        configs.HardConfig,
        "another patient's scan that looks alike to the model, with another diagnosis",
    )
    yield Component(
        "in-batch",
        f"{folder}.in_batch:InBatch",
        configs.InBatchConfig,
        "another patient's scan from the same batch: each image is encoded once",
    )
    yield Component(
        "same-region-swap",
        f"{folder}.region_swap:RegionSwap",
        configs.RegionSwapConfig,
        "a region of the anchor's scan replaced by that of a conflicting patient",
    )
    yield Component(
        "mirror",
        f"{folder}.mirror:MirrorSampler",
        configs.MirrorConfig,
        "the anchor's scan with left and right exchanged",
    )
    yield Component(
        "slice-shuffle",
        f"{folder}.slice_shuffle:SliceShuffle",
        configs.SliceShuffleConfig,
        "the anchor's slices in another order",
    )
