"""`ctfw new plugin`: a distribution with one working component and a test that passes."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated

import typer

from ctfw.errors import UserError, did_you_mean

_LONGEST = 64  # it becomes a folder, a package and a module

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def _new() -> None:
    """Start something of your own."""


@app.command("plugin")
def plugin(
    name: Annotated[str, typer.Argument(help="What it does, such as hard-negatives.")],
    kind: Annotated[
        str, typer.Option("--kind", help="Kind of its first component.")
    ] = "negative_sampler",
    into: Annotated[
        Path, typer.Option("--into", metavar="DIR", help="Folder in which it is made.")
    ] = Path(),
) -> None:
    """Make a folder with a plugin: pyproject, package, a working component and its test."""
    from ctfw.plugins import load_plugins
    from ctfw.registry import words
    from ctfw.scaffold import KINDS, files

    short = name.removeprefix("ctfw-")
    if not re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", short):
        raise UserError(
            f"'{name}': a plugin is named in lower case with hyphens, e.g. hard-negatives"
        )
    if len(short) > _LONGEST:
        raise UserError(
            f"the name has {len(short)} characters; give the plugin one of at most {_LONGEST}"
        )
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS)
        listed = ", ".join(KINDS)
        raise UserError(
            f"no template of kind '{kind}'; there are: {listed}" + f" ({hint})" * bool(hint)
        )
    if any(c.name == short for c in load_plugins(only="none").catalog.all(kind)):
        raise UserError(
            f"'{short}' is the built-in {words(kind)} of that name, and `use: {short}` would "
            "mean that one: choose another name, or use PROVIDER/" + short
        )
    folder = into / f"ctfw-{short}"
    if folder.exists():
        raise UserError(f"{folder} exists already; choose another name or folder")
    for relative, text in files(short, kind).items():
        path = folder / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(folder)
    print(
        f"next: pip install -e {folder} && pytest {folder} && ctfw plugins ctfw-{short}",
        file=sys.stderr,
    )
