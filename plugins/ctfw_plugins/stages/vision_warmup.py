"""Stage `vision-warmup`: the tower learns findings before the language model learns to write.

A model with random weights learns the template of the reports long before its tower sees
anything, and then has no gradient that would teach it to look. Dense targets help most: one
label vector per visual token, from lesion masks. Where there are no masks, one vector per scan
does the same more slowly. Pretrained towers need this stage only for findings they are blind to.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

from ctfw.contracts import Backbone
from ctfw.engine.context import Context, StageResult
from ctfw.engine.images import TokenBank
from ctfw.engine.optimise import Optimised
from ctfw.errors import BadData
from ctfw.progress import bar
from ctfw.types import Case, CaseTable
from ctfw.volumes.overlay import mask_on
from ctfw_plugins.stages.configs import VisionWarmupConfig
from ctfw_plugins.stages.training import begin, mean_of, save, seed_pass, set_rate, take_up


class VisionWarmup:
    """Tower + linear head under binary cross-entropy; the head is thrown away."""

    several_processes = True

    def __init__(self, config: VisionWarmupConfig, context: Context) -> None:
        self.config = config

    def run(self, context: Context) -> StageResult:
        setup = begin(self.config.training, context)
        accelerator, backbone, plan = setup.accelerator, setup.backbone, setup.plan
        cases, training = setup.cases, plan.training
        bank = TokenBank(setup.images, backbone, frozen=False)
        targets = Targets(self.config, cases, setup.held_out, bank, context)
        if self.config.patch_start == "pca" and setup.last is None:
            start_patches(backbone.tower, [bank.case(case).patches for case in cases[:64]])

        backbone.module().requires_grad_(False)
        backbone.tower.requires_grad_(True)
        head = SeeingHead(backbone, bank.case(cases[0]), len(targets.names), targets.dense)
        model = Optimised(head, accelerator, training)
        state = take_up(setup, model, context)
        if setup.last is not None:
            with model.whole():
                head.head.load_state_dict(setup.state["head"])

        with bar(context.stage, plan.steps, state.step) as progress:
            passes: list[dict[str, float]] = []
            for step, places in plan.microbatches(state.step):
                seed_pass(context, step, len(passes))
                set_rate(model.optimizer, plan, step)
                chosen = [cases[place.case] for place in places]
                with accelerator.accumulate(model.wrapped):
                    logits = model.wrapped([bank.case(case) for case in chosen])
                    loss = self._loss(logits, targets.of(chosen).to(logits.device))
                    accelerator.backward(loss)
                    passes.append({"loss": float(loss.detach())})
                    model.step()
                if not accelerator.sync_gradients:
                    continue
                state.step = step + 1
                values = mean_of(passes)
                passes.clear()
                context.step({"step": state.step} | values)
                progress.advance(note=f"loss {values['loss']:.3f}")
                if state.step % training.checkpoint_every == 0 or state.step == plan.steps:
                    auc = self._validate(head, bank, setup.held_out, targets, accelerator)
                    mean = float(np.nanmean(list(auc.values())))
                    context.step({"step": state.step, "validation": {"mean_auc": mean, "auc": auc}})
                    improved = state.note(-mean)
                    more = {"head": head.head.state_dict()}
                    save(setup, model, state, context, improved=improved, more=more)
        backbone.module().requires_grad_(True)
        return StageResult({"checkpoint": "checkpoints/best"}, {"mean_auc": -state.best})

    def _loss(self, logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        weight = torch.as_tensor(self.config.positive_weight, device=logits.device)
        return nn.functional.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)

    @torch.no_grad()
    def _validate(
        self,
        model: SeeingHead,
        bank: TokenBank,
        cases: CaseTable,
        targets: Targets,
        accelerator: Accelerator,
    ) -> dict[str, float]:
        """Area under the ROC curve per finding; NaN where the split has no or only positives."""
        rows = []
        for start in range(0, len(cases), 16):
            part = cases.cases[start : start + 16]
            images = [bank.case(case) for case in part]
            with accelerator.autocast():
                logits = model(images).float()
            if targets.dense:
                parts = logits.split([grid.shape[0] for grid in map(targets.grid, part)])
                logits = torch.stack([tokens.amax(0) for tokens in parts])
            rows.append(logits.cpu().numpy())
        scores = np.concatenate(rows)
        truth = targets.per_case(cases)
        return {name: auc(scores[:, i], truth[:, i]) for i, name in enumerate(targets.names)}


class SeeingHead(nn.Module):
    """The backbone's tower with one linear layer on its visual tokens."""

    def __init__(self, backbone: Backbone, example: Any, labels: int, dense: bool) -> None:
        super().__init__()
        width = backbone.visual_tokens([example])[0].shape[-1]
        self.model = backbone.module()
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.head = nn.Linear(width, labels)
        nn.init.zeros_(self.head.weight)
        nn.init.constant_(self.head.bias, -2.0)
        self._tokens = backbone.visual_tokens
        self._dense = dense

    def forward(self, images: list[Any]) -> torch.Tensor:
        """(sum of V, L) logits per visual token; or (B, L), a smooth maximum over each scan's."""
        held = self.head.weight.dtype  # DeepSpeed halves the head too
        seen = [self.norm(tokens.float()).to(held) for tokens in self._tokens(images)]
        parts = [self.head(tokens).float() for tokens in seen]
        if self._dense:
            return torch.cat(parts)
        return torch.stack([p.logsumexp(0) - math.log(len(p)) for p in parts])


class Targets:
    """What the tower should answer: per visual token from masks, or per scan from labels."""

    def __init__(
        self,
        config: VisionWarmupConfig,
        cases: CaseTable,
        held_out: CaseTable,
        bank: TokenBank,
        context: Context,
    ) -> None:
        self.dense = config.targets == "lesions"
        everyone = [*cases, *held_out]
        if self.dense and any(case.mask is None for case in everyone):
            raise BadData(
                f"stages.{context.stage}.targets is 'lesions', but the data set has scans without "
                "a lesion mask; use targets: labels"
            )
        if any(case.labels is None for case in everyone):
            raise BadData(f"stages.{context.stage} needs labels for every case")
        seen = cases.labels.any(0)
        self.columns = np.flatnonzero(seen)
        self.names = [cases.label_names[i] for i in self.columns]
        self._bank = bank
        self._grids: dict[str, torch.Tensor] = {}
        if self.dense:
            for case in context.progress(everyone, f"{context.stage}: read masks", len(everyone)):
                self._grids[case.id] = self._grid(case)

    def of(self, cases: list[Case]) -> torch.Tensor:
        """(sum of V, L) or (B, L) float targets."""
        if self.dense:
            return torch.cat([self._grids[case.id] for case in cases]).float()
        rows = np.stack([np.asarray(case.labels)[self.columns] for case in cases])
        return torch.from_numpy(rows).float()

    def per_case(self, cases: CaseTable) -> np.ndarray:
        """(N, L) truth: for masks, whether any token shows the finding."""
        if self.dense:
            return np.stack([self._grids[case.id].any(0).numpy() for case in cases])
        return cases.labels[:, self.columns]

    def grid(self, case: Case) -> torch.Tensor:
        """(V, L) bool targets of one scan's visual tokens."""
        return self._grids[case.id]

    def _grid(self, case: Case) -> torch.Tensor:
        """(V, L) bool: the finding covers some of the token's pixels in one of its slices."""
        volume = self._bank.images.volume(case)
        assert case.mask is not None
        codes = mask_on(volume, case.mask)
        t, rows, columns = self._bank.backbone.token_grid(self._bank.case(case))
        if len(codes) % t:
            codes = np.concatenate([codes, codes[-1:]])
        frames = len(codes) // t
        h, w = codes.shape[1] // rows, codes.shape[2] // columns
        blocks = codes.reshape(t, frames, rows, h, columns, w)
        bits = [
            ((blocks >> int(label)) & 1).any(axis=(1, 3, 5)).reshape(-1) for label in self.columns
        ]
        return torch.from_numpy(np.stack(bits, axis=1))


def start_patches(tower: nn.Module, patches: list[torch.Tensor]) -> None:
    """Set the patch projection to the principal components of real patches.

    Each output then has unit variance on the scans; what varies most is seen from the first step.
    """
    projection: Any = tower.patch_embed.proj  # type: ignore[union-attr]
    weight = projection.weight
    rows = torch.cat(patches).float()
    rows = rows - rows.mean(0)
    covariance = rows.T @ rows / len(rows)
    values, vectors = torch.linalg.eigh(covariance)
    order = values.argsort(descending=True)[: weight.shape[0]]
    scaled = vectors[:, order] / values[order].clamp(min=1e-6).sqrt()
    scaled = scaled * (values[order] / values[order[0]]).clamp(min=1e-4).pow(0.25)
    with torch.no_grad():
        flat = weight.view(weight.shape[0], -1)
        flat[: len(order)] = scaled.T.to(weight.dtype)


def auc(score: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve as the Mann-Whitney statistic, ties counted half."""
    positive, negative = score[truth.astype(bool)], score[~truth.astype(bool)]
    if not len(positive) or not len(negative):
        return float("nan")
    ranks = np.argsort(np.argsort(np.concatenate([negative, positive]), kind="stable")) + 1.0
    merged = np.concatenate([negative, positive])
    for value in np.unique(merged):
        same = merged == value
        ranks[same] = ranks[same].mean()
    above = ranks[len(negative) :].sum() - len(positive) * (len(positive) + 1) / 2
    return float(above / (len(positive) * len(negative)))
