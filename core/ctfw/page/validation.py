"""What a stage measured on validation cases: as series for the figures, or in one sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ctfw.page.records import TrainLog

Series = list[tuple[float, float]]  # (optimizer step, value)

_DRAWN_ELSEWHERE = {"step", "positive", "another"}


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def series(lines: Sequence[Mapping[str, Any]], key: str) -> Series:
    """The steps at which a term was logged as a number."""
    return [(line["step"], line[key]) for line in lines if is_number(line.get(key))]


def reliance(log: TrainLog) -> Series:
    """NLL with another patient's image minus NLL with the own image, nats per token."""
    return [
        (line["step"], line["another"] - line["positive"])
        for line in log.validations
        if is_number(line.get("another")) and is_number(line.get("positive"))
    ]


def others(log: TrainLog) -> dict[str, Series]:
    """Every other number of the validation lines, e.g. the mean AUC of a warm-up."""
    names = {key for line in log.validations for key in line} - _DRAWN_ELSEWHERE
    found = {name.replace("_", " "): series(log.validations, name) for name in sorted(names)}
    return {name: points for name, points in found.items() if points}


def is_curve(*found: Series) -> bool:
    """Whether there is a second point: one alone is a number, not a picture."""
    return any(len(points) > 1 for points in found)


def sentences(log: TrainLog) -> list[str]:
    """The numbers that were measured once, in place of a picture of one point."""
    told = []
    gaps, rest = reliance(log), others(log)
    if gaps and not is_curve(gaps):
        (step, gap) = gaps[0]
        told.append(
            f"Likelihood reliance on validation cases, measured once, at step {step:g}: "
            f"{gap:.3f} nats per token."
        )
    if rest and not is_curve(*rest.values()):
        step = next(iter(rest.values()))[0][0]
        values = ", ".join(f"{name} {points[0][1]:.3f}" for name, points in rest.items())
        told.append(f"Validation, measured once, at step {step:g}: {values}.")
    return [sentence.replace(" -", " −") for sentence in told]
