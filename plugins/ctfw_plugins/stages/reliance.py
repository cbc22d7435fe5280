"""Likelihood of the reference report under the own image and under wrong ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from ctfw.contracts import Backbone
from ctfw.engine.images import TokenBank
from ctfw.errors import BadData
from ctfw.seed import stream
from ctfw.types import Case, Volume

NOISE_STD = 0.5


def swap_partners(cases: Sequence[Case], seed: int) -> list[Case]:
    """Another patient's case for each case: never the same patient, each used about once.

    Raises BadData when all cases belong to one patient.
    """
    patients = np.array([case.patient for case in cases])
    if len(set(patients)) < 2:
        raise BadData("visual reliance needs scans of at least two patients to swap")
    rng = stream(seed, "swap")
    order = rng.permutation(len(cases))
    for i in range(len(cases)):
        if patients[order[i]] == patients[i]:
            fits = np.flatnonzero(
                (patients[order] != patients[i]) & (patients != patients[order[i]])
            )
            if len(fits):
                j = int(rng.choice(fits))
                order[i], order[j] = order[j], order[i]
            else:  # one patient has more than half of the cases: a partner serves twice
                order[i] = int(rng.choice(np.flatnonzero(patients != patients[i])))
    return [cases[int(i)] for i in order]


def noise(volume: Volume, seed: int) -> Volume:
    """White noise of the volume's shape, in units of the normalised volume."""
    values = np.random.default_rng(seed).standard_normal(volume.array.shape, dtype=np.float32)
    return volume.but(array=np.clip(values * NOISE_STD, -1, 1))


def blank(volume: Volume) -> Volume:
    """Air everywhere."""
    return volume.but(array=np.full_like(volume.array, -1.0))


@torch.no_grad()
def report_nll(
    backbone: Backbone, images: Sequence[Any], reports: Sequence[str], batch: int
) -> np.ndarray:
    """(N,) mean negative log-likelihood per token of each reference report, nats."""
    module = backbone.module()
    was_training = module.training
    module.eval()
    values = [
        backbone.forward(images[i : i + batch], reports[i : i + batch]).per_case().cpu().numpy()
        for i in range(0, len(images), batch)
    ]
    module.train(was_training)
    return np.concatenate(values).astype(np.float64) if values else np.zeros(0)


def nll_under(
    backbone: Backbone, bank: TokenBank, cases: Sequence[Case], seed: int, batch: int
) -> dict[str, np.ndarray]:
    """(N,) NLL per token under the `own`, `another` patient's, a `noise` and a `blank` image."""
    reports = [case.report for case in cases]
    partners = swap_partners(cases, seed)

    def over(make: Callable[[int], Any]) -> np.ndarray:
        parts = []
        for start in range(0, len(cases), batch):
            index = range(start, min(start + batch, len(cases)))
            parts.append(
                report_nll(backbone, [make(i) for i in index], [reports[i] for i in index], batch)
            )
        return np.concatenate(parts) if parts else np.zeros(0)

    def volume(i: int) -> Volume:
        return bank.images.volume(cases[i])

    return {
        "own": over(lambda i: bank.case(cases[i])),
        "another": over(lambda i: bank.case(partners[i])),
        "noise": over(lambda i: bank.volume(noise(volume(i), seed + i))),
        "blank": over(lambda i: bank.volume(blank(volume(i)))),
    }
