"""`ctfw sweep`: every variant of a recipe's matrix; finished ones are skipped."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from ctfw.cli.options import Profile, Recipe, Set
from ctfw.cli.run import Nproc, Runs
from ctfw.engine.launch import create, find_runs, lacking
from ctfw.errors import RecipeInvalid, UserError
from ctfw.plugins import Plugins, load_plugins
from ctfw.recipe import Variant, expand
from ctfw.runs.directory import RunDirectory


def sweep(
    recipe: Recipe,
    overrides: Set = None,
    profile: Profile = None,
    runs: Runs = Path("runs"),
    nproc: Nproc = 1,
    listing: Annotated[
        bool, typer.Option("--list", help="Print the variants and whether each is finished.")
    ] = False,
) -> None:
    """Run every variant of a matrix, then print one table. Call it again to go on."""
    plugins = load_plugins()
    variants = expand(recipe, overrides or [], profile, plugins)
    problems = [problem for variant in variants for problem in lacking(variant.recipe)]
    if problems:
        raise RecipeInvalid(list(dict.fromkeys(problems)))
    if listing:
        for variant in variants:
            print(f"{_state(variant, runs):10} {variant.name}")
        return
    folders, failed = [], []
    for number, variant in enumerate(variants, start=1):
        print(f"[{number} of {len(variants)}] {variant.name}", file=sys.stderr)
        try:
            folders.append(_one(variant, plugins, runs, nproc).path)
        except UserError as error:
            print(f"{variant.name} failed: {error}", file=sys.stderr)
            failed.append(variant.name)
    from ctfw.cli.compare import print_comparison

    if folders:
        print_comparison(folders)
    if failed:
        raise UserError(f"{len(failed)} of {len(variants)} variants failed: {', '.join(failed)}")


def _one(variant: Variant, plugins: Plugins, root: Path, nproc: int) -> RunDirectory:
    """The finished run of a variant: an earlier one, one that is taken up again, or a new one."""
    from ctfw.engine.run import run_recipe
    from ctfw.engine.spawn import run_together

    earlier = find_runs(root, variant.recipe.hash)
    for run in earlier:
        if run.status.get("state") == "finished":
            print(f"  finished before: {run.path}", file=sys.stderr)
            return run
    run = earlier[0] if earlier else create(variant.recipe, root)
    print(f"  {'going on with' if earlier else 'run folder:'} {run.path}", file=sys.stderr)
    if nproc == 1:
        run_recipe(variant.recipe, plugins, run)
    elif run_together(run, nproc):  # the process that failed has said why
        raise UserError(str(run.status.get("error") or f"see {run.path}"))
    return run


def _state(variant: Variant, root: Path) -> str:
    earlier = find_runs(root, variant.recipe.hash)
    states = [run.status.get("state", "") for run in earlier]
    return "finished" if "finished" in states else (states[0] if states else "to run")
