"""What a plugin may implement: one declaration hook per kind, and the events of a run.

A *declaration* hook returns components and is called once, when plugins are loaded. An *event*
hook observes a run: it cannot change what happens, and one that raises is reported once and
then left out. An implementation may take fewer arguments than its specification.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pluggy

from ctfw.component import Component

API_VERSION = 1
GROUP = f"ctfw.v{API_VERSION}"

hookspec = pluggy.HookspecMarker("ctfw")
hookimpl = pluggy.HookimplMarker("ctfw")

DECLARES = {
    "ctfw_datasets": "dataset",
    "ctfw_volume_loaders": "volume_loader",
    "ctfw_preprocessors": "preprocessor",
    "ctfw_negative_samplers": "negative_sampler",
    "ctfw_losses": "loss",
    "ctfw_metrics": "metric",
    "ctfw_labelers": "labeler",
    "ctfw_backbones": "backbone",
    "ctfw_stages": "stage",
}

EVENTS = ("ctfw_run_started", "ctfw_step_logged", "ctfw_stage_finished", "ctfw_run_finished")


@hookspec
def ctfw_datasets() -> Iterable[Component]:  # type: ignore[empty-body]
    """Data sets: cases, reports, labels and splits."""


@hookspec
def ctfw_volume_loaders() -> Iterable[Component]:  # type: ignore[empty-body]
    """Readers: a file or folder to a `Volume`."""


@hookspec
def ctfw_preprocessors() -> Iterable[Component]:  # type: ignore[empty-body]
    """Steps from `Volume` to `Volume`, chained in the order of the recipe."""


@hookspec
def ctfw_negative_samplers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Samplers that pair a case with an image its report does not describe."""


@hookspec
def ctfw_losses() -> Iterable[Component]:  # type: ignore[empty-body]
    """Losses: step outputs to the number that is minimised, with its terms."""


@hookspec
def ctfw_metrics() -> Iterable[Component]:  # type: ignore[empty-body]
    """Metrics: predictions and cases to scores with their protocol."""


@hookspec
def ctfw_labelers() -> Iterable[Component]:  # type: ignore[empty-body]
    """Labelers: report text to a vector of labels."""


@hookspec
def ctfw_backbones() -> Iterable[Component]:  # type: ignore[empty-body]
    """Backbones: an image+text model with its processor."""


@hookspec
def ctfw_stages() -> Iterable[Component]:  # type: ignore[empty-body]
    """Stages: one step of a recipe, such as fine-tuning or report generation."""


@hookspec
def ctfw_recipe_dirs() -> Iterable[Path]:  # type: ignore[empty-body]
    """Folders of recipes that the plugin ships; `profiles/` inside one holds profiles."""


@hookspec
def ctfw_run_started(run: Any) -> None:
    """A run has begun; `run` is the path of its folder, here and in the other events."""


@hookspec
def ctfw_step_logged(run: Any, stage: str, step: int, values: Mapping[str, float]) -> None:
    """A stage has logged numbers, such as the terms of its loss, at an optimizer step."""


@hookspec
def ctfw_stage_finished(run: Any, stage: str, result: Any) -> None:
    """A stage has ended; `result` is its `StageResult`."""


@hookspec
def ctfw_run_finished(run: Any, error: BaseException | None) -> None:
    """A run has ended, with the exception that ended it or None."""


def new_manager() -> pluggy.PluginManager:
    """A plugin manager that knows the hooks above and no plugin."""
    import ctfw.hooks

    manager = pluggy.PluginManager("ctfw")
    manager.add_hookspecs(ctfw.hooks)
    return manager
