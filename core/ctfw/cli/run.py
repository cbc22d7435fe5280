"""`ctfw run` and `ctfw resume`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from ctfw import processes
from ctfw.cli.options import Profile, Recipe, Set
from ctfw.engine.launch import checked, create, reopen
from ctfw.errors import BadCheckpoint, Diverged, UserError, WrongProcesses
from ctfw.plugins import Plugins, load_plugins
from ctfw.recipe import ResolvedRecipe, dump
from ctfw.runs.begun import resume_command
from ctfw.runs.directory import RunDirectory

Ready = tuple[RunDirectory, ResolvedRecipe]
Nproc = Annotated[
    int,
    typer.Option(
        "--nproc", min=1, metavar="N", help="Processes on this machine, one for each GPU."
    ),
]
Runs = Annotated[
    Path, typer.Option("--runs", metavar="FOLDER", help="Where the folders of runs are made.")
]


def run(
    recipe: Recipe,
    overrides: Set = None,
    profile: Profile = None,
    runs: Runs = Path("runs"),
    nproc: Nproc = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check, print what would run, and write nothing.")
    ] = False,
) -> None:
    """Run a recipe: every stage, then the score table and the report page."""
    plugins = load_plugins()
    if dry_run:
        print(dump(checked(recipe, overrides or [], profile, plugins).plain()), end="")
        return

    def new() -> Ready:
        resolved = checked(recipe, overrides or [], profile, plugins)
        return create(resolved, runs), resolved

    start(new, plugins, nproc)


def resume(
    folder: Annotated[Path, typer.Argument(metavar="RUN", help="The folder of a run.")],
    nproc: Nproc = 1,
) -> None:
    """Go on with a run that was stopped or killed; it ends with the same numbers."""
    plugins = load_plugins()
    start(lambda: reopen(folder, plugins), plugins, nproc)


def start(ready: Callable[[], Ready], plugins: Plugins, nproc: int) -> None:
    """Go on with a run in this process, in `nproc` new ones, or in those that a launcher started.

    ready  makes or opens the run; called once, in the main process
    """
    if processes.world() > 1:
        if nproc > 1:
            raise UserError("torchrun has started the processes already: leave --nproc away")
        with processes.joined():
            _start_together(ready, plugins)
        return
    directory, resolved = ready()
    if directory.status.get("state") == "finished":
        show_finished(directory)
    elif nproc == 1:
        execute(resolved, plugins, directory)
    else:
        from ctfw.engine.spawn import run_together

        if code := run_together(directory, nproc):
            raise typer.Exit(code)


def _start_together(ready: Callable[[], Ready], plugins: Plugins) -> None:
    """The part of one of several processes. Where the main one fails, the others end quietly."""
    if not processes.is_main():
        _follow(processes.share(""), plugins)
        return
    folder = ""
    try:
        directory, resolved = ready()
        finished = directory.status.get("state") == "finished"
        folder = "finished" if finished else str(directory.path.absolute())
    finally:
        processes.share(folder)
    if finished:
        show_finished(directory)
    else:
        execute(resolved, plugins, directory)


def _follow(folder: str, plugins: Plugins) -> None:
    from ctfw.engine.run import run_recipe

    if folder in ("", "finished"):
        raise typer.Exit(0 if folder else 2)
    if not (Path(folder) / "resolved.yaml").is_file():
        raise UserError(
            f"process {processes.rank()} does not see {folder}: all machines need to share the "
            "folder of runs; choose one that they share with --runs"
        )
    directory, resolved = reopen(Path(folder), plugins)
    run_recipe(resolved, plugins, directory)


def show_finished(directory: RunDirectory) -> None:
    """What came out of a run that has nothing left to do."""
    print(f"{directory.path} is finished", file=sys.stderr)
    if not (directory.path / "report.html").is_file():
        from ctfw.page.build import build_page

        build_page(directory.path)
    show_result(directory)


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
    except BaseException as error:
        something_is_kept = any(directory.path.glob("stages/*/*"))
        if something_is_kept and not _says_what_to_do(error):
            command = resume_command(directory, processes.world())
            print(f"to go on: {command}", file=sys.stderr)
        raise
    show_result(directory)


def _says_what_to_do(error: BaseException) -> bool:
    """Whether resuming as before would fail again; the message then says what helps.

    Where another process was first to tell of an error, this one's own is the cause of its exit.
    """
    own = error.__cause__ if isinstance(error, SystemExit) else error
    return isinstance(own, (Diverged, BadCheckpoint, WrongProcesses))


def show_result(directory: RunDirectory) -> None:
    """The score tables of a run, its headline, and the path of its page."""
    from ctfw.cli.scores import print_scores

    for scores in sorted(directory.path.glob("stages/*/scores.json")):
        print_scores(scores)
    page = directory.path / "report.html"
    if page.is_file():
        print(f"report: {page}")
