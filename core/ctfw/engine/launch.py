"""From a validated recipe to a run on disk; light, so that bad recipes fail at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ctfw.engine.foresee import unknown_numbers
from ctfw.errors import DEEPSPEED, Problem, RecipeInvalid, UserError
from ctfw.plugins import Plugins
from ctfw.recipe import ResolvedRecipe, dump, preflight, resolve
from ctfw.runs.directory import RunDirectory
from ctfw.runs.files import read_json, write_json, write_text


def checked(
    recipe: str, overrides: Sequence[str], profile: str | None, plugins: Plugins
) -> ResolvedRecipe:
    """A recipe that is valid and has on this machine what it needs. Raises RecipeInvalid."""
    resolved = resolve(recipe, overrides, profile, plugins)
    if resolved.is_sweep:
        raise UserError(f"{recipe} has a matrix: run it with ctfw sweep {recipe}")
    if not resolved.stages:
        raise UserError(f"{recipe} has no stages: nothing to run")
    if problems := lacking(resolved):
        raise RecipeInvalid(problems)
    return resolved


def lacking(recipe: ResolvedRecipe) -> list[Problem]:
    """What a valid recipe lacks: packages, files, folders, DeepSpeed, numbers to judge by."""
    return [
        *preflight(recipe),
        *_engine_missing(recipe),
        *_trackers_missing(recipe),
        *unknown_numbers(recipe),
    ]


def _engine_missing(recipe: ResolvedRecipe) -> list[Problem]:
    """DeepSpeed is asked for and not installed: said now, not after the scans are prepared."""
    settings = [getattr(stage.block.settings, "training", None) for stage in recipe.stages.values()]
    wanted = {t.engine for t in settings if t is not None and t.engine.startswith("deepspeed")}
    if not wanted or find_spec("deepspeed") is not None:
        return []
    hint = f"run: {DEEPSPEED}, or --set training.engine=accelerate"
    text = f"training.engine: {min(wanted)} needs DeepSpeed, which is not installed"
    return [Problem(text, recipe.marks.get("training.engine"), hint)]


def _trackers_missing(recipe: ResolvedRecipe) -> list[Problem]:
    """A service that steps are logged to, and whose package is not installed."""
    settings = [getattr(stage.block.settings, "training", None) for stage in recipe.stages.values()]
    wanted = dict.fromkeys(name for t in settings if t is not None for name in t.log_to)
    return [
        Problem(
            f"training.log_to: {name} needs the package {name}, which is not installed",
            recipe.marks.get("training.log_to"),
            f"run: pip install {name}, or leave it away: steps.jsonl holds the same numbers",
        )
        for name in wanted
        if find_spec(name) is None
    ]


def create(recipe: ResolvedRecipe, root: Path) -> RunDirectory:
    """A new run folder with the recipe as written, resolved, and the versions behind it."""
    run = RunDirectory.create(root, recipe.name, recipe.hash)
    write_text(run.path / "recipe.yaml", recipe.source)
    for number, source in enumerate(recipe.sources[:-1]):
        name = f"{number}-{source.role}-{source.path.name}"
        write_text(run.path / "recipe.parents" / name, source.text)
    write_text(run.path / "resolved.yaml", dump(recipe.plain()))
    write_json(run.path / "lock.json", recipe.lock())
    scale = {"profile": recipe.profile} if recipe.profile else {}
    run.set_status(state="created", hash=recipe.hash, name=recipe.name, **scale)
    return run


def reopen(path: Path, plugins: Plugins) -> tuple[RunDirectory, ResolvedRecipe]:
    """A run to go on with, and the recipe it was started with.

    Raises UserError when the components that are installed now mean something else.
    """
    run = RunDirectory.open(path)
    recipe = resolve(run.path / "resolved.yaml", (), None, plugins)
    started = run.status.get("hash")
    if started and started != recipe.hash:
        raise UserError(
            f"{path}: resolved.yaml does not give the run's hash {started[:6]} but "
            f"{recipe.hash[:6]}; it was edited, or a plugin has changed. Start a new run"
        )
    # resolved.yaml holds what the profile says, and so names none.
    return run, replace(recipe, profile=run.status.get("profile") or "")


def find_runs(root: Path, digest: str) -> list[RunDirectory]:
    """Runs below `root` of that recipe hash, newest first."""
    found = []
    for status in sorted(root.glob("*/*/status.json"), reverse=True):
        if read_json(status).get("hash") == digest:
            found.append(RunDirectory(status.parent))
    return found
