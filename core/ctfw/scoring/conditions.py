"""`grounded_gain < 0.1`: when a run or an audit should end as failed, and whether it does."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ctfw.errors import UserError, did_you_mean

if TYPE_CHECKING:
    from ctfw.contracts import Metric
    from ctfw.scoring.assess import Assessment

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_FORM = re.compile(r"\s*([A-Za-z][\w@-]*)(\.low|\.high)?\s*(<=|>=|<|>)\s*(\S+)\s*\Z")
RELIANCE = (
    "grounded_gain",
    "likelihood_reliance",
    "likelihood_noise",
    "likelihood_blank",
    "likelihood_shuffled",
    "likelihood_mirrored",
)
SHARES = ("distinct_share", "truncated_share", "empty_share")

Number = tuple[float, float, float]


class ConditionMet(UserError):
    """A run or an audit that was told to fail at such a number."""


@dataclass(frozen=True, slots=True)
class Condition:
    """`name` (or the low or high end of its interval) compared with a number."""

    name: str
    end: str
    sign: str
    limit: float

    def __str__(self) -> str:
        return f"{self.name}{self.end} {self.sign} {self.limit:g}"

    def reason(self, numbers: Mapping[str, Number]) -> str:
        """Why this means failure, in words; empty when it does not. An undefined number fails:
        nothing has been shown."""
        found = numbers.get(self.name, (math.nan,) * 3)
        value = found[("", ".low", ".high").index(self.end)]
        if math.isnan(value):
            return f"{self}: {self.name}{self.end} is not defined here, so nothing is shown"
        if not _COMPARE[self.sign](value, self.limit):
            return ""
        low, high = found[1:]
        span = "" if math.isnan(low) else f" [{low:.3f}, {high:.3f}]"
        return f"{self}: {self.name} is {found[0]:.3f}{span}"


def parse(text: str) -> Condition:
    """`NAME < NUMBER` (or <=, >, >=; `NAME.low` and `NAME.high` are the ends of the interval).

    Raises ValueError with what is wrong.
    """
    match = _FORM.match(text)
    if match is None:
        raise ValueError(f"{text!r} is no condition: write NAME < NUMBER, e.g. grounded_gain < 0.1")
    name, end, sign, number = match.groups()
    try:
        limit = float(number)
    except ValueError:
        limit = math.nan
    if not math.isfinite(limit):
        raise ValueError(f"{text!r}: {number!r} is not a number")
    name = name.replace("-", "_")
    if end and name in SHARES:
        raise ValueError(f"{text!r}: {name} has no interval; write {name} {sign} {number}")
    return Condition(name, end or "", sign, limit)


def parse_all(texts: Iterable[str], where: str) -> list[Condition]:
    """Conditions as given on the command line. Raises UserError that says `where`."""
    try:
        return [parse(text) for text in texts]
    except ValueError as error:
        raise UserError(f"{where}: {error}") from error


def check_names(
    conditions: Sequence[Condition], metrics: Iterable[Metric], labels: int, where: str
) -> None:
    """Raise UserError for a name that will not be measured.

    labels  how many labels the labeler has

    Where a metric cannot say what it will give, any name is let through and judged when the
    numbers are there.
    """
    known = {*RELIANCE, *SHARES}
    if all(condition.name in known for condition in conditions):
        return
    for metric in metrics:
        names = value_names(metric, labels)
        if names is None:
            return
        known |= {name.replace("-", "_") for name in names}
    for condition in conditions:
        if condition.name not in known:
            hint = did_you_mean(condition.name, known)
            raise UserError(
                f"{where}: there is no number '{condition.name}'; there are "
                f"{', '.join(sorted(known))}" + (f" ({hint})" if hint else "")
            )


def value_names(metric: Metric, labels: int) -> list[str] | None:
    """The names of a metric's values, from scoring nothing, or two made-up reports with `labels`
    labels; None where it cannot tell from that."""
    import numpy as np

    from ctfw.types import Prediction

    made: list[Prediction] = []  # a metric of texts may need a model for anything else
    if metric.needs_labels:
        row = np.ones(labels, np.int8)
        made = [Prediction(i, i, i, i, labels=row, reference_labels=row) for i in ("a", "b")]
    try:
        return list(metric.score(made).values)
    except (UserError, ValueError, LookupError, ArithmeticError):
        return None


def numbers_of(found: Assessment, generation: Mapping[str, Any]) -> dict[str, Number]:
    """Everything that a condition can name: (value, low, high), NaN where undefined."""
    nan = math.nan
    numbers: dict[str, Number] = {
        cell.replace("-", "_"): (value.value, value.low, value.high)
        for cell, value in found.table.row("model").values.items()
    }
    of = generation.get("of") or nan
    for share in SHARES:
        count = generation.get(share.removesuffix("_share"))
        numbers[share] = (nan if count is None else count / of, nan, nan)
    if found.grounded_gain is not None:
        gain = found.grounded_gain
        numbers["grounded_gain"] = (gain.value, gain.low, gain.high)
    for name, estimate in found.likelihood.items():
        key = "likelihood_reliance" if name == "another" else f"likelihood_{name}"
        numbers[key] = (estimate.value, estimate.low, estimate.high)
    return numbers


def reasons(conditions: Iterable[Condition], numbers: Mapping[str, Number]) -> list[str]:
    """The reasons of those that are met."""
    return [reason for condition in conditions if (reason := condition.reason(numbers))]
