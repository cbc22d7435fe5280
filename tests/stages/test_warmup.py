"""The vision warm-up's targets lie where the lesions do, and its numbers are what they say."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from ctfw.engine.context import Context
from ctfw.engine.images import ImageBank
from ctfw.errors import BadData
from ctfw.testing import tiny_cases
from ctfw.types import CaseTable, Volume
from ctfw.volumes.pipeline import VolumePipeline
from ctfw.volumes.stream import SliceStream
from ctfw_plugins.stages.configs import VisionWarmupConfig
from ctfw_plugins.stages.vision_warmup import SeeingHead, Targets, auc, start_patches

AFFINE = np.diag([-3.0, -3.0, 3.0, 1.0])


@given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=30))
def test_auc_is_the_share_of_ordered_pairs(rows: list[tuple[int, bool]]) -> None:
    score = np.array([value for value, _ in rows], float)
    truth = np.array([flag for _, flag in rows])
    pairs = [(p, n) for p in score[truth] for n in score[~truth]]
    if not pairs:
        assert math.isnan(auc(score, truth))
        return
    expected = sum(1.0 if p > n else 0.5 if p == n else 0.0 for p, n in pairs) / len(pairs)
    assert auc(score, truth) == pytest.approx(expected)


class Grid:
    """A backbone of which only the token grid is asked: pairs of slices, 28 pixels per token."""

    def encode(self, volume: Volume) -> Volume:
        return volume

    def token_grid(self, image: Volume) -> tuple[int, int, int]:
        depth, height, width = image.array.shape
        return -(-depth // 2), height // 28, width // 28


def targets(mask: np.ndarray, tmp_path: Path, depth: int = 4) -> Targets:
    """Of one case with labels 0 and 2 in the split and this (z, y, x) mask."""
    file = tmp_path / "mask.nii.gz"
    nibabel.save(nibabel.Nifti1Image(mask.T.astype(np.int32), AFFINE), file)
    labels = np.zeros(18, np.int8)
    labels[[0, 2]] = 1
    table = tiny_cases(1)
    case = replace(table[0], labels=labels, mask=file)
    volume = Volume(np.zeros((depth, 56, 84), np.float32), AFFINE, "normalised")
    images = ImageBank(VolumePipeline(lambda path: SliceStream.of(volume), [], []))
    case = replace(case, image=file)
    bank: Any = SimpleNamespace(images=images, backbone=Grid(), case=lambda c: images.volume(c))
    cases = CaseTable((case,), table.label_names)
    empty = CaseTable((), table.label_names)
    return Targets(VisionWarmupConfig(), cases, empty, bank, Context(stage="see"))


def test_token_is_positive_where_the_mask_touches_it(tmp_path: Path) -> None:
    mask = np.zeros((4, 56, 84), int)
    mask[1, 27, 28] |= 1 << 0  # first pair of slices, upper row, middle column
    mask[2, 28:30, 83] |= 1 << 2  # second pair, lower row, right column
    mask[2, 28, 83] |= 1 << 5  # a label that the split never has
    made = targets(mask, tmp_path)
    names = tiny_cases(1).label_names
    assert made.names == [names[0], names[2]]
    (case,) = [SimpleNamespace(id="case-0")]
    grid = made.grid(case).reshape(2, 2, 3, 2)  # type: ignore[arg-type]
    expected = np.zeros((2, 2, 3, 2), bool)
    expected[0, 0, 1, 0] = True
    expected[1, 1, 2, 1] = True
    assert np.array_equal(grid.numpy(), expected)
    assert made.of([case]).shape == (12, 2)  # type: ignore[list-item]


def test_odd_number_of_slices_repeats_the_last(tmp_path: Path) -> None:
    mask = np.zeros((3, 56, 84), int)
    mask[2, 0, 0] = 1
    grid = targets(mask, tmp_path, depth=3).grid(SimpleNamespace(id="case-0"))  # type: ignore[arg-type]
    assert grid.shape == (12, 2)
    assert grid[6, 0]
    assert grid.sum() == 1


def test_scans_without_what_the_targets_need_are_refused(images: ImageBank) -> None:
    table = tiny_cases(4)
    bank: Any = SimpleNamespace(images=images, backbone=Grid())
    context = Context(stage="see")
    empty = CaseTable((), table.label_names)
    with pytest.raises(BadData) as caught:
        Targets(VisionWarmupConfig(targets="lesions"), table, empty, bank, context)
    assert str(caught.value) == (
        "stages.see.targets is 'lesions', but the data set has scans without a lesion mask; use "
        "targets: labels"
    )
    bare = CaseTable(tuple(replace(case, labels=None) for case in table), table.label_names)
    with pytest.raises(BadData, match="see needs labels for every case"):
        Targets(VisionWarmupConfig(targets="labels"), bare, empty, bank, context)


def test_label_targets_are_the_labels_that_occur(images: ImageBank) -> None:
    table = tiny_cases(6)
    flat = [replace(c, labels=np.where(np.arange(18) == 7, 0, c.labels)) for c in table]
    cases = CaseTable(tuple(flat), table.label_names)
    empty = CaseTable((), table.label_names)
    bank: Any = SimpleNamespace(images=images, backbone=Grid())
    made = Targets(VisionWarmupConfig(targets="labels"), cases, empty, bank, Context(stage="see"))
    assert made.names == [name for i, name in enumerate(table.label_names) if i != 7]
    chosen = [cases[2], cases[0]]
    assert np.array_equal(made.of(chosen).numpy(), np.delete(cases.labels[[2, 0]], 7, axis=1))
    assert np.array_equal(made.per_case(cases), np.delete(cases.labels, 7, axis=1))


class Tower(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.patch_embed = nn.Module()
        self.patch_embed.proj = nn.Conv3d(3, 8, (2, 14, 14), (2, 14, 14), bias=False)


def test_patch_projection_starts_at_the_principal_components() -> None:
    torch.manual_seed(0)
    strength = torch.cat([torch.linspace(6, 2, 8), torch.full((1168,), 0.01)])
    basis, _ = torch.linalg.qr(torch.randn(1176, 1176))
    rows = (torch.randn(4000, 1176) * strength) @ basis.T + 3.0
    tower = Tower()
    start_patches(tower, list(rows.split(1000)))
    weight = tower.patch_embed.proj.weight.detach().view(8, -1)  # type: ignore[union-attr]
    outputs = (rows - rows.mean(0)) @ weight.T
    correlation = np.corrcoef(outputs.T.numpy())
    assert np.abs(correlation - np.eye(8)).max() < 0.02  # components are uncorrelated
    inside = (weight @ basis[:, :8]).square().sum() / weight.square().sum()
    assert inside > 0.999  # and lie where the scans vary
    assert (outputs.std(0).diff() < 0).all()  # what varies most weighs most


def test_head_starts_as_a_rare_finding_everywhere() -> None:
    tokens = [torch.randn(4, 6), torch.randn(8, 6)]
    backbone: Any = SimpleNamespace(
        visual_tokens=lambda images: tokens[: len(images)], module=lambda: nn.Identity()
    )
    dense = SeeingHead(backbone, None, 3, dense=True)
    assert torch.equal(dense([0, 1]), torch.full((12, 3), -2.0))
    whole = SeeingHead(backbone, None, 3, dense=False)
    torch.testing.assert_close(whole([0, 1]), torch.full((2, 3), -2.0))


def test_smooth_maximum_does_not_depend_on_the_number_of_tokens() -> None:
    row = torch.randn(1, 6)
    tokens = [row.repeat(4, 1), row.repeat(40, 1)]
    backbone: Any = SimpleNamespace(visual_tokens=lambda _: tokens, module=lambda: nn.Identity())
    head = SeeingHead(backbone, None, 3, dense=False)
    nn.init.normal_(head.head.weight)
    few, many = head([0, 1])
    torch.testing.assert_close(few, many)
