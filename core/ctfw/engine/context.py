"""What a stage is given: built parts, its folder, and ways to report."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctfw.component import Block
from ctfw.observers import Observers
from ctfw.place import is_main
from ctfw.progress import track
from ctfw.runs.directory import RunDirectory
from ctfw.runs.files import append_line

if TYPE_CHECKING:
    from ctfw.contracts import Backbone, Dataset
    from ctfw.engine.images import ImageBank
    from ctfw.engine.trackers import Trackers


@dataclass(frozen=True)
class StageResult:
    """What a finished stage leaves for later ones and for the reader.

    products  what other stages may refer to, e.g. {"checkpoint": "checkpoints/best"}
    numbers   the few that matter, shown by `ctfw compare`
    """

    products: Mapping[str, str] = field(default_factory=dict)
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass
class Context:
    """Handed to every component when it is built, and to a stage when it runs.

    inputs   folders that the stage's references point at, by the name of the setting
    facts    what travels in checkpoints: preprocessing, backbone, synthetic or not
    """

    seed: int = 0
    stage: str = ""
    run: RunDirectory | None = None
    synthetic: bool = False
    inputs: Mapping[str, Path] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    observers: Observers | None = None
    dataset: Dataset | None = None
    images: ImageBank | None = None
    make_backbone: Callable[[], Backbone] | None = None
    trackers: Trackers | None = None

    @property
    def folder(self) -> Path:
        """The stage's own folder."""
        if self.run is None:
            raise RuntimeError("this context belongs to no run")
        return self.run.stage(self.stage)

    def build(self, block: Block) -> Any:
        """The component that a block names, built with its settings."""
        return block.component.load()(block.settings, self)

    def progress(self, items: Any, title: str, total: int) -> Any:
        """Iterate with a bar."""
        return track(items, title, total)

    def log(self, text: str) -> None:
        """Say something to the person who waits; once, however many processes do."""
        if is_main():
            print(f"  {text}", file=sys.stderr, flush=True)

    def step(self, values: Mapping[str, Any]) -> None:
        """One line of steps.jsonl, and an event for observers; the main process alone does it."""
        if not is_main():
            return
        append_line(self.folder / "steps.jsonl", values)
        if self.trackers is not None:
            self.trackers.log(values)
        if self.observers is not None and self.run is not None:
            self.observers.notify(
                "ctfw_step_logged",
                run=self.run.path,
                stage=self.stage,
                step=values.get("step", 0),
                values=values,
            )
