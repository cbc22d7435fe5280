"""The resolved recipe as text, its hash, and the versions behind it."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ctfw
from ctfw.component import plain as settings_of

if TYPE_CHECKING:
    from ctfw.recipe.resolved import ResolvedRecipe

PACKAGES = (
    "torch",
    "transformers",
    "accelerate",
    "deepspeed",
    "peft",
    "tokenizers",
    "safetensors",
    "numpy",
    "nibabel",
    "pydantic",
    "pluggy",
)


def plain(recipe: ResolvedRecipe) -> dict[str, Any]:
    """The recipe as a mapping that resolves to the same recipe."""
    return {
        "ctfw": 1,
        "name": recipe.name,
        "summary": recipe.summary,
        "seed": recipe.seed,
        "synthetic": recipe.synthetic,
        **_shared(recipe, local=True),
        "stages": {name: settings_of(s.block, local=True) for name, s in recipe.stages.items()},
    }


def fingerprint(recipe: ResolvedRecipe) -> str:
    """SHA-256 over everything that decides the result; key order does not matter."""
    identity = {
        "ctfw": 1,
        "seed": recipe.seed,
        "synthetic": recipe.synthetic,
        **_shared(recipe, local=False),
        "stages": {name: settings_of(s.block, local=False) for name, s in recipe.stages.items()},
    }
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()


def _shared(recipe: ResolvedRecipe, local: bool) -> dict[str, Any]:
    return {
        name: settings_of(getattr(recipe, name), local=local)
        for name in ("data", "backbone", "labeler", "training", "generation", "metrics")
    }


def lock(recipe: ResolvedRecipe) -> dict[str, Any]:
    """Facts to reproduce a run: versions (read without importing), plugins, git, command line."""
    providers = {block.component.provider for _, block in recipe.blocks()}
    installed = {name: _version(name) for name in PACKAGES}
    return {
        "recipe": recipe.hash,
        "python": platform.python_version(),
        "ctfw": ctfw.__version__,
        "platform": platform.platform(),
        "packages": {name: version for name, version in installed.items() if version},
        "plugins": {name: _version(name) for name in sorted(providers - {"ctfw"})},
        "git": git_state(recipe.sources[-1].path.parent if recipe.sources else Path.cwd()),
        "argv": list(sys.argv),
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def git_state(folder: Path) -> dict[str, Any] | None:
    """Commit of the checkout that holds `folder` and whether it has changes; None outside one."""
    commit = _git(folder, "rev-parse", "HEAD")
    if not commit:
        return None
    status = _git(folder, "status", "--porcelain", "--untracked-files=no")
    return {"commit": commit, "dirty": status != ""}


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
