"""Invented scores and logs in the form that the stages write them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from fabricate_slices import LABELS


def make_scores(synthetic: bool = True) -> dict[str, Any]:
    """`scores.json`: a model above most floors, one value below its floor, one undefined."""
    names = [
        ("bleu-1", "BLEU-1"),
        ("bleu-4", "BLEU-4"),
        ("rouge-l", "ROUGE-L"),
        ("coverage", "Coverage"),
        ("accuracy", "Accuracy"),
        ("macro-f1", "Macro-F1"),
    ]
    text, labels = "r2gen|lower|corpus|no-smoothing|n4", "ct-rate-18|labels=6|threshold=none"
    columns = [
        {"name": name, "label": label, "protocol": labels if place > 2 else text}
        for place, (name, label) in enumerate(names)
    ]
    columns[2]["protocol"] = "rouge-score|lower|f1|mean"
    model = [0.534, 0.312, 0.427, 0.641, 0.779, 0.612]
    rows = [
        _row("model", "this model", "model", model, 0.02),
        _row(
            "another-image",
            "this model, another patient's image",
            "reliance",
            [0.471, 0.248, 0.371, 0.214, 0.644, 0.204],
            0.02,
        ),
        _row("constant", "best constant report", "floor", [0.502, 0.281, 0.388, 0.0, 0.788, 0.0]),
        _row("random", "random training report", "floor", [0.402, 0.155, 0.301, 0.24, 0.66, 0.221]),
        _row("all-negative", "all labels negative", "floor", [None, None, None, 0.0, 0.788, 0.0]),
        _row("all-positive", "all labels positive", "floor", [None, None, None, 1.0, 0.212, 0.381]),
    ]
    rows[0]["values"]["accuracy"]["below_floor"] = True
    likelihood = {
        "another": (0.152, 0.121, 0.184),
        "noise": (0.311, 0.262, 0.36),
        "blank": (0.274, 0.22, 0.331),
    }
    return {
        "synthetic": synthetic,
        "cases": 120,
        "patients": 80,
        "table": {
            "columns": columns,
            "rows": rows,
            "notes": [
                "Coverage of 'all labels positive' is 1 by construction; read it with accuracy."
            ],
        },
        "reliance": {
            "grounded_gain": _estimate(0.408, 0.351, 0.466),
            "likelihood": {name: _estimate(*values) for name, values in likelihood.items()},
            "groups": {
                "all": _group("all tokens", 9000, likelihood, 1.0),
                "positive": _group("sentences that state a finding", 2500, likelihood, 2.2),
                "negative": _group("sentences that only deny findings", 3000, likelihood, 0.4),
            },
        },
        "labels": [_label(place, name) for place, name in enumerate(LABELS)],
        "generation": {
            "truncated": 0,
            "empty": 0,
            "distinct": 88,
            "of": 120,
            "temperature": 0.0,
            "max_new_tokens": 256,
            "prompt": "Describe the findings of this chest CT.",
        },
        "labeler": "ct-rate-18|rules",
        "fingerprint": "5f0c1d2e3a4b5968",
    }


def tune_steps(rng: np.random.Generator, negatives: str) -> Iterable[dict[str, Any]]:
    for step in range(1, 1201):
        positive = 0.09 + 5.2 * np.exp(-step / 60) + 0.5 * np.exp(-step / 400)
        line = {
            "step": step,
            "epoch": step / 400,
            "learning_rate": 2e-3,
            "grad_norm": 0.8,
            "positive": float(positive * rng.normal(1, 0.06)),
        }
        if negatives:
            negative = min(1.5, positive + 1.3 * (1 - np.exp(-max(step - 300, 0) / 200)))
            share = float(np.clip((step - 450) / 900 + rng.normal(0, 0.06), 0, 1))
            line |= {
                "negative": float(negative * rng.normal(1, 0.03)),
                "bound": 1.5,
                "at_bound": share,
                "beta": 0.1,
            }
        yield line | {"loss": line["positive"]}
        if step % 100 == 0:
            gap = 0.16 / (1 + np.exp(-(step - 600) / 110))
            own = 0.11 + 0.5 * np.exp(-step / 300)
            yield {"step": step, "validation": {"positive": own, "another": own + gap}}


def warmup_steps(rng: np.random.Generator) -> Iterable[dict[str, Any]]:
    for step in range(1, 401):
        yield {"step": step, "loss": float((0.12 + 0.6 * np.exp(-step / 90)) * rng.normal(1, 0.07))}
        if step % 50 == 0:
            yield {
                "step": step,
                "validation": {"mean_auc": 0.9 - 0.38 * float(np.exp(-step / 120))},
            }


def sampler_summary(rng: np.random.Generator, sampler: str) -> dict[str, Any]:
    if sampler == "gauss":
        return {"sampler": sampler, "draws": 900, "strength": 1.0}
    use = {f"p{n:03d}_1": int(count) for n, count in enumerate(rng.poisson(6, 150)) if count}
    return {
        "sampler": sampler,
        "relaxed": 12,
        "draws": sum(use.values()),
        "partner_use": use,
        "distance": {"8": 120, "9": 300, "10": 260, "11": 140, "12": 60},
        "burden_gap": 2.1,
        "burden_gaps": {str(gap): 90 - 12 * abs(gap - 2) for gap in range(-4, 9)},
    }


def _row(
    name: str, label: str, kind: str, values: list[float | None], half: float = 0
) -> dict[str, Any]:
    names = ("bleu-1", "bleu-4", "rouge-l", "coverage", "accuracy", "macro-f1")
    cells = {
        key: _estimate(value, value - half, value + half)
        if value is not None and half
        else {"value": value}
        for key, value in zip(names, values)
    }
    return {"name": name, "label": label, "kind": kind, "values": cells}


def _label(place: int, name: str) -> dict[str, Any]:
    f1 = [0.71, 0.83, 0.62, 0.78, 0.0, 0.55][place]
    return {
        "name": name,
        "support": LABELS[name][1],
        "coverage": min(f1 + 0.04, 1.0) if f1 else 0.0,
        "coverage_another": [0.31, 0.28, 0.22, 0.3, 0.02, 0.24][place],
        "precision": f1 - 0.03 if f1 else None,
        "f1": f1,
        "f1_another": [0.24, 0.26, 0.19, 0.27, 0.03, 0.2][place],
        "specificity": 0.86,
    }


def _group(
    label: str, tokens: int, rises: dict[str, tuple[float, float, float]], times: float
) -> dict[str, Any]:
    images: dict[str, Any] = {"own": {"nll": _estimate(0.12 * times, 0.1, 0.3)}}
    for name, (value, low, high) in rises.items():
        more = _estimate(value * times, low * times, high * times)
        images[name] = {"nll": _estimate(value * times + 0.12, 0.1, 0.9), "more": more}
    return {"label": label, "cases": 120, "sentences": tokens // 9, "tokens": tokens} | {
        "images": images
    }


def _estimate(value: float, low: float, high: float) -> dict[str, float]:
    return {"value": value, "low": round(low, 4), "high": round(high, 4)}
