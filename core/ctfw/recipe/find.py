"""Where recipes and profiles are: a path as given, or the name of one that is shipped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

import ctfw
from ctfw.errors import Mark, Problem, RecipeInvalid, did_you_mean

SUFFIXES = (".yaml", ".yml")


def shipped_dirs() -> list[Path]:
    """Folders of the recipes that come with ctfw: inside the package, or of the checkout.

    In an editable install the package has no `_recipes`; there the folder two levels up counts.
    """
    package = Path(ctfw.__file__).resolve().parent
    candidates = [package / "_recipes", package.parents[1] / "recipes"]
    return [folder for folder in candidates if folder.is_dir()][:1]


def shipped(dirs: Iterable[Path], profiles: bool = False) -> dict[str, Path]:
    """Name -> file of every recipe (or profile) below: `ours_heter`, `ablations/table1`."""
    found: dict[str, Path] = {}
    for folder in dirs:
        for path in sorted(folder.rglob("*.y*ml")):
            relative = path.relative_to(folder)
            if path.suffix in SUFFIXES and ("profiles" in relative.parts[:-1]) == profiles:
                found.setdefault(relative.with_suffix("").as_posix(), path)
    return found


def display(path: Path) -> str:
    """A path as messages show it: short below the working directory, absolute elsewhere."""
    try:
        return str(path.resolve().relative_to(Path.cwd().resolve()))
    except ValueError:
        return str(path)


def find_recipe(text: str, dirs: Sequence[Path], near: Path | None = None) -> Path:
    """The file of a recipe. `near` is the folder that a relative path starts from.

    Raises RecipeInvalid when there is none, with the close names of shipped recipes.
    """
    given = Path(os.path.expanduser(text))
    # A copy of a shipped recipe may extend `../other.yaml`; it finds the shipped one.
    inside = Path(*(part for part in given.parts if part != ".."))
    for candidate in ((near or Path()) / given, *(folder / inside for folder in dirs)):
        if (found := _with_suffix(candidate)) is not None:
            return found
    known = shipped(dirs)
    hint = did_you_mean(given.with_suffix("").as_posix() if given.name else text, known)
    detail = f"no recipe '{text}'"
    if (near or Path()).joinpath(given).is_dir():
        detail += " (that is a folder)"
    raise RecipeInvalid(
        [Problem(detail, hint=hint or "`ctfw recipes` lists those that are shipped")]
    )


def find_profile(text: str, dirs: Sequence[Path], near: Path, mark: Mark | None = None) -> Path:
    """The file of a profile: a path, or a name looked up in `profiles/` beside the recipe.

    `near` is the folder of the recipe that names it, or the working directory for `--profile`.
    """
    given = Path(os.path.expanduser(text))
    if len(given.parts) > 1 or given.suffix in SUFFIXES:
        folders = [near]
    else:
        folders = [near / "profiles", near.parent / "profiles", *(d / "profiles" for d in dirs)]
        folders += [near] if near.name == "profiles" else []
    for folder in folders:
        if (found := _with_suffix(folder / given)) is not None:
            return found
    known = {path.stem for folder in folders if folder.is_dir() for path in folder.glob("*.y*ml")}
    hint = did_you_mean(text, known)
    listed = f"; there are: {', '.join(sorted(known))}" if known else ""
    raise RecipeInvalid([Problem(f"no profile '{text}'{listed}", mark, hint)])


def _with_suffix(path: Path) -> Path | None:
    if not path.name:
        return None
    named = path.with_name(path.name.replace("-", "_"))
    candidates = [path, *(Path(f"{each}{end}") for each in (path, named) for end in SUFFIXES)]
    return next((each for each in candidates if each.is_file()), None)
