"""Checkpoints: written beside, renamed when whole, pointed at by `last` and `best`.

A checkpoint holds `model/` (the backbone's own files), `ctfw.json` (preprocessing, backbone,
where it comes from), `checksums.json` and, for resumption, `training.pt` and under ZeRO one
`shard-RANK.pt` of each process (read with `weights_only`: no pickle).
"""

from __future__ import annotations

import os
import shutil
from collections import ChainMap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctfw import processes
from ctfw.errors import BadCheckpoint, UserError
from ctfw.runs.begun import PROCESSES
from ctfw.runs.checksums import check_files, checksums, write_checksums
from ctfw.runs.directory import pointed_at, write_pointer
from ctfw.runs.files import read_json, readable_by_umask, write_json

if TYPE_CHECKING:
    from ctfw.contracts import Backbone


MODEL, FACTS, TRAINING = "model", "ctfw.json", "training.pt"
WRITTEN = (MODEL, FACTS, TRAINING)  # by the main process


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
        shard: Mapping[str, Any] | None = None,
    ) -> Path:
        """Write step `step`, point `last` (and `best`) at it, drop what nothing points at.

        shard  what this process alone has; the main one writes all else. Every process calls this.

        Raises UserError in every process when one of them cannot write.
        """
        name = f"step-{step:06d}"
        temporary = self.folder / f".{name}.tmp"
        if processes.is_main():
            shutil.rmtree(temporary, ignore_errors=True)
        processes.wait()
        written = self._write(temporary, step, backbone, facts, training, shard)
        everywhere = processes.gather(written)
        reasons = [found for found in everywhere if isinstance(found, str)]
        if processes.is_main():
            if reasons:
                shutil.rmtree(temporary, ignore_errors=True)
            else:
                sums = [found for found in everywhere if not isinstance(found, str)]
                write_checksums(temporary, dict(ChainMap(*sums)))
                self._publish(temporary, name, best=best)
        processes.wait()
        if reasons:
            before = "; the last good one is kept, `ctfw resume` goes on from it"
            raise UserError(
                f"cannot write the checkpoint of step {step} to {self.folder}: {reasons[0]}"
                + (before if (self.folder / "last").is_file() else "; there is no earlier one")
            )
        return self.folder / name

    def _write(
        self,
        temporary: Path,
        step: int,
        backbone: Backbone,
        facts: Mapping[str, Any],
        training: Mapping[str, Any],
        shard: Mapping[str, Any] | None,
    ) -> dict[str, str] | str:
        """Write this process's files: their checksums, or why they could not be written."""
        import torch
        from safetensors import SafetensorError

        try:
            temporary.mkdir(parents=True, exist_ok=True)
            if shard is not None:
                torch.save(dict(shard), temporary / shard_name(processes.rank()))
            if processes.is_main():
                backbone.save(temporary / MODEL)
                write_json(temporary / FACTS, {**facts, "step": step})
                torch.save({**training, PROCESSES: processes.world()}, temporary / TRAINING)
            own = () if shard is None else (shard_name(processes.rank()),)
            return checksums(temporary, *own, *(WRITTEN if processes.is_main() else ()))
        except (OSError, RuntimeError, SafetensorError, UserError) as error:
            # A full disk is an OSError here, a RuntimeError in torch.save, a SafetensorError there.
            return str(getattr(error, "strerror", None) or error)

    def _publish(self, temporary: Path, name: str, *, best: bool) -> None:
        readable_by_umask(temporary)
        shutil.rmtree(self.folder / name, ignore_errors=True)
        os.replace(temporary, self.folder / name)
        # `last` comes second: a kill in between repeats the step, and finds the same best.
        if best or not (self.folder / "best").is_file():
            write_pointer(self.folder, "best", name)
        write_pointer(self.folder, "last", name)
        self._prune()

    def last(self) -> Path | None:
        """The newest whole checkpoint, or None. Raises BadCheckpoint for a broken pointer."""
        pointer = self.folder / "last"
        return pointed_at(pointer) if pointer.is_file() else None

    def _prune(self) -> None:
        kept = {(self.folder / name).read_text().strip() for name in ("last", "best")}
        if len(kept) == 1:  # the newest of the others, lest a damaged file takes the only one
            kept |= set(sorted({p.name for p in self.folder.glob("step-*")} - kept)[-1:])
        for folder in [*self.folder.glob("step-*"), *self.folder.glob(".step-*.tmp")]:
            if folder.name not in kept:
                shutil.rmtree(folder, ignore_errors=True)


def shard_name(rank: int) -> str:
    """The file of one process in a checkpoint."""
    return f"shard-{rank:05d}.pt"


def read_training(checkpoint: Path) -> dict[str, Any]:
    """The state of optimizer and counters. Raises BadCheckpoint when it cannot be read."""
    return _read(checkpoint / TRAINING)


def read_shard(checkpoint: Path) -> dict[str, Any] | None:
    """What this process alone had, or None where no process had anything of its own.

    Raises BadCheckpoint in every process when the shard of one is missing or cannot be read.
    """
    if not processes.share(any(checkpoint.glob("shard-*.pt"))):
        return None
    file, found, reason = checkpoint / shard_name(processes.rank()), None, ""
    try:
        if not file.is_file():
            raise BadCheckpoint(
                f"{file} is missing: each process needs its shard of the optimizer. Put it back, "
                f"or start a new run whose stage has start_from: {checkpoint}"
            )
        found = _read(file)
    except BadCheckpoint as error:
        reason = str(error)
    if reasons := [text for text in processes.gather(reason) if text]:
        raise BadCheckpoint(reasons[0])
    return found


def _read(file: Path) -> dict[str, Any]:
    import torch

    check_files(file.parent, file.name)
    try:
        return dict(torch.load(file, weights_only=True, map_location="cpu"))
    except Exception as error:
        reason = f"{type(error).__name__}: {error}".partition("\n")[0].partition(". ")[0]
        raise BadCheckpoint(
            f"{file} cannot be read ({reason}); the stage cannot be resumed from it"
        ) from error


def check_model(checkpoint: Path) -> None:
    """Whether the weights, and what they were made with, are those that were written.

    Raises BadCheckpoint.
    """
    check_files(checkpoint, MODEL, FACTS)


def read_facts(checkpoint: Path) -> dict[str, Any]:
    """`ctfw.json` of a checkpoint. Raises BadCheckpoint."""
    file = checkpoint / FACTS
    if not file.is_file():
        raise BadCheckpoint(f"{checkpoint} is not a ctfw checkpoint: it has no ctfw.json")
    check_files(checkpoint, FACTS)
    try:
        return dict(read_json(file))
    except (UserError, ValueError, TypeError) as error:
        raise BadCheckpoint(f"{file} cannot be read: {error}") from error
