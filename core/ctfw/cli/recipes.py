"""`ctfw recipes`: what is shipped, and taking one as your own."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from ctfw.cli.options import columns
from ctfw.errors import RecipeInvalid, UserError
from ctfw.plugins import load_plugins
from ctfw.recipe.find import find_recipe, shipped, shipped_dirs
from ctfw.recipe.load import read


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[NAME]", help="A shipped recipe.")] = None,
    copy_to: Annotated[
        Path | None,
        typer.Option("--copy-to", metavar="DIR", help="Copy it there, to change it."),
    ] = None,
) -> None:
    """List the shipped recipes and profiles, print one, or copy one."""
    dirs = [*shipped_dirs(), *load_plugins().recipe_dirs]
    if name is None:
        if copy_to is not None:
            raise UserError("say which recipe to copy: ctfw recipes NAME --copy-to DIR")
        files = shipped(dirs) | shipped(dirs, profiles=True)
        print(columns((each, _summary(path)) for each, path in files.items()))
        return
    source = find_recipe(name, dirs)
    if copy_to is None:
        print(source.read_text(encoding="utf-8"), end="")
        return
    target = copy_to / source.name
    if target.exists():
        raise UserError(f"{target} exists already; move it away or choose another folder")
    copy_to.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    print(target)
    print(f"run it with: {_command(source, target)}", file=sys.stderr)


def _command(source: Path, copy: Path) -> str:
    """What runs a copy: a profile needs a recipe, and one with a matrix is a sweep."""
    if source.parent.name == "profiles":
        return f"ctfw run RECIPE --profile {copy}"
    verb = "sweep" if read(source)[0].get("matrix") else "run"
    return f"ctfw {verb} {copy}"


def _summary(path: Path) -> str:
    """The `summary` of a recipe file; a broken file says so instead."""
    try:
        summary = read(path)[0].get("summary")
    except RecipeInvalid as error:
        return f"(broken: {error.problems[0]})"
    return str(summary.value) if summary is not None else ""
