"""Checkpoints: written beside, renamed when whole, pointed at by `last` and `best`.

A checkpoint holds `model/` (the backbone's own files), `ctfw.json` (preprocessing, backbone,
where it comes from) and, for resumption, `training.pt` (read with `weights_only`: no pickle).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctfw.errors import BadCheckpoint, UserError
from ctfw.runs.directory import write_pointer
from ctfw.runs.files import read_json, write_json

if TYPE_CHECKING:
    from ctfw.contracts import Backbone


class Checkpoints:
    """The checkpoints of one stage."""

    def __init__(self, stage_folder: Path) -> None:
        self.folder = stage_folder / "checkpoints"

    def save(
        self,
        step: int,
        backbone: Backbone,
        facts: Mapping[str, Any],
        training: Mapping[str, Any],
        *,
        best: bool,
    ) -> Path:
        """Write step `step`, point `last` (and `best`) at it, drop what nothing points at."""
        import torch
        from safetensors import SafetensorError

        final = self.folder / f"step-{step:06d}"
        temporary = self.folder / f".step-{step:06d}.{os.getpid()}.tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        try:
            temporary.mkdir(parents=True)
            backbone.save(temporary / "model")
            write_json(temporary / "ctfw.json", {**facts, "step": step})
            torch.save(dict(training), temporary / "training.pt")
            shutil.rmtree(final, ignore_errors=True)
            os.replace(temporary, final)
        except (OSError, RuntimeError, SafetensorError, UserError) as error:
            # A full disk is an OSError here, a RuntimeError in torch.save, a SafetensorError there.
            shutil.rmtree(temporary, ignore_errors=True)
            raise UserError(
                f"cannot write the checkpoint of step {step} to {self.folder}: "
                f"{getattr(error, 'strerror', None) or error}; the last good one is kept, "
                "`ctfw resume` goes on from it"
            ) from error
        # `last` comes second: a kill in between repeats the step, and finds the same best.
        if best or not (self.folder / "best").is_file():
            write_pointer(self.folder, "best", final.name)
        write_pointer(self.folder, "last", final.name)
        self._prune()
        return final

    def last(self) -> Path | None:
        """The newest whole checkpoint, or None."""
        pointer = self.folder / "last"
        return self.folder / pointer.read_text().strip() if pointer.is_file() else None

    def _prune(self) -> None:
        kept = {(self.folder / name).read_text().strip() for name in ("last", "best")}
        for folder in [*self.folder.glob("step-*"), *self.folder.glob(".step-*.tmp")]:
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def read_training(checkpoint: Path) -> dict[str, Any]:
    """The state of optimizer and counters. Raises BadCheckpoint when it cannot be read."""
    import torch

    try:
        return dict(torch.load(checkpoint / "training.pt", weights_only=True, map_location="cpu"))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0].partition(". ")[0]
        raise BadCheckpoint(
            f"{checkpoint / 'training.pt'} cannot be read ({reason}); the stage cannot be resumed "
            "from it"
        ) from error


def read_facts(checkpoint: Path) -> dict[str, Any]:
    """`ctfw.json` of a checkpoint. Raises BadCheckpoint."""
    file = checkpoint / "ctfw.json"
    if not file.is_file():
        raise BadCheckpoint(f"{checkpoint} is not a ctfw checkpoint: it has no ctfw.json")
    try:
        return dict(read_json(file))
    except (UserError, ValueError, TypeError) as error:
        raise BadCheckpoint(f"{file} cannot be read: {error}") from error
