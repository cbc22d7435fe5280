"""A backbone and images without weights: what reads them can be followed by eye."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ctfw.engine.images import ImageBank, TokenBank
from ctfw.settings import Generation
from ctfw.testing import tiny_cases
from ctfw.types import Case, CaseTable, StepOutput, Volume
from ctfw.volumes.pipeline import VolumePipeline
from ctfw.volumes.stream import SliceStream

torch.set_num_threads(1)


class Echo:
    """Reads the mean of an image and writes it down; its NLL is the distance to the report's
    length. Counts what it encodes."""

    def __init__(self) -> None:
        self.encoded = 0
        self.batches: list[int] = []

    def module(self) -> torch.nn.Module:
        return torch.nn.Identity()

    def encode(self, volume: Volume) -> float:
        self.encoded += 1
        return float(volume.array.mean())

    def see(self, images: Sequence[float]) -> list[float]:
        return list(images)

    def forward(
        self, images: Sequence[float], reports: Sequence[str], module: Any = None
    ) -> StepOutput:
        counts = [len(report.split()) for report in reports]
        nll = torch.zeros(len(images), max(counts))
        answer = torch.zeros(len(images), max(counts), dtype=torch.bool)
        for i, (image, count) in enumerate(zip(images, counts, strict=True)):
            nll[i, :count] = abs(image) + torch.arange(count)
            answer[i, :count] = True
        return StepOutput(nll, answer)

    def generate(
        self, images: Sequence[float], settings: Generation, seed: int = 0
    ) -> list[tuple[str, str]]:
        self.batches.append(len(images))
        return [(f"{image:.3f} of {len(images)} seed {seed}", "stop") for image in images]


def read(path: Path) -> Volume:
    """The volume of `case-7.nii.gz` holds .07 everywhere."""
    number = int(path.name.split(".")[0].split("-")[1])
    array = np.full((4, 28, 28), number / 100, np.float32)
    return Volume(array, np.diag([-3.0, -3.0, 3.0, 1.0]), "normalised")


@pytest.fixture
def cases() -> CaseTable:
    return tiny_cases(12)


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture
def images() -> ImageBank:
    return ImageBank(VolumePipeline(lambda path: SliceStream.of(read(path)), [], []))


@pytest.fixture
def bank(images: ImageBank, echo: Echo) -> TokenBank:
    return TokenBank(images, echo, frozen=True)  # type: ignore[arg-type]


def as_patient(case: Case, patient: str, **changes: Mapping[str, Any]) -> Case:
    return replace(case, patient=patient, **changes)  # type: ignore[arg-type]
