"""`ctfw validate`: everything that can be wrong with a recipe, before anything runs."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from ctfw.cli.options import Profile, Set
from ctfw.component import Component
from ctfw.engine.launch import lacking
from ctfw.errors import Problem, RecipeInvalid, UserError
from ctfw.plugins import Plugins, load_plugins
from ctfw.recipe import Variant, expand


def validate(
    recipes: Annotated[
        list[str], typer.Argument(metavar="RECIPE", help="Files, or shipped recipes.")
    ],
    overrides: Set = None,
    profile: Profile = None,
    portable: Annotated[
        bool,
        typer.Option(
            "--portable", help="Skip what depends on the machine: packages, files, variables."
        ),
    ] = False,
    imports: Annotated[
        bool, typer.Option("--imports", help="Also import the code of every component; slow.")
    ] = False,
) -> None:
    """Check recipes without running them: all problems of all layers at once."""
    plugins = load_plugins()
    good = True
    for recipe in recipes:
        good &= _one(recipe, overrides or [], profile, plugins, portable, imports)
    if not good:
        raise typer.Exit(2)


def _one(
    recipe: str,
    overrides: Sequence[str],
    profile: str | None,
    plugins: Plugins,
    portable: bool,
    imports: bool,
) -> bool:
    try:
        environ = _AnyVariable(os.environ) if portable else None
        variants = expand(recipe, overrides, profile, plugins, environ=environ)
        problems = [] if portable else _lacking(variants)
        problems += _broken(variants) if imports and not problems else []
        if problems:
            raise RecipeInvalid(problems)
    except RecipeInvalid as error:
        count = len(error.problems)
        print(error, file=sys.stderr)
        print(f"{recipe}: {count} problem{'s' * (count > 1)}", file=sys.stderr)
        return False
    print(f"{recipe}: ok ({_summary(variants)})")
    return True


class _AnyVariable(dict[str, str]):
    """An environment in which every variable is set, if need be to its own name."""

    def get(self, name: str, default: object = None) -> str:
        return super().get(name) or name


def _lacking(variants: list[Variant]) -> list[Problem]:
    """What this machine lacks for any of the variants, each thing once."""
    found = [problem for variant in variants for problem in lacking(variant.recipe)]
    return list(dict.fromkeys(found))


def _broken(variants: list[Variant]) -> list[Problem]:
    components: dict[str, Component] = {}
    for variant in variants:
        for _, block in variant.recipe.blocks():
            components[block.component.kind + block.component.qualified] = block.component
    problems = []
    for component in components.values():
        try:
            component.load()
        except UserError as error:
            problems.append(Problem(str(error)))
    return problems


def _summary(variants: list[Variant]) -> str:
    if len(variants) > 1:
        return f"{len(variants)} variants"
    recipe = variants[0].recipe
    profile = f", profile {recipe.profile}" if recipe.profile else ""
    return f"{' -> '.join(recipe.stages)}{profile}, {recipe.short_hash}"
