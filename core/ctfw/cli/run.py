"""`ctfw run` and `ctfw resume`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ctfw.cli.options import Profile, Recipe, Set
from ctfw.engine.launch import checked, create, reopen
from ctfw.plugins import Plugins, load_plugins
from ctfw.recipe import ResolvedRecipe, dump
from ctfw.runs.directory import RunDirectory

Runs = Annotated[
    Path, typer.Option("--runs", metavar="FOLDER", help="Where the folders of runs are made.")
]


def run(
    recipe: Recipe,
    overrides: Set = None,
    profile: Profile = None,
    runs: Runs = Path("runs"),
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, print what would run, and write nothing.")
    ] = False,
) -> None:
    """Run a recipe: every stage, then the score table and the report page."""
    plugins = load_plugins()
    resolved = checked(recipe, overrides or [], profile, plugins)
    if dry_run:
        print(dump(resolved.plain()), end="")
        return
    execute(resolved, plugins, create(resolved, runs))


def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
) -> None:
    """Go on with a run that was stopped or killed; it ends with the same numbers."""
    plugins = load_plugins()
    directory, resolved = reopen(folder, plugins)
    if directory.status.get("state") == "finished":
        print(f"{folder} is finished", file=sys.stderr)
        if not (folder / "report.html").is_file():
            from ctfw.page.build import build_page

            build_page(folder)
        show_result(directory)
        return
    execute(resolved, plugins, directory)


def execute(recipe: ResolvedRecipe, plugins: Plugins, directory: RunDirectory) -> None:
    """Run the stages and print what came out."""
    from ctfw.engine.run import run_recipe

    scale = f", profile {recipe.profile}" if recipe.profile else ""
    print(f"{recipe.name}{scale}: {' -> '.join(recipe.stages)}", file=sys.stderr)
    if recipe.synthetic:
        print("SYNTHETIC data: the scores say nothing about patients", file=sys.stderr)
    print(f"run folder: {directory.path}", file=sys.stderr)
    try:
        run_recipe(recipe, plugins, directory)
    except BaseException:
        if any(directory.path.glob("stages/*/*")):  # something has been done that is kept
            print(f"to go on: ctfw resume {directory.path}", file=sys.stderr)
        raise
    show_result(directory)


def show_result(directory: RunDirectory) -> None:
    """The score tables of a run, its headline, and the path of its page."""
    from ctfw.cli.scores import print_scores

    for scores in sorted(directory.path.glob("stages/*/scores.json")):
        print_scores(scores)
    page = directory.path / "report.html"
    if page.is_file():
        print(f"report: {page}")
