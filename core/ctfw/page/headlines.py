"""The three numbers at the top of the page, each with what it means and a verdict in words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from ctfw.page.records import Estimate, Row, ScoreFile, Table
from ctfw.scoring.columns import binding_floors

Tone = Literal["good", "open", "bad", "none"]


@dataclass(frozen=True)
class Headline:
    """`reference` is what the value is compared with: no effect, or the best floor."""

    title: str
    unit: str
    meaning: str
    estimate: Estimate | None
    reference: float
    reference_label: str
    verdict: str
    tone: Tone

    @property
    def bar(self) -> dict[str, float] | None:
        """Places in per cent along a line that holds the interval, the value and the reference."""
        if self.estimate is None or self.estimate.value is None:
            return None
        value = self.estimate.value
        low = value if self.estimate.low is None else self.estimate.low
        high = value if self.estimate.high is None else self.estimate.high
        left, right = min(low, self.reference), max(high, self.reference)
        pad = 0.12 * ((right - left) or 1.0)
        span = right - left + 2 * pad
        places = {"value": value, "low": low, "high": high, "reference": self.reference}
        return {name: 100 * (place - left + pad) / span for name, place in places.items()}


def headlines(scores: ScoreFile) -> list[Headline]:
    """Grounded gain, likelihood reliance, and macro-F1 against its best floor."""
    return [_grounded(scores), _likelihood(scores), _macro_f1(scores.table)]


def _grounded(scores: ScoreFile) -> Headline:
    estimate = scores.reliance.grounded_gain
    verdict, tone = _against_zero(
        estimate,
        above="The image is used.",
        around="Not shown that the image is used: the interval includes 0.",
        below="The findings fit better with another patient's image: look for a mix-up.",
    )
    return Headline(
        "Grounded gain",
        "macro-F1",
        "How much better the findings of the written reports are with the patient's own image "
        "than with another patient's. No training loss optimises it.",
        estimate,
        0.0,
        "no use of the image",
        verdict,
        tone,
    )


def _likelihood(scores: ScoreFile) -> Headline:
    estimate = scores.reliance.likelihood.get("another")
    verdict, tone = _against_zero(
        estimate,
        above="The likelihood depends on the image.",
        around="Not shown that the likelihood depends on the image: the interval includes 0.",
        below="The reference report is likelier with another patient's image: look for a mix-up.",
    )
    return Headline(
        "Likelihood reliance",
        "nats per token",
        "How much less likely the reference report becomes when the model sees another "
        "patient's image. Training with negatives raises it directly: alone it proves nothing.",
        estimate,
        0.0,
        "no use of the image",
        verdict,
        tone,
    )


def _against_zero(
    estimate: Estimate | None, *, above: str, around: str, below: str
) -> tuple[str, Tone]:
    """A claim is made only when the interval excludes 0."""
    if estimate is None or estimate.value is None:
        return "Not measured in this run.", "none"
    if estimate.low is None or estimate.high is None:
        return "No interval: nothing is claimed.", "open"
    if estimate.low > 0:
        return above, "good"
    if estimate.high < 0:
        return below, "bad"
    return around, "open"


def _macro_f1(table: Table) -> Headline:
    name = macro_f1_column(table)
    estimate = _model_value(table, name)
    floor = best_floor(table, name)
    value = None if floor is None else _value(floor, name)
    verdict, tone = _against_floor(estimate, floor, value)
    return Headline(
        "Label macro-F1",
        "mean F1 of the labels",
        "How well the findings in the written reports match the reference, all labels weighing "
        "the same.",
        estimate,
        value or 0.0,
        f"best floor: {_title(floor)}" if floor else "0",
        verdict,
        tone,
    )


def _against_floor(
    estimate: Estimate | None, floor: Row | None, value: float | None
) -> tuple[str, Tone]:
    if estimate is None or estimate.value is None:
        return "Not measured in this run.", "none"
    if floor is None or value is None:
        return "No floor to compare with: nothing is claimed.", "open"
    best = f"the best floor, {_title(floor)} ({value:.3f})"
    if estimate.value <= value:
        return f"Not above {best}, which needs no image.", "bad"
    if estimate.low is None or estimate.low <= value:
        return f"Above {best}, but the interval does not exclude it.", "open"
    return f"Above every floor; the best is {_title(floor)} ({value:.3f}).", "good"


def macro_f1_column(table: Table) -> str:
    """Name of the column that holds macro-F1; empty when there is none."""
    for column in table.columns:
        words = set(column.name.lower().replace("_", "-").split("-"))
        if {"macro", "f1"} <= words:
            return column.name
    return ""


def best_floor(table: Table, column: str) -> Row | None:
    """The floor to beat in a column; None where no floor tells anything, as `ScoreTable` has it."""
    direction = next((c.higher_is_better for c in table.columns if c.name == column), None)
    floors = {
        row.name: (value, row)
        for row in table.rows
        if row.kind == "floor" and (value := _value(row, column)) is not None
    }
    binding = binding_floors(direction, {name: value for name, (value, _) in floors.items()})
    sign = 1.0 if direction else -1.0
    return max(
        (floors[name] for name in binding), key=lambda floor: sign * floor[0], default=(None, None)
    )[1]


def _model_value(table: Table, column: str) -> Estimate | None:
    return next((row.values.get(column) for row in table.rows if row.kind == "model"), None)


def _value(row: Row, column: str) -> float | None:
    estimate = row.values.get(column)
    return None if estimate is None else estimate.value


def _title(row: Row | None) -> str:
    return "" if row is None else row.label or row.name
