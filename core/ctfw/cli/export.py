"""`ctfw export`: a trained model for tools that do not know ctfw."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ctfw.plugins import load_plugins


def export(
    checkpoint: Annotated[
        Path, typer.Argument(metavar="CHECKPOINT", help="A checkpoint, stage or run folder.")
    ],
    merged: Annotated[
        Path | None,
        typer.Option("--merged", metavar="FOLDER", help="One model with the adapters added in."),
    ] = None,
    adapter: Annotated[
        Path | None,
        typer.Option("--adapter", metavar="FOLDER", help="The adapters alone, as peft reads them."),
    ] = None,
) -> None:
    """Write a plain Hugging Face folder and compare its answers with the checkpoint's."""
    from ctfw.engine.export import export_checkpoint
    from ctfw.engine.run import quiet_libraries
    from ctfw.errors import UserError

    out = merged or adapter
    if out is None or (merged and adapter):
        raise UserError("say one of --merged FOLDER and --adapter FOLDER")
    quiet_libraries()
    told = export_checkpoint(checkpoint, out, load_plugins(), merged=merged is not None)
    for check in told.checks:
        print(f"  {check}", file=sys.stderr)
    print(out)
