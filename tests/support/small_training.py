"""A fine-tuning in seconds: the real backbone and step over hand-made visual tokens.

An image is four visual tokens, one per finding, which point one way where it is present and the
other way where it is absent; all scans share a direction that noise lacks. The report says which
findings there are in a template that is the same for all.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from ctfw.contracts import Loss
from ctfw.engine.reliance import report_nll
from ctfw.settings import Generation
from ctfw.types import Case
from ctfw_plugins.backbones.configs import Qwen25VLConfig, RandomShape
from ctfw_plugins.backbones.qwen25_vl import Qwen25VL
from ctfw_plugins.backbones.seen import Seen
from ctfw_plugins.stages.pairs import Pairs
from ctfw_plugins.stages.step import PairStep

FINDINGS = ("effusion", "nodule", "cardiomegaly", "emphysema")
PATIENTS = list(product((0, 1), repeat=len(FINDINGS)))
WIDTH = 48
SHAPE = RandomShape(
    hidden_size=WIDTH,
    layers=2,
    intermediate_size=96,
    vision_hidden_size=16,
    vision_layers=1,
    vision_intermediate_size=16,
    vocabulary=300,
)
SIGNAL, CHEST, GRAIN = 3.0, 2.0, 0.3
RATE = 5e-3

Bits = tuple[int, ...]


@dataclass(frozen=True)
class Outcome:
    """What came of a training: logged terms per step, and the reports under the own image.

    f1         macro-F1 of the findings that the reports state
    mentioned  share of findings that a report states or denies at all
    stopped    share of reports that end
    nll, gap   of the true report under its own image, and how much more under the opposite one
    """

    log: list[dict[str, float]]
    f1: float
    mentioned: float
    stopped: float
    nll: float
    gap: float

    def over(self, name: str, start: float, stop: float) -> float:
        """Mean of a term over a part of the training, as shares of its steps."""
        values = [terms[name] for terms in self.log]
        return float(np.mean(values[int(start * len(values)) : int(stop * len(values))]))


def report_of(bits: Bits) -> str:
    told = [f"{'There is' if b else 'No'} {f}." for b, f in zip(bits, FINDINGS, strict=True)]
    return " ".join(["The scan was read.", *told])


def image_of(bits: Bits, rng: np.random.Generator) -> Seen:
    tokens = GRAIN * rng.standard_normal((len(FINDINGS), WIDTH))
    tokens[:, -1] += CHEST
    tokens[range(len(bits)), range(len(bits))] += SIGNAL * (2 * np.array(bits) - 1)
    return _seen(tokens)


def noise(bits: Bits, rng: np.random.Generator) -> Seen:
    return _seen(rng.standard_normal((len(FINDINGS), WIDTH)))


def _seen(tokens: np.ndarray) -> Seen:
    return Seen((1, 4, 4), np.zeros(1, np.int64), tokens=torch.from_numpy(tokens).float())


def another(bits: Bits, rng: np.random.Generator) -> Seen:
    """A patient in whom three of four findings differ on average."""
    return image_of(tuple(1 - bit if rng.random() < 0.75 else bit for bit in bits), rng)


def train(loss: Loss, negative: Any = None, steps: int = 120, seed: int = 0) -> Outcome:
    """negative  (bits, rng) -> the image of a negative, or None"""
    torch.set_num_threads(1)
    backbone = Qwen25VL(Qwen25VLConfig(shape=SHAPE, prompt="Read it.", system=""))
    backbone.build([report_of(bits) for bits in PATIENTS], seed)
    module = backbone.module()
    module.train()
    backbone.tower.requires_grad_(False)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad])
    step = PairStep(backbone, module, loss, Accelerator(cpu=True), "tune")
    rng, log = np.random.default_rng(seed), []
    for at in range(steps):
        rows = [PATIENTS[i] for i in rng.integers(len(PATIENTS), size=6)]
        anchors = [Case(str(bits), str(bits), Path("x"), report_of(bits)) for bits in rows]
        images = [image_of(bits, rng) for bits in rows]
        negatives = None if negative is None else [negative(bits, rng) for bits in rows]
        terms = step(Pairs(at, anchors, images, negatives), at / steps)
        log.append(dict(terms.terms))
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)
        for group in optimizer.param_groups:
            group["lr"] = RATE * min(1.0, (at + 1) / 20) * (1 - at / steps)
        optimizer.step()
        optimizer.zero_grad()
    return _tested(backbone, log)


def _tested(backbone: Qwen25VL, log: list[dict[str, float]]) -> Outcome:
    backbone.module().eval()
    rng, shown = np.random.default_rng(99), PATIENTS * 2
    own = [image_of(bits, rng) for bits in shown]
    opposite = [image_of(tuple(1 - bit for bit in bits), rng) for bits in shown]
    reports = [report_of(bits) for bits in shown]
    made = backbone.generate(own, Generation(max_new_tokens=60))
    texts = [text for text, _ in made]
    nll, other = (float(report_nll(backbone, i, reports, 16).mean()) for i in (own, opposite))
    return Outcome(
        log=log,
        f1=_macro_f1(_stated(texts, "There is {}."), np.array(shown, bool)),
        mentioned=float(_stated(texts, "{}").mean()),
        stopped=float(np.mean([finish == "stop" for _, finish in made])),
        nll=nll,
        gap=other - nll,
    )


def _stated(texts: Sequence[str], words: str) -> np.ndarray:
    return np.array([[words.format(finding) in text for finding in FINDINGS] for text in texts])


def _macro_f1(said: np.ndarray, true: np.ndarray) -> float:
    both = (said & true).sum(0)
    return float((2 * both / np.maximum(1, said.sum(0) + true.sum(0))).mean())
