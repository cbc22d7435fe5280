"""Any metric of Hugging Face `evaluate` whose script lies on this machine. No hub, no network."""

from __future__ import annotations

import hashlib
import json
import numbers
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ctfw.errors import UserError
from ctfw.scoring.hf import load_local, offline, script_of
from ctfw.types import CaseTable, Prediction, Scores
from ctfw_plugins.metrics.configs import HfEvaluateConfig

Result = Mapping[str, Any]


class HfEvaluate:
    """Values `hf-KEY` for each number that the metric's compute returns.

    A list of one number per case becomes values per case, and their mean. The signature holds the
    start of the script's SHA-256, because scripts of one name differ.
    """

    needs_labels = False

    def __init__(self, config: HfEvaluateConfig, context: Any = None) -> None:
        """Raises MissingPackage without `evaluate`, UserError when the script cannot be loaded."""
        self.config = config
        self.script = script_of(config.path)
        self.metric = load_local(self.script)
        digest = hashlib.sha256(self.script.read_bytes()).hexdigest()[:8]
        level = "mean of cases" if config.by_case else "corpus"
        parts = ["hf-evaluate", self.script.stem, level, f"script:{digest}"]
        if config.arguments:
            parts.append(json.dumps(config.arguments, sort_keys=True))
        self.protocol = "|".join([*parts, "refs:1"])

    def score(
        self,
        predictions: Sequence[Prediction],
        cases: CaseTable | None = None,
        label_names: Sequence[str] = (),
    ) -> Scores:
        """NaN without predictions. Raises UserError when the metric refuses the texts."""
        if not predictions:
            return Scores({"hf": np.nan}, self.protocol, notes=("no predictions to score",))
        if self.config.by_case:
            results = [self._compute([prediction]) for prediction in predictions]
            keys = [key for key in results[0] if all(_is_number(r.get(key)) for r in results)]
            per_case = {_name(key): np.array([float(r[key]) for r in results]) for key in keys}
            return self._scores({}, per_case, set(results[0]) - set(keys))
        result = self._compute(predictions)
        values = {_name(key): float(value) for key, value in result.items() if _is_number(value)}
        lists = {key: value for key, value in result.items() if _is_column(value, len(predictions))}
        per_case = {_name(key): np.array(value, float) for key, value in lists.items()}
        left = {key for key in result if _name(key) not in {**values, **per_case}}
        return self._scores(values, per_case, left, len(predictions))

    def _scores(
        self,
        values: dict[str, float],
        per_case: dict[str, np.ndarray],
        left: set[str],
        cases: int = 0,
    ) -> Scores:
        if not values and not per_case:
            raise UserError(
                f"{self.script}: gives no number but {', '.join(sorted(left)) or 'nothing'}"
            )
        means = {name: float(column.mean()) for name, column in per_case.items()}
        note = (
            f"{self.script.stem}: left out, because they are no numbers: {', '.join(sorted(left))}"
        )
        everything = {**values, **means}
        made = Scores(
            values=everything,
            protocol=self.protocol,
            per_case=per_case,
            notes=(note,) if left else (),
            lower_is_better=frozenset(everything if self.config.lower_is_better else ()),
        )
        if per_case:
            return made
        # A number of the whole corpus cannot be resampled: no statistics, and so no interval.
        return replace(made, statistics=np.zeros((cases, 0)), reduce=lambda sums: {})

    def _compute(self, predictions: Sequence[Prediction]) -> Result:
        references = [prediction.reference for prediction in predictions]
        wrapped = [[text] for text in references] if self.config.reference_lists else references
        try:
            with offline():
                return dict(
                    self.metric.compute(
                        predictions=[prediction.generated for prediction in predictions],
                        references=wrapped,
                        **self.config.arguments,
                    )
                )
        except Exception as error:  # a script may raise anything about texts that it cannot take
            place = f"case '{predictions[0].case}'" if len(predictions) == 1 else "these texts"
            raise UserError(
                f"{self.script}: cannot score {place}: {type(error).__name__}: {error}; see "
                "`arguments` and `reference_lists`, and whether a text is empty"
            ) from error


def _name(key: str) -> str:
    return f"hf-{key.lower().replace('_', '-')}"


def _is_number(value: Any) -> bool:
    return isinstance(value, numbers.Real) and not isinstance(value, bool)


def _is_column(value: Any, cases: int) -> bool:
    """Whether it is a list of one number per case."""
    return (
        isinstance(value, list | tuple | np.ndarray)
        and len(value) == cases
        and all(_is_number(item) for item in value)
    )
