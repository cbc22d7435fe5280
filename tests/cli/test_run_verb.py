"""`ctfw run` and `ctfw resume`: what is said when a run ends early."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ctfw.cli.run import execute
from ctfw.errors import BadCheckpoint, Diverged, UserError, WrongProcesses
from ctfw.runs.directory import RunDirectory
from ctfw.runs.files import write_text

RECIPE: Any = SimpleNamespace(name="a", profile="phantom", stages=("tune",), synthetic=False)


def ended_with(error: BaseException, run: RunDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any) -> None:
        raise error

    monkeypatch.setattr("ctfw.engine.run.run_recipe", fails)
    with pytest.raises(type(error)):
        execute(RECIPE, SimpleNamespace(), run)  # type: ignore[arg-type]


def exit_after(cause: BaseException) -> SystemExit:
    """What ends the main process when another one was first to tell of the same error."""
    found = SystemExit(2)
    found.__cause__ = cause
    return found


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (KeyboardInterrupt(), True),
        (UserError("the disk is full"), True),
        (exit_after(UserError("the disk is full")), True),
        (WrongProcesses("To go on: ctfw resume there --nproc 2"), False),
        (exit_after(WrongProcesses("To go on: ctfw resume there --nproc 2")), False),
        (Diverged("the loss is nan"), False),
        (BadCheckpoint("model.safetensors is damaged"), False),
    ],
)
@pytest.mark.parametrize("kept", [True, False])
def test_command_to_go_on_is_given_where_it_would_help(
    error: BaseException, told: bool, kept: bool,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setenv("WORLD_SIZE", "3")
    if kept:
        write_text(tmp_path / "stages" / "tune" / "steps.jsonl", "{}\n")
    ended_with(error, RunDirectory(tmp_path), monkeypatch)
    said = capsys.readouterr().err
    assert (f"to go on: ctfw resume {tmp_path} --nproc 3" in said) is (told and kept)
