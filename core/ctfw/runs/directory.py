"""The folder of a run: `runs/<name>/<time>-<hash>/`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ctfw.errors import BadCheckpoint, UserError
from ctfw.recipe.load import read
from ctfw.recipe.order import Reference, parse_reference
from ctfw.runs.files import append_line, read_json, write_json, write_text


def now() -> str:
    """UTC time to the second, ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


class RunDirectory:
    """Paths of a run and its status. Every write is atomic."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, root: Path, name: str, digest: str) -> RunDirectory:
        """A new folder. Raises UserError when it cannot be written."""
        stamp = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        path = root / name / f"{stamp}-{digest[:6]}"
        try:
            for attempt in range(100):
                try:
                    path.mkdir(parents=True, exist_ok=False)
                    return cls(path)
                except FileExistsError:
                    path = root / name / f"{stamp}-{digest[:6]}-{attempt + 2}"
        except OSError as error:
            raise UserError(
                f"cannot write runs into {root}: {error.strerror or error}; choose another folder "
                "with --runs"
            ) from error
        raise UserError(f"{root / name} already has 100 runs of this second")

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """An existing run; the newest one where the folder is that of a recipe.

        Raises UserError when it is neither.
        """
        path = newest_run(path)
        if not (path / "resolved.yaml").is_file():
            raise UserError(
                f"{path} is not a run: it has no resolved.yaml. A run is a folder such as "
                "runs/ours-heter/20260101-120000-3f9c1a"
            )
        return cls(path)

    def stage(self, name: str) -> Path:
        return self.path / "stages" / name

    @property
    def status(self) -> dict[str, Any]:
        file = self.path / "status.json"
        return dict(read_json(file)) if file.is_file() else {}

    def set_status(self, **changes: Any) -> None:
        """Merge `changes` into status.json."""
        write_json(self.path / "status.json", self.status | changes)

    def event(self, kind: str, **values: Any) -> None:
        append_line(self.path / "events.jsonl", {"time": now(), "event": kind, **values})

    def finished(self, stage: str) -> Mapping[str, Any] | None:
        """What a finished stage returned, or None."""
        file = self.stage(stage) / "done.json"
        return dict(read_json(file)) if file.is_file() else None


def newest_run(path: Path) -> Path:
    """The newest run in the folder of a recipe, such as runs/ours-heter; else `path` itself."""
    if (path / "resolved.yaml").is_file():
        return path
    inside = sorted(file.parent for file in path.glob("*/resolved.yaml"))
    return inside[-1] if inside else path


def write_pointer(folder: Path, name: str, target: str) -> None:
    """`checkpoints/best` is a text file that names a folder: no symlinks, for object stores."""
    write_text(folder / name, target + "\n")


def pointed_at(pointer: Path) -> Path:
    """The checkpoint that a pointer names. Raises BadCheckpoint when there is none."""
    name = pointer.read_text(encoding="utf-8", errors="replace").strip()
    if not name or not (pointer.parent / name).is_dir():
        there = ", ".join(sorted(p.name for p in pointer.parent.glob("step-*"))) or "none"
        raise BadCheckpoint(
            f"{pointer} should name a checkpoint beside it and says {name!r}; there are: {there}"
        )
    return pointer.parent / name


def checkpoint_of(path: Path, which: str = "best") -> Path:
    """The checkpoint folder meant by a checkpoint, a stage, a run, or a recipe's folder of runs.

    A run means the checkpoint that its reports are written from, see `_model_of`, and a folder of
    runs the newest. Raises BadCheckpoint with what was looked for.
    """
    if (path / "ctfw.json").is_file():
        return path
    pointer = path / "checkpoints" / which
    if pointer.is_file():
        return pointed_at(pointer)
    run = RunDirectory(newest_run(path))
    if (run.path / "resolved.yaml").is_file():
        return _model_of(run, which)
    raise BadCheckpoint(
        f"{path} holds no checkpoint: expected a folder with ctfw.json, a stage folder with "
        f"checkpoints/{which}, or a run folder"
    )


def _model_of(run: RunDirectory, which: str) -> Path:
    """What the last stage that scores reports starts from; without one, the checkpoint of the last
    stage. Times of files say nothing here: a copy has others."""
    found = read(run.path / "resolved.yaml")[0].plain().get("stages")
    stages = found if isinstance(found, dict) else {}
    meant = _scored(stages) or Reference("", "checkpoint", _last(run, stages))
    if meant.path is not None:
        return checkpoint_of(meant.path, which)
    pointer = run.stage(meant.stage) / "checkpoints" / (meant.what or which)
    if pointer.is_file():
        return pointed_at(pointer)
    there = sorted(p.parent.parent for p in run.path.glob(f"stages/*/checkpoints/{which}"))
    raise BadCheckpoint(
        f"{run.path}: its model is that of stage '{meant.stage}', and there is no {pointer}"
        + (f"; to take another one, name it: {', '.join(map(str, there))}" if there else "")
    )


def _scored(stages: dict[str, Any]) -> Reference | None:
    """Where the last stage with metrics takes its weights from."""
    for block in reversed(stages.values()):
        if isinstance(block, dict) and block.get("metrics") and block.get("start_from"):
            return parse_reference(str(block["start_from"]), "checkpoint", list(stages))
    return None


def _last(run: RunDirectory, stages: dict[str, Any]) -> str:
    """The last stage, of those that ended without any checkpoint the one before."""
    for name in reversed(stages):
        if run.finished(name) is None or (run.stage(name) / "checkpoints").is_dir():
            return name
    return ""
