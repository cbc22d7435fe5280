"""Hugging Face `evaluate` in both directions, without any network.

`as_evaluate` offers a metric of ctfw as an `evaluate.Metric`; `load_local` takes a metric of
`evaluate` from a script on disk. `evaluate` is imported inside the functions: it costs seconds.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from ctfw.contracts import Labeler, Metric
from ctfw.errors import MissingPackage, UserError
from ctfw.types import Prediction

_FLAGS = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "HF_EVALUATE_OFFLINE", "TRANSFORMERS_OFFLINE")
_MIRRORS = (  # what the libraries made of the flags when they were imported
    ("huggingface_hub.constants", "HF_HUB_OFFLINE"),
    ("datasets.config", "HF_HUB_OFFLINE"),
    ("datasets.config", "HF_DATASETS_OFFLINE"),
    ("evaluate.config", "HF_EVALUATE_OFFLINE"),
)


@contextmanager
def offline() -> Iterator[Any]:
    """The module `evaluate`, which reaches no network inside the block.

    Raises MissingPackage where it is not installed. What is set is put back afterwards.
    """
    before = {name: os.environ.get(name) for name in _FLAGS}
    usual = bool(before["HF_HUB_OFFLINE"])
    os.environ.update(dict.fromkeys(_FLAGS, "1"))
    try:
        try:
            evaluate = import_module("evaluate")
        except ImportError as error:
            raise MissingPackage(
                f"the package evaluate cannot be imported ({error}): pip install 'ctfw[hf-metrics]'"
            ) from error
        _set_offline(True)
        yield evaluate
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        _set_offline(usual)


def _set_offline(value: bool) -> None:
    for module, name in _MIRRORS:
        if module in sys.modules:
            setattr(sys.modules[module], name, value)


def script_of(path: Path) -> Path:
    """The script that `path` means: itself, or `NAME/NAME.py` for a folder `NAME`.

    Raises UserError where there is none, so that no name is ever looked up on a hub.
    """
    path = path.expanduser().resolve()
    script = path if path.suffix == ".py" else path / f"{path.name}.py"
    if not script.is_file():
        raise UserError(
            f"{script}: no such file; give the script of an `evaluate` metric, or the folder "
            "NAME that holds NAME.py"
        )
    return script


def load_local(path: Path) -> Any:
    """An `evaluate.EvaluationModule` from a script on this machine.

    Raises MissingPackage without `evaluate`, UserError when the script is missing or fails, e.g.
    because it wants to download something.
    """
    script = script_of(path)
    with offline() as evaluate:
        try:
            return evaluate.load(str(script), keep_in_memory=True)
        except Exception as error:  # whatever the script raises is the user's to mend
            raise UserError(
                f"{script}: cannot be loaded without network: {type(error).__name__}: {error}. "
                "Install what it imports; where it imports from an address ('# From: ...'), put "
                "that file beside it and take the address out"
            ) from error


def as_evaluate(metric: Metric, labeler: Labeler | None = None) -> Any:
    """A metric of ctfw as an `evaluate.Metric`: `compute(predictions=..., references=...)` of texts
    gives its values, and under `protocol` the signature; `add_batch` and `evaluate.combine` work.

    labeler  for a metric that reads labels. Raises UserError where it needs one and has none.
    """
    if metric.needs_labels and labeler is None:
        raise UserError("this metric reads labels: give as_evaluate a labeler as well")
    with offline() as evaluate:
        datasets = import_module("datasets")

        class Offered(evaluate.Metric):  # type: ignore[name-defined]
            """Texts in, values and signature out."""

            def _info(self) -> Any:
                text = datasets.Value("string")
                return evaluate.MetricInfo(
                    description=type(metric).__doc__ or "",
                    citation="",
                    inputs_description="predictions and references: one text each",
                    features=datasets.Features({"predictions": text, "references": text}),
                )

            def _compute(
                self, predictions: Sequence[str], references: Sequence[str]
            ) -> dict[str, Any]:
                return _computed(metric, labeler, predictions, references)

        Offered.__name__ = type(metric).__name__  # `combine` names repeated keys by it
        return Offered(keep_in_memory=True)


def _computed(
    metric: Metric, labeler: Labeler | None, predictions: Sequence[str], references: Sequence[str]
) -> dict[str, Any]:
    from ctfw.scoring.assess import with_labels

    made = [
        Prediction(str(i), str(i), generated, reference)
        for i, (generated, reference) in enumerate(zip(predictions, references, strict=True))
    ]
    names = labeler.names if labeler is not None else ()
    scores = metric.score(with_labels(made, labeler), label_names=names)
    return {**scores.values, "protocol": scores.protocol}
