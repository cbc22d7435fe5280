"""TensorBoard, Weights & Biases and MLflow beside steps.jsonl, through Accelerate's trackers.

What is sent: the numbers of the step log, and the settings of the training. Neither paths nor the
environment nor what is printed leave the machine.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ctfw import processes
from ctfw.runs.files import read_json, write_json

if TYPE_CHECKING:
    from accelerate import Accelerator

    from ctfw.engine.context import Context
    from ctfw.settings import Training

_MLFLOW = "mlflow.json"
_SILENT = {"console": "off", "disable_code": True, "disable_git": True, "x_disable_meta": True}


class Trackers:
    """The trackers of one stage. One that fails is told of once and left out."""

    def __init__(self, trackers: list[Any], context: Context) -> None:
        self._trackers, self._context = trackers, context

    def log(self, values: Mapping[str, Any]) -> None:
        """One line of the step log: numbers under names such as `validation/positive`."""
        numbers = dict(_numbers({key: v for key, v in values.items() if key != "step"}))
        for tracker in list(self._trackers):
            try:
                tracker.log(numbers, step=int(values.get("step", 0)))
            except Exception as error:  # a tracker must not end a training
                self._trackers.remove(tracker)
                text = f"{type(error).__name__}: {error}".partition("\n")[0]
                self._context.log(f"{tracker.name} failed and is left out from here on ({text})")

    def close(self) -> None:
        """Let each write what it holds back."""
        for tracker in self._trackers:
            with suppress(Exception):  # as above, and the numbers are in steps.jsonl
                tracker.finish()


def open_trackers(
    accelerator: Accelerator, training: Training, context: Context, step: int
) -> Trackers | None:
    """The trackers that `training.log_to` names, going on after `step`; main process only.

    A resumed stage goes on in the same run of each service. A service that does not answer is
    told of and left out.
    """
    if not training.log_to or not processes.is_main() or context.run is None:
        return None
    from accelerate.tracking import LOGGER_TYPE_TO_CLASS

    project = str(context.facts.get("recipe") or "ctfw")
    options = _options(context, step)
    opened: list[Any] = []
    for name in training.log_to:
        kind = LOGGER_TYPE_TO_CLASS[name]
        place = (
            {"logging_dir": str(context.folder / "tensorboard")}
            if kind.requires_logging_directory
            else {}
        )
        try:
            tracker = kind(project, **place, **options[name])
            tracker.start()
            _store(tracker, _settings(training), step)
        except Exception as error:  # a service that is not there must not end a training
            text = f"{type(error).__name__}: {error}".partition("\n")[0]
            context.log(f"{name} cannot be opened and is left out ({text})")
            continue
        opened.append(tracker)
        if name == "mlflow":
            write_json(context.folder / _MLFLOW, {"run_id": tracker.active_run.info.run_id})
    return Trackers(opened, context)


def _options(context: Context, step: int) -> dict[str, dict[str, Any]]:
    assert context.run is not None
    name = f"{context.run.path.name}/{context.stage}"
    identity = hashlib.sha256(f"{context.run.path.absolute()}/{context.stage}".encode()).hexdigest()
    before = context.folder / _MLFLOW
    run_id = read_json(before)["run_id"] if before.is_file() else None
    return {
        "tensorboard": {"purge_step": step + 1},
        "wandb": {
            "name": name,
            "group": context.run.path.name,
            "id": identity[:16],
            "resume": "allow",
            "dir": str(context.folder),
            "settings": _SILENT,
        },
        "mlflow": {"run_name": name, "run_id": run_id},
    }


def _store(tracker: Any, settings: Mapping[str, Any], step: int) -> None:
    """The settings beside the curves. Accelerate would give TensorBoard a run of its own for them,
    without a curve, at every start."""
    if tracker.name != "tensorboard":
        tracker.store_init_configuration(dict(settings))
        return
    rows = [f"| {key} | {value} |" for key, value in settings.items()]
    table = "\n".join(["| setting | value |", "| --- | --- |", *rows])
    tracker.writer.add_text("training", table, global_step=step)


def _settings(training: Training) -> dict[str, Any]:
    """Settings as plain values; what belongs to the machine stays here."""
    local = {"device", "loaders", "threads", "log_to"}
    plain = (bool, int, float, str)
    return {
        key: value if isinstance(value, plain) else str(value)
        for key, value in training.model_dump(exclude=local).items()
    }


def _numbers(values: Mapping[str, Any], prefix: str = "") -> list[tuple[str, float]]:
    found = []
    for key, value in values.items():
        if isinstance(value, Mapping):
            found += _numbers(value, f"{prefix}{key}/")
        elif isinstance(value, (int, float)) and math.isfinite(value):
            found.append((f"{prefix}{key}", float(value)))
    return found
