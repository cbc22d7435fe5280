"""What an audit reads: a recipe or a profile for the data, a checkpoint for the preprocessing."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ctfw.engine.bench import make_pipeline
from ctfw.engine.context import Context
from ctfw.engine.images import ImageBank
from ctfw.engine.scan import Packed, block_of
from ctfw.errors import BadData, RecipeInvalid, UserError
from ctfw.recipe import ResolvedRecipe, dump, preflight, resolve
from ctfw.recipe.find import find_profile, shipped_dirs
from ctfw.runs.directory import newest_run
from ctfw.types import Case, CaseTable
from ctfw.volumes.pipeline import spec_of

if TYPE_CHECKING:
    from ctfw.plugins import Plugins


def data_recipe(
    text: str | None, checkpoint: Path, overrides: Sequence[str], plugins: Plugins
) -> ResolvedRecipe:
    """The recipe that `--data` means: a recipe, the folder of a run or of runs, or a profile;
    without it the run that the checkpoint lies in.

    Raises RecipeInvalid with what is wrong or lacking on this machine, and UserError when the
    checkpoint lies in no run and nothing is given.
    """
    file = _run_recipe(text, checkpoint)
    if file is not None:
        found = resolve(file, overrides, None, plugins)
    elif text is None:
        raise UserError(
            f"{checkpoint} lies in no run: say with --data RECIPE or --data PROFILE which scans "
            "and reports to use"
        )
    else:
        try:
            found = resolve(text, overrides, None, plugins)
        except RecipeInvalid as error:
            profile = _profile(text, plugins)
            if profile is None:
                raise error
            found = _over_profile(profile, checkpoint, overrides, plugins)
    if problems := preflight(replace(found, stages={})):
        raise RecipeInvalid(problems)
    return found


def _run_recipe(text: str | None, checkpoint: Path) -> Path | None:
    """`resolved.yaml` of the run that is meant."""
    if text is not None:
        file = newest_run(Path(text).expanduser()) / "resolved.yaml"
        return file if file.is_file() else None
    run = run_of(checkpoint)
    return None if run is None else run / "resolved.yaml"


def run_of(checkpoint: Path) -> Path | None:
    """The folder of the run that a checkpoint lies in."""
    place = checkpoint.resolve()
    return next((p for p in (place, *place.parents) if (p / "resolved.yaml").is_file()), None)


def _profile(text: str, plugins: Plugins) -> Path | None:
    try:
        return find_profile(text, (*shipped_dirs(), *plugins.recipe_dirs), Path.cwd())
    except RecipeInvalid:
        return None


def _over_profile(
    profile: Path, checkpoint: Path, overrides: Sequence[str], plugins: Plugins
) -> ResolvedRecipe:
    """A profile has no stages and so is no recipe: the least recipe that stands on it."""
    stage = {"use": "report", "start_from": str(checkpoint.resolve())}
    recipe = {"ctfw": 1, "profile": str(profile.resolve()), "stages": {"test": stage}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{profile.stem}.yaml"
        file.write_text(dump(recipe), encoding="utf-8")
        return resolve(file, overrides, None, plugins)


@dataclass(frozen=True)
class Material:
    """The cases to audit with, their images as the checkpoint sees them, and training reports.

    refused  case id -> why its scan cannot be used
    of       how many cases the split has
    notes    what was done otherwise than the recipe says
    """

    cases: CaseTable
    train: Sequence[Case]
    images: ImageBank
    refused: Mapping[str, str]
    of: int
    notes: tuple[str, ...] = ()


def material(
    packed: Packed,
    recipe: ResolvedRecipe,
    split: str,
    count: int | None,
    plugins: Plugins,
    context: Context,
) -> Material:
    """The data set's files, read and preprocessed as the checkpoint was trained.

    Raises BadData when nothing of the split can be used.
    """
    dataset = context.build(recipe.data)
    dataset.prepare()
    table: CaseTable = dataset.cases(split)
    chosen = table[:count]
    images, notes = _images(packed, recipe, plugins, context)
    workers = getattr(recipe.data.settings, "workers", None)
    refused = images.prepare(list(chosen), workers)
    kept = tuple(case for case in chosen if case.id not in refused)
    if not kept:
        reason = f"; the first: {next(iter(refused.items()))}" if refused else ""
        raise BadData(f"data '{recipe.data.name}': no case of the {split} split to audit{reason}")
    try:
        train = list(dataset.cases("train"))
    except BadData as error:
        train, notes = [], (*notes, f"no floors from training reports: {error}")
    return Material(
        CaseTable(kept, table.label_names), train, images, refused, len(table), tuple(notes)
    )


def _images(
    packed: Packed, recipe: ResolvedRecipe, plugins: Plugins, context: Context
) -> tuple[ImageBank, tuple[str, ...]]:
    """The recipe's chain with its stores where it is the checkpoint's, else the checkpoint's."""
    settings: Any = recipe.data.settings
    theirs = [
        spec_of(block_of(plain, "preprocessor", plugins)) for plain in packed.facts["preprocess"]
    ]
    if theirs == [spec_of(block) for block in settings.preprocess]:
        steps = list(settings.preprocess)
        return ImageBank(make_pipeline(plugins.catalog, settings.loader, steps, context)), ()
    note = (
        "the recipe prepares scans otherwise than the checkpoint was trained with: the "
        "checkpoint's preprocessing was used, without a store"
    )
    return ImageBank(packed.pipeline), (note,)
